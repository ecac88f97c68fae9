"""Print the attribute table in the poster's layout: one block per metric, then the judge's shares."""

from pathlib import Path

from fewshot_diffusion import cli
from fewshot_diffusion.storage.tables import read_csv
from fewshot_diffusion.tooling.readme import accuracy_view, measured_metrics, wide_view


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("table", type=Path, help="CSV of distances")
    parser.add_argument("--accuracy", type=Path, help="CSV of the judge's shares")
    args = parser.parse_args()
    table = read_csv(args.table)
    for metric in measured_metrics(table):
        print(f"\n{metric}, distance to the class (lower is better; ± is a 95 % interval)")
        print(wide_view(table, metric).to_string())
    if args.accuracy:
        print("\nshare that the independent judge takes for the class")
        print(accuracy_view(read_csv(args.accuracy)).to_string())


if __name__ == "__main__":
    cli.run(main)
