"""Gather time and memory of all jobs that ran here into one table, and print it."""

from pathlib import Path

from fewshot_diffusion import cli
from fewshot_diffusion.storage.tables import write_csv
from fewshot_diffusion.tooling.benchmarks import gather_benchmarks


def gather(output: Path, benchmarks: Path = Path("benchmarks")) -> None:
    """Write the table and print it.

    Args:
        output: CSV to write.
        benchmarks: Folder of Snakemake's benchmarks.
    """
    table = gather_benchmarks(benchmarks)
    write_csv(output, table)
    print(table.to_string(index=False))


if __name__ == "__main__":
    cli.run(gather)
