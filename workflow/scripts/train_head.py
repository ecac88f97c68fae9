"""Fit the few-shot head of one attribute on cached features."""

from pathlib import Path

from fewshot_diffusion import cli
from fewshot_diffusion.attributes.features import load_shot_features
from fewshot_diffusion.attributes.heads import train_head
from fewshot_diffusion.config.attributes import HeadConfig
from fewshot_diffusion.storage.files import sha256
from fewshot_diffusion.storage.weights import save_module


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--settings", type=cli.section(HeadConfig), required=True, help="section head, JSON")
    parser.add_argument("--attribute", required=True, help="name of the attribute")
    parser.add_argument("--features", type=Path, required=True, help="cached features, safetensors")
    parser.add_argument("--output", type=Path, required=True, help="weights folder to write")
    args = parser.parse_args()
    shots, provenance = load_shot_features(args.features)
    head, report = train_head(shots, args.settings, args.attribute)
    about = {"denoiser": provenance["denoiser"], "mode": provenance["mode"], "features_sha256": sha256(args.features)}
    save_module(head, head.config, args.output, {**about, "cross_validation": report, "code": args.code})


if __name__ == "__main__":
    cli.run(main)
