"""Measure one sample set against its wanted masks."""

from pathlib import Path

from fewshot_diffusion import cli
from fewshot_diffusion.config.evaluation import EvaluationConfig
from fewshot_diffusion.masks.evaluation import evaluate_masks
from fewshot_diffusion.runtime import make_runtime
from fewshot_diffusion.storage.tables import write_csv


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--settings", type=cli.section(EvaluationConfig), required=True, help="section evaluation")
    parser.add_argument("--data-set", required=True, help="its name")
    parser.add_argument("--method", required=True, help="name of the method in the table")
    parser.add_argument("--preset", required=True, help="name of the preset in the table")
    parser.add_argument("--shots", type=int, required=True, help="pairs that the method saw")
    parser.add_argument("--guidance-scale", type=float, default=0.0, help="lambda of the samples")
    parser.add_argument("--samples", type=Path, nargs="+", required=True, help="shards of samples")
    parser.add_argument("--masks", type=Path, required=True, help="wanted masks, safetensors")
    parser.add_argument("--real", type=Path, required=True, help="real images of these masks, safetensors")
    parser.add_argument("--wanted", type=int, required=True, help="how many of the masks were asked for")
    parser.add_argument("--seeds-per-mask", type=int, required=True, help="samples of each mask")
    parser.add_argument("--segmenter", type=Path, required=True, help="weights folder, role judge")
    parser.add_argument("--reference", type=Path, required=True, help="description of real images")
    parser.add_argument("--output", type=Path, required=True, help="CSV row to write")
    args = parser.parse_args()
    runtime = make_runtime(args.device, "float32", cpu_threads=1)
    row = evaluate_masks(
        {
            "data_set": args.data_set,
            "shots": args.shots,
            "method": args.method,
            "preset": args.preset,
            "guidance_scale": args.guidance_scale,
        },
        samples=args.samples,
        masks=args.masks,
        real=args.real,
        shape=(args.seeds_per_mask, args.wanted),
        segmenter=args.segmenter,
        reference=args.reference,
        settings=args.settings,
        runtime=runtime,
    )
    write_csv(args.output, row)


if __name__ == "__main__":
    cli.run(main)
