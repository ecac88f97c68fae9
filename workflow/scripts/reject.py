"""DDIM-I: decide which unguided samples the image-space classifier keeps for one class."""

from pathlib import Path

from fewshot_diffusion import cli
from fewshot_diffusion.attributes.baselines.ddim_i import rejection_records, save_records
from fewshot_diffusion.diffusion.samples import load_samples
from fewshot_diffusion.judges import load_classifier


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--classifier", type=Path, required=True, help="weights folder")
    parser.add_argument("--attribute", required=True, help="name of the attribute")
    parser.add_argument("--value", type=cli.boolean, required=True, help="wanted value: true or false")
    parser.add_argument("--samples", type=Path, nargs="+", required=True, help="shards of the unguided pool")
    parser.add_argument("--output", type=Path, required=True, help="records to write, parquet")
    args = parser.parse_args()
    pool = load_samples(args.samples)
    probability = load_classifier(args.classifier).probability(pool.images, args.attribute)
    wanted = probability if args.value else 1 - probability
    save_records(rejection_records(wanted, pool.seeds), args.output, {"code": args.code})


if __name__ == "__main__":
    cli.run(main)
