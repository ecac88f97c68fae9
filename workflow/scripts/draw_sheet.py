"""Write a contact sheet: the first samples of each sample set, a block of rows per set."""

from fewshot_diffusion import cli
from fewshot_diffusion.attributes.figures import draw_sheet

if __name__ == "__main__":
    cli.run(draw_sheet)
