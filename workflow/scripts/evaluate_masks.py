"""Measure one sample set against its wanted masks."""

from fewshot_diffusion import cli
from fewshot_diffusion.masks.evaluation import evaluate_masks

if __name__ == "__main__":
    cli.run(evaluate_masks)
