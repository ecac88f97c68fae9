"""Say whether tables that were computed again equal the ones before, or how far off they are."""

from pathlib import Path

from fewshot_diffusion import cli
from fewshot_diffusion.storage.tables import read_csv, write_csv
from fewshot_diffusion.tooling.comparison import compare_tables, movement


def compare(before: Path, after: Path, moved: Path | None = None, machine: str = "") -> None:
    """Compare the tables of two folders.

    Args:
        before: Folder of CSVs as they were.
        after: Folder of the same CSVs, computed again; those that are not there are passed over.
        moved: CSV to write: how far the distances of attributes.csv moved.
        machine: What computed them again, for that CSV.
    """
    for path in sorted(path for path in before.glob("*.csv") if (after / path.name).is_file()):
        lines = compare_tables(read_csv(path), read_csv(after / path.name))
        print(f"{path.name}: " + ("differs." if lines else "equal, seconds apart."), *lines, sep="\n  ")
    if moved:
        table = movement(*(read_csv(folder / "attributes.csv") for folder in (before, after)))
        write_csv(moved, table.assign(machine=machine))
        print(table.to_string(index=False))


if __name__ == "__main__":
    cli.run(compare)
