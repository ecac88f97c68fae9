"""Draw learning curves, and say what was chosen and what more labels are worth."""

from fewshot_diffusion import cli
from fewshot_diffusion.own.figures import draw_own_curve

if __name__ == "__main__":
    cli.run(draw_own_curve)
