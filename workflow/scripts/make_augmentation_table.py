"""Join the cells of Table 2 and put the paper's numbers beside them."""

from pathlib import Path

import pandas as pd

from fewshot_diffusion import cli
from fewshot_diffusion.classes.table import augmentation_table, published_accuracies
from fewshot_diffusion.storage.tables import read_csv, write_csv


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--cells", type=Path, nargs="+", required=True, help="CSV rows")
    parser.add_argument("--published", type=Path, help="the paper's numbers; without them the column is empty")
    parser.add_argument("--stands-for", help="the paper's data set that our rows reproduce")
    parser.add_argument("--kind", required=True, help="reproduced or scaled-down")
    parser.add_argument("--output", type=Path, required=True, help="table to write, CSV")
    args = parser.parse_args()
    paper = published_accuracies(args.published) if args.published else None
    rows = pd.concat([read_csv(path) for path in args.cells], ignore_index=True)
    write_csv(args.output, augmentation_table(rows, paper, args.stands_for, args.kind))


if __name__ == "__main__":
    cli.run(main)
