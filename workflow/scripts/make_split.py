"""Draw or read one split of the data set: images and attributes."""

from pathlib import Path

from fewshot_diffusion import cli
from fewshot_diffusion.config.data import DatasetConfig
from fewshot_diffusion.data.image_set import save_image_set
from fewshot_diffusion.data.sources import make_images


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--settings", type=cli.section(DatasetConfig), required=True, help="data without splits, JSON")
    parser.add_argument("--positions", type=cli.half_open, required=True, help="START:STOP within the data set")
    parser.add_argument("--images", type=Path, required=True, help="images to write, safetensors")
    parser.add_argument("--records", type=Path, required=True, help="attributes to write, parquet")
    args = parser.parse_args()
    image_set = make_images(args.settings, args.positions)
    provenance = {"data_set": args.settings.name, "positions": str(args.positions), "code": args.code}
    save_image_set(image_set, args.images, args.records, provenance)


if __name__ == "__main__":
    cli.run(main)
