"""Write results/records.json of a finished run (from `snakemake --summary`), and name what DVC stores of it."""

import sys
from pathlib import Path

from fewshot_diffusion import cli
from fewshot_diffusion.tooling.store import planned_products, stored_paths, write_records


def store_products(results: Path) -> None:
    """Write the records of all products and print the paths of those that DVC stores.

    Args:
        results: Folder of the data set whose products are stored.
    """
    write_records(planned_products(sys.stdin.read()))
    print(*stored_paths(results), sep="\n")


if __name__ == "__main__":
    cli.run(store_products)
