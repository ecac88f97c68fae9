"""Decode one shard of a generative baseline's latents; finished work units are kept."""

from fewshot_diffusion import cli
from fewshot_diffusion.attributes.baselines.generative import sample_baseline

if __name__ == "__main__":
    cli.run(sample_baseline)
