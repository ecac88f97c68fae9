"""Train the unconditional denoiser; the same command starts, resumes and repeats."""

from pathlib import Path

from fewshot_diffusion import cli
from fewshot_diffusion.config.denoiser import DenoiserConfig
from fewshot_diffusion.data.image_set import load_image_set
from fewshot_diffusion.diffusion.denoiser import unet_config
from fewshot_diffusion.diffusion.training import train_denoiser
from fewshot_diffusion.runtime import make_runtime
from fewshot_diffusion.storage.files import fingerprint
from fewshot_diffusion.storage.tensors import pixel_digest
from fewshot_diffusion.storage.weights import save_module


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--settings", type=cli.section(DenoiserConfig), required=True, help="section denoiser, JSON")
    parser.add_argument("--images", type=Path, required=True, help="training images, safetensors")
    parser.add_argument("--checkpoints", type=Path, required=True, help="folder that holds the states of all trainings")
    parser.add_argument("--output", type=Path, required=True, help="weights folder to write")
    args = parser.parse_args()
    settings: DenoiserConfig = args.settings
    runtime = make_runtime(args.device, settings.training.precision, settings.training.cpu_threads)
    images = load_image_set(args.images).images
    digest = pixel_digest(images)
    identity = fingerprint(settings.model_dump(mode="json"), digest, str(runtime.dtype))
    unet = train_denoiser(images, settings, args.checkpoints / identity, identity, runtime)
    provenance = {
        "schedule": settings.schedule.model_dump(mode="json"),
        "training": settings.training.model_dump(mode="json"),
        "training_images_sha256": digest,
        "code": args.code,
    }
    save_module(unet, unet_config(unet), args.output, provenance)


if __name__ == "__main__":
    cli.run(main)
