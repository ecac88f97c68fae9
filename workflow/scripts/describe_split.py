"""Describe real images: features of every extractor and the judge's opinion."""

from pathlib import Path

from fewshot_diffusion import cli
from fewshot_diffusion.config.evaluation import EvaluationConfig
from fewshot_diffusion.data.image_set import load_image_set
from fewshot_diffusion.judges import load_judge
from fewshot_diffusion.metrics.descriptions import describe, save_description
from fewshot_diffusion.runtime import make_runtime


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument(
        "--settings", type=cli.section(EvaluationConfig), required=True, help="section evaluation, JSON"
    )
    parser.add_argument("--images", type=Path, required=True, help="images of a split, safetensors")
    parser.add_argument("--judge", type=Path, help="weights folder; without it, features alone")
    parser.add_argument("--output", type=Path, required=True, help="description to write, safetensors")
    args = parser.parse_args()
    runtime = make_runtime(args.device, "float32", cpu_threads=1)
    split = load_image_set(args.images)
    judge = load_judge(args.judge, "judge").to(runtime.device) if args.judge else None
    description = describe(split.images, split.ids, args.settings.extractors, judge, runtime)
    save_description(description, args.output, {"code": args.code})


if __name__ == "__main__":
    cli.run(main)
