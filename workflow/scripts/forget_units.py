"""Delete the finished work units behind a plan's shards of samples, so that drawing them again draws every sample."""

from pathlib import Path

from fewshot_diffusion import cli
from fewshot_diffusion.tooling.reproduction import forget_units
from fewshot_diffusion.tooling.storing import read_summary


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--summary", type=Path, required=True, help="output of `snakemake --summary`")
    parser.add_argument("--checkpoints", type=Path, required=True, help="folder of finished work units")
    args = parser.parse_args()
    paths = [Path(product.path) for product in read_summary(args.summary.read_text())]
    shards = [path for path in paths if path.suffix == ".safetensors" and "samples" in path.parts[:3]]
    forget_units([path for path in shards if path.is_file()], args.checkpoints)


if __name__ == "__main__":
    cli.run(main)
