"""Measure how often a filter is right on real images, and what it would keep of every sample that was drawn."""

from fewshot_diffusion import cli
from fewshot_diffusion.classes.filter_comparison import measure_class_filter

if __name__ == "__main__":
    cli.run(measure_class_filter)
