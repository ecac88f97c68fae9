"""Draw one split of the data set: images, attributes and classes."""

from fewshot_diffusion import cli
from fewshot_diffusion.data.sources import make_images

if __name__ == "__main__":
    cli.run(make_images)
