"""Join the rows of a mask table."""

from fewshot_diffusion import cli
from fewshot_diffusion.masks.evaluation import make_masks_table

if __name__ == "__main__":
    cli.run(make_masks_table)
