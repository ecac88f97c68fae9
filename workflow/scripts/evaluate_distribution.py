"""Compare samples of which a share was wanted with unguided ones: the share found, and distances to real images."""

from fewshot_diffusion import cli
from fewshot_diffusion.attributes.distribution import evaluate_distribution

if __name__ == "__main__":
    cli.run(evaluate_distribution)
