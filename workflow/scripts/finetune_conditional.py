"""Fine-tune the unconditional denoiser as class-conditional; the same command starts, resumes and repeats."""

from pathlib import Path

from fewshot_diffusion import cli
from fewshot_diffusion.classes.conditional import finetune_conditional
from fewshot_diffusion.config.classification import FinetuningConfig
from fewshot_diffusion.data.class_set import load_classes
from fewshot_diffusion.diffusion.denoiser import load_denoiser, unet_config
from fewshot_diffusion.runtime import make_runtime
from fewshot_diffusion.storage.files import fingerprint
from fewshot_diffusion.storage.tensors import pixel_digest
from fewshot_diffusion.storage.weights import save_module


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--settings", type=cli.section(FinetuningConfig), required=True, help="recipe, JSON")
    parser.add_argument("--images", type=Path, required=True, help="real labelled images, safetensors")
    parser.add_argument("--denoiser", type=Path, required=True, help="weights folder of the unconditional denoiser")
    parser.add_argument("--checkpoints", type=Path, required=True, help="folder that holds the states of all trainings")
    parser.add_argument("--output", type=Path, required=True, help="weights folder to write")
    args = parser.parse_args()
    settings: FinetuningConfig = args.settings
    runtime = make_runtime(args.device, settings.precision, settings.cpu_threads)
    denoiser = load_denoiser(args.denoiser, runtime)
    real = load_classes(args.images)
    about = {
        "denoiser": denoiser.digest,
        "training": settings.model_dump(mode="json"),
        "images_sha256": pixel_digest(real.images, real.labels),
        "classes": real.classes,
        "precision": str(runtime.dtype),
    }
    identity = fingerprint(about)
    checkpoints = args.checkpoints / identity
    unet = finetune_conditional(
        denoiser, real.images, real.labels, len(real.classes), settings, checkpoints, identity, runtime
    )
    save_module(unet, unet_config(unet), args.output, {**about, "code": args.code})


if __name__ == "__main__":
    cli.run(main)
