"""Cache the activations that the rejection head reads, of labelled images and of their mirror images."""

from pathlib import Path

import torch

from fewshot_diffusion import cli
from fewshot_diffusion.classes.filter import ClassFeatures, rejection_maps, save_class_features
from fewshot_diffusion.config.classification import RejectionConfig
from fewshot_diffusion.data.class_set import load_classes
from fewshot_diffusion.diffusion.denoiser import load_denoiser
from fewshot_diffusion.runtime import make_runtime


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--settings", type=cli.section(RejectionConfig), required=True, help="its section, JSON")
    parser.add_argument("--images", type=Path, required=True, help="real labelled images, safetensors")
    parser.add_argument("--denoiser", type=Path, required=True, help="weights folder of the unconditional denoiser")
    parser.add_argument("--output", type=Path, required=True, help="cache to write, safetensors")
    args = parser.parse_args()
    runtime = make_runtime(args.device, args.settings.precision, cpu_threads=1)
    denoiser = load_denoiser(args.denoiser, runtime)
    real = load_classes(args.images)
    tap, timesteps = args.settings.tap, args.settings.timesteps
    maps = [rejection_maps(denoiser, images, tap, timesteps, runtime) for images in (real.images, real.images.flip(-1))]
    features = ClassFeatures(torch.stack(maps), real.labels, real.classes)
    save_class_features(features, args.output, {"denoiser": denoiser.digest, "code": args.code})


if __name__ == "__main__":
    cli.run(main)
