"""Draw or read the part masks of one split."""

from pathlib import Path

from fewshot_diffusion import cli
from fewshot_diffusion.config.data import DatasetConfig
from fewshot_diffusion.data.mask_set import save_masks
from fewshot_diffusion.data.sources import make_masks


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--settings", type=cli.section(DatasetConfig), required=True, help="data without splits, JSON")
    parser.add_argument("--positions", type=cli.half_open, required=True, help="START:STOP within the data set")
    parser.add_argument("--output", type=Path, required=True, help="masks to write, safetensors")
    args = parser.parse_args()
    mask_set = make_masks(args.settings, args.positions)
    provenance = {"data_set": args.settings.name, "positions": str(args.positions), "code": args.code}
    save_masks(mask_set, args.output, provenance)


if __name__ == "__main__":
    cli.run(main)
