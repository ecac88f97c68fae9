"""Draw the poster's figure: real, unguided and guided images of every class, the same seeds side by side."""

from fewshot_diffusion import cli
from fewshot_diffusion.attributes.figures import draw_attributes_figure

if __name__ == "__main__":
    cli.run(draw_attributes_figure)
