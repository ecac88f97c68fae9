"""Write the README's tables, docs/results.md and results/tables/claims.csv from the committed tables."""

from pathlib import Path

from fewshot_diffusion import cli
from fewshot_diffusion.config.claims import load_claims
from fewshot_diffusion.storage.files import write_text
from fewshot_diffusion.storage.tables import write_csv
from fewshot_diffusion.tooling.claim_rows import claim_table
from fewshot_diffusion.tooling.data_sets import data_sets
from fewshot_diffusion.tooling.readme import replace_section
from fewshot_diffusion.tooling.results_page import costs, overview, results_page


def write(
    results: Path = Path("results"),
    published: Path = Path("config/published.csv"),
    readme: Path = Path("README.md"),
    page: Path = Path("docs/results.md"),
    claims: Path = Path("config/claims.yaml"),
) -> None:
    """Write them; the table of costs is read off the benchmarks and the rules beside them.

    Args:
        results: Folder of all data sets' tables.
        published: The paper's numbers.
        readme: File whose sections ``overview``, ``data-sets`` and ``costs`` are replaced.
        page: File that is written whole.
        claims: What is claimed, of which results/tables/claims.csv says what our tables hold.
    """
    write_csv(results / "tables" / "claims.csv", claim_table(load_claims(claims), results, published))
    text = replace_section(readme.read_text(), "overview", overview(results, published))
    listed = data_sets(results, Path("config"), Path("config/paper.yaml"))
    text = replace_section(text, "data-sets", listed)
    write_text(readme, replace_section(text, "costs", costs(results / "benchmarks.csv", Path("workflow/rules"))))
    write_text(page, results_page(results))


if __name__ == "__main__":
    cli.run(write)
