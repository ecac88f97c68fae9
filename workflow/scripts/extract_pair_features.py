"""Cache the denoiser's activations of the few image-mask pairs."""

from pathlib import Path

from fewshot_diffusion import cli
from fewshot_diffusion.config.segmentation import MaskHeadConfig, MaskPresetConfig
from fewshot_diffusion.data.image_set import load_image_set
from fewshot_diffusion.data.mask_set import load_masks
from fewshot_diffusion.data.shots import read_pairs
from fewshot_diffusion.diffusion.denoiser import load_denoiser
from fewshot_diffusion.masks.features import pair_features, save_pair_features
from fewshot_diffusion.runtime import make_runtime


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--preset", type=cli.section(MaskPresetConfig), required=True, help="preset, JSON")
    parser.add_argument("--settings", type=cli.section(MaskHeadConfig), required=True, help="segmentation.head, JSON")
    parser.add_argument("--mode", choices=("exact", "readout"), required=True, help="clean or noised images")
    parser.add_argument("--pairs", type=Path, required=True, help="CSV: id")
    parser.add_argument("--images", type=Path, required=True, help="images of the pool, safetensors")
    parser.add_argument("--masks", type=Path, required=True, help="masks of the pool, safetensors")
    parser.add_argument("--denoiser", type=Path, required=True, help="weights folder")
    parser.add_argument("--output", type=Path, required=True, help="cache to write, safetensors")
    args = parser.parse_args()
    runtime = make_runtime(args.device, args.settings.precision, cpu_threads=1)
    denoiser = load_denoiser(args.denoiser, runtime)
    images, masks = read_pairs(args.pairs, load_image_set(args.images), load_masks(args.masks))
    noised = args.mode == "readout"
    timesteps = args.settings.readout_timesteps if noised else [args.preset.feature_timestep]
    features = pair_features(
        denoiser, images.images, masks.masks, args.preset.taps, sorted(set(timesteps)), noised, args.settings, runtime
    )
    about = {"denoiser": denoiser.digest, "classes": masks.classes, "taps": args.preset.taps, "code": args.code}
    save_pair_features(features, denoiser.unet, args.output, about)


if __name__ == "__main__":
    cli.run(main)
