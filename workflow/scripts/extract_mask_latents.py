"""Cache a generative baseline's latents of the few image-mask pairs."""

from fewshot_diffusion import cli
from fewshot_diffusion.masks.baselines.latents import extract_mask_latents

if __name__ == "__main__":
    cli.run(extract_mask_latents)
