"""Say whether tables that were computed again equal the ones before, or how far off they are."""

from pathlib import Path

from fewshot_diffusion import cli
from fewshot_diffusion.storage.tables import read_csv, write_csv
from fewshot_diffusion.tooling.reproduction import compare_tables, movement


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--before", type=Path, nargs="+", required=True, help="CSVs as they were")
    parser.add_argument("--after", type=Path, nargs="+", required=True, help="the same CSVs, computed again")
    parser.add_argument("--movement", type=Path, help="CSV to write: how far the distances of the first table moved")
    parser.add_argument("--machine", default="", help="what computed them again, for that CSV")
    args = parser.parse_args()
    for before, after in zip(args.before, args.after, strict=True):
        differences = compare_tables(read_csv(before), read_csv(after))
        print(f"{after}: " + ("equal to the committed table, times apart." if not differences else "differs."))
        for line in differences:
            print(f"  {line}")
    if args.movement:
        moved = movement(read_csv(args.before[0]), read_csv(args.after[0]))
        write_csv(args.movement, moved.assign(machine=args.machine))
        print(moved.to_string(index=False))


if __name__ == "__main__":
    cli.run(main)
