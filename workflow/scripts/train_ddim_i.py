"""Train DDIM-I's image-space classifier on the same shots as the heads."""

from fewshot_diffusion import cli
from fewshot_diffusion.attributes.baselines.ddim_i import train_ddim_i

if __name__ == "__main__":
    cli.run(train_ddim_i)
