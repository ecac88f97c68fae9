"""Write the README's overview and docs/results.md from the committed tables."""

from pathlib import Path

from fewshot_diffusion import cli
from fewshot_diffusion.storage.files import write_text
from fewshot_diffusion.tooling.readme import replace_section
from fewshot_diffusion.tooling.results_page import overview, results_page


def write(
    results: Path = Path("results"),
    published: Path = Path("config/published.csv"),
    readme: Path = Path("README.md"),
    page: Path = Path("docs/results.md"),
) -> None:
    """Write both.

    Args:
        results: Folder of all data sets' tables.
        published: The paper's numbers.
        readme: File whose section ``overview`` is replaced.
        page: File that is written whole.
    """
    write_text(readme, replace_section(readme.read_text(), "overview", overview(results, published)))
    write_text(page, results_page(results))


if __name__ == "__main__":
    cli.run(write)
