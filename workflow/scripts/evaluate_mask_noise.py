"""Measure what one guide of masks finds in real images with and without noise."""

from fewshot_diffusion import cli
from fewshot_diffusion.masks.noise import evaluate_mask_noise

if __name__ == "__main__":
    cli.run(evaluate_mask_noise)
