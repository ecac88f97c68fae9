"""Train the mask decoder of a generative baseline on the cached latents of the few pairs."""

from fewshot_diffusion import cli
from fewshot_diffusion.masks.baselines.decoder import train_mask_decoder

if __name__ == "__main__":
    cli.run(train_mask_decoder)
