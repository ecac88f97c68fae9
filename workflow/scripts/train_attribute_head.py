"""Fit the few-shot head of one attribute on cached features."""

from fewshot_diffusion import cli
from fewshot_diffusion.attributes.heads import train_attribute_head

if __name__ == "__main__":
    cli.run(train_attribute_head)
