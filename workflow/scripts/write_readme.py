"""Write the README's results from the committed tables."""

from pathlib import Path

import pandas as pd

from fewshot_diffusion import cli
from fewshot_diffusion.io import write_text
from fewshot_diffusion.tables import replace_section, results_section


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--readme", type=Path, default=Path("README.md"), help="file to update")
    parser.add_argument("--section", required=True, help="name of the marked section")
    parser.add_argument("--table", type=Path, required=True, help="CSV of distances")
    parser.add_argument("--accuracy", type=Path, required=True, help="CSV of the judge's shares")
    args = parser.parse_args()
    content = results_section(pd.read_csv(args.table), pd.read_csv(args.accuracy))
    write_text(args.readme, replace_section(args.readme.read_text(), args.section, content))


if __name__ == "__main__":
    cli.run(main)
