"""Print the tables of one data set as people read them, every row with its n and its floor."""

from pathlib import Path

from fewshot_diffusion import cli
from fewshot_diffusion.errors import DataError
from fewshot_diffusion.storage.tables import read_csv
from fewshot_diffusion.tooling.readme import tables_of


def show_table(tables: Path) -> None:
    """Print the tables of one data set.

    Args:
        tables: Its folder of tables.
    """
    names = ("attributes", "attributes_judge", "attributes_distribution", "masks", "classes")
    found = {name: read_csv(path) for name in names if (path := tables / f"{name}.csv").is_file()}
    if not found:
        raise DataError(f"{tables}: found no table. Name the folder of a data set: `--tables results/DATA/tables`.")
    for title, frame in tables_of(found):
        print(f"\n{title}\n{frame.to_string()}")


if __name__ == "__main__":
    cli.run(show_table)
