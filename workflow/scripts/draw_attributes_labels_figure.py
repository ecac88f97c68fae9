"""Draw the judge's share against the number of labels."""

from fewshot_diffusion import cli
from fewshot_diffusion.attributes.labels_figure import draw_attributes_labels_figure

if __name__ == "__main__":
    cli.run(draw_attributes_labels_figure)
