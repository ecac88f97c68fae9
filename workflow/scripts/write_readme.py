"""Write one section of the README from the committed tables."""

from pathlib import Path

from fewshot_diffusion import cli
from fewshot_diffusion.storage.files import write_text
from fewshot_diffusion.storage.tables import read_csv
from fewshot_diffusion.tooling.readme import replace_section
from fewshot_diffusion.tooling.sections import LAYOUTS


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--readme", type=Path, default=Path("README.md"), help="file to update")
    parser.add_argument("--section", required=True, help="name of the marked section")
    parser.add_argument("--layout", choices=LAYOUTS, required=True, help="what the tables are")
    parser.add_argument("--tables", type=Path, nargs="+", required=True, help="CSVs, as the layout takes them")
    args = parser.parse_args()
    content = LAYOUTS[args.layout](*map(read_csv, args.tables))
    write_text(args.readme, replace_section(args.readme.read_text(), args.section, content))


if __name__ == "__main__":
    cli.run(main)
