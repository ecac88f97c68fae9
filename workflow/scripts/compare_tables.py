"""Say whether tables that were computed again equal the ones before, or how far off they are."""

from pathlib import Path

from fewshot_diffusion import cli
from fewshot_diffusion.csv_files import read_csv
from fewshot_diffusion.reproduction import compare_tables


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--before", type=Path, nargs="+", required=True, help="CSVs as they were")
    parser.add_argument("--after", type=Path, nargs="+", required=True, help="the same CSVs, computed again")
    args = parser.parse_args()
    for before, after in zip(args.before, args.after, strict=True):
        differences = compare_tables(read_csv(before), read_csv(after))
        print(f"{after}: " + ("equal to the committed table, times apart." if not differences else "differs."))
        for line in differences:
            print(f"  {line}")


if __name__ == "__main__":
    cli.run(main)
