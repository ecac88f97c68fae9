"""Compare unconditional samples of generative models; add what the classifiers of latents know."""

from fewshot_diffusion import cli
from fewshot_diffusion.attributes.baselines.report import evaluate_baselines

if __name__ == "__main__":
    cli.run(evaluate_baselines)
