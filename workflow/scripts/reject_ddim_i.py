"""DDIM-I: decide which unguided samples the image-space classifier keeps for one class."""

from fewshot_diffusion import cli
from fewshot_diffusion.attributes.baselines.ddim_i import reject_ddim_i

if __name__ == "__main__":
    cli.run(reject_ddim_i)
