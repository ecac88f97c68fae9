"""Draw distance and judge's share of every method against what its samples cost."""

from fewshot_diffusion import cli
from fewshot_diffusion.attributes.cost_figure import draw_attributes_cost_figure

if __name__ == "__main__":
    cli.run(draw_attributes_cost_figure)
