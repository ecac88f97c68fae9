"""Read the part masks of one split of a source."""

from fewshot_diffusion import cli
from fewshot_diffusion.data.listed import read_masks

if __name__ == "__main__":
    cli.run(read_masks)
