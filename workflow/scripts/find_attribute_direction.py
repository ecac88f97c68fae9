"""Learn the direction of one attribute from its labelled shots: the difference of their mean activations."""

from fewshot_diffusion import cli
from fewshot_diffusion.attributes.directions import find_attribute_direction

if __name__ == "__main__":
    cli.run(find_attribute_direction)
