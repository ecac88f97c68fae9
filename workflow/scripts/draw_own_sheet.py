"""Write a sheet: unguided samples, and those of the same seeds steered by each head."""

from fewshot_diffusion import cli
from fewshot_diffusion.own.figures import draw_own_sheet

if __name__ == "__main__":
    cli.run(draw_own_sheet)
