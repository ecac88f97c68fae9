"""Write how well samples follow the wanted masks, by the segmenter."""

from fewshot_diffusion import cli
from fewshot_diffusion.own.masks_table import make_own_masks_table

if __name__ == "__main__":
    cli.run(make_own_masks_table)
