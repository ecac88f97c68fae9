"""Draw mIoU against the number of image-mask pairs."""

from fewshot_diffusion import cli
from fewshot_diffusion.masks.figures import draw_masks_shots_figure

if __name__ == "__main__":
    cli.run(draw_masks_shots_figure)
