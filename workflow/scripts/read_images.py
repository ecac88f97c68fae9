"""Read one split of a source: images, attributes and classes."""

from fewshot_diffusion import cli
from fewshot_diffusion.data.listed import read_images

if __name__ == "__main__":
    cli.run(read_images)
