"""Send real images through the latent of a generative baseline."""

from fewshot_diffusion import cli
from fewshot_diffusion.baselines.sampling import reconstruct_images

if __name__ == "__main__":
    cli.run(reconstruct_images)
