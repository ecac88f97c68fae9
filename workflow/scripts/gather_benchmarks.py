"""Gather time, memory and forward passes of all jobs that ran here into one table, and print it."""

from pathlib import Path

from fewshot_diffusion import cli
from fewshot_diffusion.storage.tables import write_csv
from fewshot_diffusion.tooling.benchmarks import gather_benchmarks


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--benchmarks", type=Path, default=Path("benchmarks"), help="folder of Snakemake's benchmarks")
    parser.add_argument("--results", type=Path, default=Path("results"), help="folder of the samples")
    parser.add_argument("--output", type=Path, required=True, help="CSV to write")
    args = parser.parse_args()
    table = gather_benchmarks(args.benchmarks, args.results)
    write_csv(args.output, table)
    print(table.to_string(index=False))


if __name__ == "__main__":
    cli.run(main)
