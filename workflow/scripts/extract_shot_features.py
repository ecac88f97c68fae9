"""Cache what the head of one attribute reads: pooled denoiser activations of its shots."""

from pathlib import Path

from fewshot_diffusion import cli
from fewshot_diffusion.attributes.features import exact_features, readout_features, save_shot_features
from fewshot_diffusion.config.attributes import HeadConfig
from fewshot_diffusion.data.image_set import load_image_set
from fewshot_diffusion.data.shots import read_shots
from fewshot_diffusion.diffusion.denoiser import load_denoiser
from fewshot_diffusion.runtime import make_runtime


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--settings", type=cli.section(HeadConfig), required=True, help="section head, JSON")
    parser.add_argument("--mode", choices=("exact", "readout"), required=True, help="clean or noised shots")
    parser.add_argument("--shots", type=Path, required=True, help="CSV: id, label")
    parser.add_argument("--pool", type=Path, required=True, help="images of the split shots, safetensors")
    parser.add_argument("--denoiser", type=Path, required=True, help="weights folder")
    parser.add_argument("--output", type=Path, required=True, help="cache to write, safetensors")
    args = parser.parse_args()
    runtime = make_runtime(args.device, args.settings.precision, cpu_threads=1)
    denoiser = load_denoiser(args.denoiser, runtime)
    images, labels = read_shots(args.shots, load_image_set(args.pool))
    features = {"exact": exact_features, "readout": readout_features}[args.mode]
    cached = features(denoiser, images.images, labels, images.ids, args.settings, runtime)
    save_shot_features(cached, args.output, {"denoiser": denoiser.digest, "mode": args.mode, "code": args.code})


if __name__ == "__main__":
    cli.run(main)
