"""Train a judge on its own labelled split."""

from pathlib import Path

from fewshot_diffusion import cli
from fewshot_diffusion.config.classifiers import JudgeConfig
from fewshot_diffusion.data.image_set import load_image_set
from fewshot_diffusion.judges import train_judge
from fewshot_diffusion.runtime import make_runtime
from fewshot_diffusion.storage.files import sha256
from fewshot_diffusion.storage.weights import save_module


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--settings", type=cli.section(JudgeConfig), required=True, help="section judge, JSON")
    parser.add_argument("--role", choices=("judge", "tuning_judge"), required=True, help="what it may judge")
    parser.add_argument("--images", type=Path, required=True, help="images of its split, safetensors")
    parser.add_argument("--output", type=Path, required=True, help="weights folder to write")
    args = parser.parse_args()
    runtime = make_runtime(args.device, args.settings.precision, cpu_threads=1)
    model = train_judge(load_image_set(args.images), args.settings, runtime)
    save_module(
        model, model.config, args.output, {"role": args.role, "images_sha256": sha256(args.images), "code": args.code}
    )


if __name__ == "__main__":
    cli.run(main)
