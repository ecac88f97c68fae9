"""Decide which latents of a prior a linear classifier keeps for one class."""

from fewshot_diffusion import cli
from fewshot_diffusion.attributes.baselines.latents import reject_latents

if __name__ == "__main__":
    cli.run(reject_latents)
