"""Train the autoencoder of a latent diffusion."""

from fewshot_diffusion import cli
from fewshot_diffusion.latent.autoencoder import train_autoencoder

if __name__ == "__main__":
    cli.run(train_autoencoder)
