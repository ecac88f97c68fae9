"""Train the rejection head on cached activations."""

from pathlib import Path

from fewshot_diffusion import cli
from fewshot_diffusion.classes.filter import load_class_features, train_rejection_head
from fewshot_diffusion.config.classification import RejectionConfig
from fewshot_diffusion.runtime import make_runtime
from fewshot_diffusion.storage.weights import save_module


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--settings", type=cli.section(RejectionConfig), required=True, help="its section, JSON")
    parser.add_argument("--features", type=Path, required=True, help="cached activations, safetensors")
    parser.add_argument("--output", type=Path, required=True, help="weights folder to write")
    args = parser.parse_args()
    runtime = make_runtime(args.device, args.settings.precision, cpu_threads=1)
    features, provenance = load_class_features(args.features)
    head = train_rejection_head(features, args.settings, runtime)
    save_module(head, head.config, args.output, {"denoiser": provenance["denoiser"], "code": args.code})


if __name__ == "__main__":
    cli.run(main)
