"""Train a ControlNet on the few image-mask pairs; the same command starts, resumes and repeats."""

from pathlib import Path

from fewshot_diffusion import cli
from fewshot_diffusion.config.denoiser import DenoiserTrainingConfig
from fewshot_diffusion.data.image_set import load_image_set
from fewshot_diffusion.data.mask_set import load_masks
from fewshot_diffusion.data.shots import read_pairs
from fewshot_diffusion.diffusion.denoiser import load_denoiser
from fewshot_diffusion.masks.controlnet import train_controlnet
from fewshot_diffusion.runtime import make_runtime
from fewshot_diffusion.storage.files import fingerprint
from fewshot_diffusion.storage.tensors import pixel_digest
from fewshot_diffusion.storage.weights import save_module


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--settings", type=cli.section(DenoiserTrainingConfig), required=True, help="recipe, JSON")
    parser.add_argument("--flip-pairs", type=cli.integer_pairs, default=[], help="class ids a mirror swaps, JSON")
    parser.add_argument("--images", type=Path, required=True, help="images of the pool, safetensors")
    parser.add_argument("--masks", type=Path, required=True, help="masks of the pool, safetensors")
    parser.add_argument("--pairs", type=Path, required=True, help="CSV: id")
    parser.add_argument("--denoiser", type=Path, required=True, help="weights folder")
    parser.add_argument("--checkpoints", type=Path, required=True, help="folder that holds the states of all trainings")
    parser.add_argument("--output", type=Path, required=True, help="weights folder to write")
    args = parser.parse_args()
    settings: DenoiserTrainingConfig = args.settings
    runtime = make_runtime(args.device, settings.precision, settings.cpu_threads)
    denoiser = load_denoiser(args.denoiser, runtime)
    images, masks = read_pairs(args.pairs, load_image_set(args.images), load_masks(args.masks))
    about = {
        "denoiser": denoiser.digest,
        "training": settings.model_dump(mode="json"),
        "pairs_sha256": [pixel_digest(images.images), pixel_digest(masks.masks)],
        "classes": masks.classes,
        "flip_pairs": args.flip_pairs,
        "precision": str(runtime.dtype),
    }
    identity = fingerprint(about)
    controlnet = train_controlnet(
        denoiser,
        images.images,
        masks.masks,
        masks.classes,
        args.flip_pairs,
        settings,
        args.checkpoints / identity,
        identity,
        runtime,
    )
    save_module(controlnet, controlnet.config, args.output, {**about, "code": args.code})


if __name__ == "__main__":
    cli.run(main)
