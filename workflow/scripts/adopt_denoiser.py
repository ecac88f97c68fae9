"""Record digests and schedule of your own diffusers UNet2DModel folder, for denoiser.source: folder."""

from pathlib import Path

from fewshot_diffusion import cli
from fewshot_diffusion.config.denoiser import ScheduleConfig
from fewshot_diffusion.diffusion.denoiser import adopt_denoiser


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="config.json and the weights as safetensors")
    parser.add_argument("--schedule", type=cli.section(ScheduleConfig), required=True, help="section schedule, JSON")
    args = parser.parse_args()
    adopt_denoiser(args.folder, args.schedule)


if __name__ == "__main__":
    cli.run(main)
