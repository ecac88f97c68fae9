"""Cache what heads may read of the labelled images: one pass serves all modules and attributes."""

from fewshot_diffusion import cli
from fewshot_diffusion.own.fitting import extract_own_features

if __name__ == "__main__":
    cli.run(extract_own_features)
