"""Train the segmentation head on the cached activations of the few pairs."""

from pathlib import Path

from fewshot_diffusion import cli
from fewshot_diffusion.config.segmentation import MaskHeadConfig
from fewshot_diffusion.masks.features import load_pair_features
from fewshot_diffusion.masks.heads import train_segmentation_head
from fewshot_diffusion.runtime import make_runtime
from fewshot_diffusion.storage.files import sha256
from fewshot_diffusion.storage.weights import save_module


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--settings", type=cli.section(MaskHeadConfig), required=True, help="segmentation.head, JSON")
    parser.add_argument("--upsampling", choices=("nearest", "bilinear"), required=True, help="of the activations")
    parser.add_argument("--features", type=Path, required=True, help="cached activations, safetensors")
    parser.add_argument("--output", type=Path, required=True, help="weights folder to write")
    args = parser.parse_args()
    make_runtime(args.device, "float32", cpu_threads=1)
    features, provenance = load_pair_features(args.features)
    taps, classes = provenance["taps"], provenance["classes"]
    head, report = train_segmentation_head(features, taps, classes, args.upsampling, args.settings)
    about = {"denoiser": provenance["denoiser"], "features_sha256": sha256(args.features), "report": report}
    save_module(head, head.config, args.output, {**about, "code": args.code})


if __name__ == "__main__":
    cli.run(main)
