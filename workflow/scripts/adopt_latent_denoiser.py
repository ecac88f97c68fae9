"""Take over a latent diffusion, held at one prompt."""

from fewshot_diffusion import cli
from fewshot_diffusion.latent.adoption import adopt_latent_denoiser

if __name__ == "__main__":
    cli.run(adopt_latent_denoiser)
