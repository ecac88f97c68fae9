"""Draw the figure of Table 2's experiment."""

from pathlib import Path

from fewshot_diffusion import cli
from fewshot_diffusion.classes.figures import augmentation_figure
from fewshot_diffusion.figures import save_figure
from fewshot_diffusion.storage.tables import read_csv


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--table", type=Path, required=True, help="accuracies, CSV")
    parser.add_argument("--acceptance", type=Path, required=True, help="acceptance per class, CSV")
    parser.add_argument("--calibration", type=Path, required=True, help="the filter's reliability, CSV")
    parser.add_argument("--output", type=Path, nargs="+", required=True, help="figures to write, .png and .pdf")
    args = parser.parse_args()
    figure = augmentation_figure(*map(read_csv, (args.table, args.acceptance, args.calibration)))
    save_figure(figure, args.output)


if __name__ == "__main__":
    cli.run(main)
