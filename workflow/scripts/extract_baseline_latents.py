"""Cache what the classifier of one attribute reads: latents of its shots."""

from fewshot_diffusion import cli
from fewshot_diffusion.attributes.baselines.latents import extract_baseline_latents

if __name__ == "__main__":
    cli.run(extract_baseline_latents)
