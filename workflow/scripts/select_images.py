"""Let images that are described already stand for a class: all of them, or those that a filter accepted."""

from fewshot_diffusion import cli
from fewshot_diffusion.attributes.descriptions import select_images

if __name__ == "__main__":
    cli.run(select_images)
