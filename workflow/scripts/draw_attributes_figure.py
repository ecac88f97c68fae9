"""Draw the poster's figure: real, unguided and guided images of every class, the same seeds side by side."""

from pathlib import Path

from fewshot_diffusion import cli
from fewshot_diffusion.attributes.figures import attributes_figure, gather_row
from fewshot_diffusion.config.attributes import TargetConfig
from fewshot_diffusion.figures import save_figure


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--targets", type=cli.section(TargetConfig), nargs="+", required=True, help="rows, JSON each")
    parser.add_argument("--columns", type=int, default=5, help="images per strip")
    parser.add_argument("--show-real", type=cli.boolean, required=True, help="whether real images may be shown")
    parser.add_argument("--descriptions", type=Path, required=True, help="folder of the descriptions")
    parser.add_argument("--output", type=Path, nargs="+", required=True, help="figure files to write")
    args = parser.parse_args()
    rows = [gather_row(target, args.descriptions, args.columns, args.show_real) for target in args.targets]
    save_figure(attributes_figure(rows), args.output)


if __name__ == "__main__":
    cli.run(main)
