"""Describe the real images of a split: features of every extractor and the judge's opinion."""

from fewshot_diffusion import cli
from fewshot_diffusion.metrics.descriptions import describe_images

if __name__ == "__main__":
    cli.run(describe_images)
