"""Draw wanted masks, their real images, and what each method makes of them."""

from fewshot_diffusion import cli
from fewshot_diffusion.masks.figures import draw_masks_figure

if __name__ == "__main__":
    cli.run(draw_masks_figure)
