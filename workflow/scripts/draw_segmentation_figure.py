"""Draw wanted masks, their real images, and what each method makes of them."""

from pathlib import Path

from fewshot_diffusion import cli
from fewshot_diffusion.figures import save_figure
from fewshot_diffusion.masks.figures import gather_mask_rows, segmentation_figure


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--masks", type=Path, required=True, help="wanted masks, safetensors")
    parser.add_argument("--real", type=Path, help="their real images; without it, none are shown")
    parser.add_argument("--wanted", type=int, required=True, help="how many of the masks were asked for")
    parser.add_argument("--columns", type=int, default=6, help="masks to show")
    parser.add_argument("--seeds", type=int, default=2, help="samples of each mask and method")
    parser.add_argument("--methods", nargs="+", required=True, help="names, one for each sample set")
    parser.add_argument("--samples", type=Path, nargs="+", required=True, help="sample sets, safetensors")
    parser.add_argument("--output", type=Path, nargs="+", required=True, help="figure files to write")
    args = parser.parse_args()
    sets = dict(zip(args.methods, args.samples, strict=True))
    masks, rows = gather_mask_rows(args.masks, args.real, sets, args.wanted, args.columns, args.seeds)
    save_figure(segmentation_figure(masks, rows), args.output)


if __name__ == "__main__":
    cli.run(main)
