"""Draw or read the part masks of one split."""

from pathlib import Path

from fewshot_diffusion import cli
from fewshot_diffusion.config import DataConfig
from fewshot_diffusion.datasets.mask_sources import make_masks
from fewshot_diffusion.datasets.masks import save_masks


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--settings", type=cli.section(DataConfig), required=True, help="section data, JSON")
    parser.add_argument("--split", required=True, help="name of the split")
    parser.add_argument("--output", type=Path, required=True, help="masks to write, safetensors")
    args = parser.parse_args()
    mask_set = make_masks(args.settings, args.split)
    save_masks(mask_set, args.output, {"data_set": args.settings.name, "split": args.split, "code": args.code})


if __name__ == "__main__":
    cli.run(main)
