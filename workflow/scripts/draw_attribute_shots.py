"""Draw the labelled shots of one attribute from their pool."""

from fewshot_diffusion import cli
from fewshot_diffusion.attributes.shots import draw_attribute_shots

if __name__ == "__main__":
    cli.run(draw_attribute_shots)
