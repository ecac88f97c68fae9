"""Draw how often each filter is right, and the judge's word on what it keeps, by its threshold."""

from fewshot_diffusion import cli
from fewshot_diffusion.classes.filters_figure import draw_classes_filters_figure

if __name__ == "__main__":
    cli.run(draw_classes_filters_figure)
