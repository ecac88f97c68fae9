"""Draw samples of a model of one's own, unguided or steered by one head."""

from fewshot_diffusion import cli
from fewshot_diffusion.own.drawing import sample_own

if __name__ == "__main__":
    cli.run(sample_own)
