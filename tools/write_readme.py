"""Write the README's tables and docs/results.md from the committed tables."""

from pathlib import Path

from fewshot_diffusion import cli
from fewshot_diffusion.storage.files import write_text
from fewshot_diffusion.tooling.data_sets import data_sets
from fewshot_diffusion.tooling.readme import replace_section
from fewshot_diffusion.tooling.results_page import costs, overview, results_page


def write(
    results: Path = Path("results"),
    published: Path = Path("config/published.csv"),
    readme: Path = Path("README.md"),
    page: Path = Path("docs/results.md"),
) -> None:
    """Write both; the table of costs is read off the benchmarks and the rules beside them.

    Args:
        results: Folder of all data sets' tables.
        published: The paper's numbers.
        readme: File whose sections ``overview``, ``data-sets`` and ``costs`` are replaced.
        page: File that is written whole.
    """
    text = replace_section(readme.read_text(), "overview", overview(results, published))
    listed = data_sets(results, Path("config"), Path("config/paper.yaml"))
    text = replace_section(text, "data-sets", listed)
    write_text(readme, replace_section(text, "costs", costs(results / "benchmarks.csv", Path("workflow/rules"))))
    write_text(page, results_page(results))


if __name__ == "__main__":
    cli.run(write)
