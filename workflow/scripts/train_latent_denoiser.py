"""Train U-Net and text encoder of a latent diffusion in Stable Diffusion's layout."""

from fewshot_diffusion import cli
from fewshot_diffusion.latent.training import train_latent_denoiser

if __name__ == "__main__":
    cli.run(train_latent_denoiser)
