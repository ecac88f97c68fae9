"""Read the labelled images of one's own, at the size of the model's."""

from fewshot_diffusion import cli
from fewshot_diffusion.own.images import read_own_images

if __name__ == "__main__":
    cli.run(read_own_images)
