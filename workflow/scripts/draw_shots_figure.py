"""Draw mIoU against the number of pairs."""

from pathlib import Path

from fewshot_diffusion import cli
from fewshot_diffusion.figures import save_figure
from fewshot_diffusion.masks.figures import shots_figure
from fewshot_diffusion.storage.tables import read_csv


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--table", type=Path, required=True, help="the mask table, CSV")
    parser.add_argument("--preset", required=True, help="preset of the curve")
    parser.add_argument("--output", type=Path, nargs="+", required=True, help="figure files to write")
    args = parser.parse_args()
    save_figure(shots_figure(read_csv(args.table), args.preset), args.output)


if __name__ == "__main__":
    cli.run(main)
