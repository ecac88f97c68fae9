"""Draw accuracy against the ratio of generated images, what the filter does, and how reliable it is."""

from fewshot_diffusion import cli
from fewshot_diffusion.classes.figures import draw_classes_figure

if __name__ == "__main__":
    cli.run(draw_classes_figure)
