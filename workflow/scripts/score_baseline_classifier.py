"""Measure a linear classifier of latents on held-out real images."""

from fewshot_diffusion import cli
from fewshot_diffusion.attributes.baselines.report import score_baseline_classifier

if __name__ == "__main__":
    cli.run(score_baseline_classifier)
