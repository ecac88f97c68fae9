"""Read the images that have masks, and these."""

from fewshot_diffusion import cli
from fewshot_diffusion.own.images import read_own_masks

if __name__ == "__main__":
    cli.run(read_own_masks)
