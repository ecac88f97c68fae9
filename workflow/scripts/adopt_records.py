"""Give Snakemake the stored records of restored products, also where a run of one's own left others."""

from fewshot_diffusion import cli
from fewshot_diffusion.tooling.records import adopt


def main() -> None:
    cli.parser(__doc__).parse_args()
    adopt(renew=True)


if __name__ == "__main__":
    cli.run(main)
