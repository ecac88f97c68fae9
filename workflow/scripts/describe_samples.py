"""Describe a sample set: features of every extractor, the judge's opinion, and what it cost."""

from fewshot_diffusion import cli
from fewshot_diffusion.attributes.descriptions import describe_samples

if __name__ == "__main__":
    cli.run(describe_samples)
