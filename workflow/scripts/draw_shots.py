"""Draw the labelled shots of one attribute from their pool."""

from pathlib import Path

from fewshot_diffusion import cli
from fewshot_diffusion.config.attributes import HeadConfig
from fewshot_diffusion.data.image_set import load_image_set
from fewshot_diffusion.data.shots import draw_shots
from fewshot_diffusion.storage.tables import write_csv


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--settings", type=cli.section(HeadConfig), required=True, help="section head, JSON")
    parser.add_argument("--attribute", required=True, help="name of the attribute")
    parser.add_argument("--pool", type=Path, required=True, help="images of the split shots, safetensors")
    parser.add_argument("--output", type=Path, required=True, help="CSV to write: id, label")
    args = parser.parse_args()
    head: HeadConfig = args.settings
    pool = load_image_set(args.pool)
    shots = draw_shots(pool, args.attribute, head.positive_shots, head.negative_shots, head.shots_seed)
    write_csv(args.output, shots)


if __name__ == "__main__":
    cli.run(main)
