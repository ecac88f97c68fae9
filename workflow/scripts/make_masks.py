"""Draw the part masks of one split of the data set."""

from fewshot_diffusion import cli
from fewshot_diffusion.data.sources import make_masks

if __name__ == "__main__":
    cli.run(make_masks)
