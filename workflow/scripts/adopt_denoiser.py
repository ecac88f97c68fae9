"""Take over a denoiser of one's own: a diffusers UNet2DModel folder."""

from fewshot_diffusion import cli
from fewshot_diffusion.diffusion.adoption import adopt_denoiser

if __name__ == "__main__":
    cli.run(adopt_denoiser)
