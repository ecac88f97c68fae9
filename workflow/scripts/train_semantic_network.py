"""Train the network that names every option of the avatars, for the extractor ``semantic``."""

from fewshot_diffusion import cli
from fewshot_diffusion.metrics.semantic_training import train_semantic_network

if __name__ == "__main__":
    cli.run(train_semantic_network)
