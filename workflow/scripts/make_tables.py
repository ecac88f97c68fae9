"""Join the rows of all classes into the tables that people read, with the paper's numbers beside them."""

from pathlib import Path

from fewshot_diffusion import cli
from fewshot_diffusion.attributes.table import accuracy_table, attribute_table, read_published
from fewshot_diffusion.storage.tables import read_csv, write_csv


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--distances", type=Path, nargs="+", required=True, help="CSV of each class")
    parser.add_argument("--accuracies", type=Path, nargs="+", required=True, help="CSV of each class")
    parser.add_argument("--kind", choices=("reproduced", "scaled-down"), required=True, help="what our rows are")
    parser.add_argument("--published", type=Path, nargs="?", help="CSV of the paper's numbers")
    parser.add_argument("--stands-for", help="the paper's data set that ours stands for")
    parser.add_argument("--table", type=Path, required=True, help="CSV to write")
    parser.add_argument("--accuracy-table", type=Path, required=True, help="CSV to write")
    args = parser.parse_args()
    published = read_published(args.published) if args.published else None
    distances = [read_csv(path) for path in args.distances]
    write_csv(args.table, attribute_table(distances, args.kind, published, args.stands_for))
    write_csv(args.accuracy_table, accuracy_table([read_csv(path) for path in args.accuracies], args.kind))


if __name__ == "__main__":
    cli.run(main)
