"""Describe a generative baseline's samples: features, the judge's opinion, and what they cost."""

from fewshot_diffusion import cli
from fewshot_diffusion.attributes.baselines.generative import describe_baseline

if __name__ == "__main__":
    cli.run(describe_baseline)
