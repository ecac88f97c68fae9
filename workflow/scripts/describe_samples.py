"""Describe generated images: features of every extractor and the judge's opinion."""

from pathlib import Path

from fewshot_diffusion import cli
from fewshot_diffusion.config.evaluation import EvaluationConfig
from fewshot_diffusion.diffusion.samples import load_samples
from fewshot_diffusion.judges import load_judge
from fewshot_diffusion.metrics.descriptions import describe, save_description
from fewshot_diffusion.runtime import make_runtime


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument(
        "--settings", type=cli.section(EvaluationConfig), required=True, help="section evaluation, JSON"
    )
    parser.add_argument("--samples", type=Path, nargs="+", required=True, help="shards of a sample set")
    parser.add_argument("--judge", type=Path, required=True, help="weights folder")
    parser.add_argument("--output", type=Path, required=True, help="description to write, safetensors")
    args = parser.parse_args()
    runtime = make_runtime(args.device, "float32", cpu_threads=1)
    samples = load_samples(args.samples)
    judge = load_judge(args.judge, "judge").to(runtime.device)
    extractors = args.settings.extractors
    description = describe(samples.images, samples.seeds, extractors, judge, runtime, samples.forwards_per_sample)
    save_description(description, args.output, {"code": args.code})


if __name__ == "__main__":
    cli.run(main)
