"""Draw what guides of masks find in noisy images, by noise level."""

from fewshot_diffusion import cli
from fewshot_diffusion.masks.figures import draw_masks_noise_figure

if __name__ == "__main__":
    cli.run(draw_masks_noise_figure)
