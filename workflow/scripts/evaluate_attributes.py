"""Compare all methods with one class: distances, and the judge's shares."""

from fewshot_diffusion import cli
from fewshot_diffusion.attributes.evaluation import evaluate_attributes

if __name__ == "__main__":
    cli.run(evaluate_attributes)
