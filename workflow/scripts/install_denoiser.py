"""Check a denoiser's weights folder against the configuration and copy it into the results."""

from pathlib import Path

from fewshot_diffusion import cli
from fewshot_diffusion.config.denoiser import DenoiserConfig
from fewshot_diffusion.diffusion.denoiser import install_denoiser


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--settings", type=cli.section(DenoiserConfig), required=True, help="section denoiser, JSON")
    parser.add_argument("--image-size", type=int, required=True, help="pixels")
    parser.add_argument("--folder", type=Path, required=True, help="weights folder to read")
    parser.add_argument("--output", type=Path, required=True, help="weights folder to write")
    args = parser.parse_args()
    install_denoiser(args.folder, args.output, args.settings, args.image_size)


if __name__ == "__main__":
    cli.run(main)
