"""Fit the linear classifier of one attribute on cached latents."""

from fewshot_diffusion import cli
from fewshot_diffusion.attributes.baselines.latents import train_baseline_classifier

if __name__ == "__main__":
    cli.run(train_baseline_classifier)
