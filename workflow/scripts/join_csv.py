"""Join CSV files of the same columns."""

from pathlib import Path

import pandas as pd

from fewshot_diffusion import cli
from fewshot_diffusion.storage.tables import read_csv, write_csv


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--parts", type=Path, nargs="+", required=True, help="CSV files")
    parser.add_argument("--output", type=Path, required=True, help="CSV to write")
    args = parser.parse_args()
    write_csv(args.output, pd.concat([read_csv(path) for path in args.parts], ignore_index=True))


if __name__ == "__main__":
    cli.run(main)
