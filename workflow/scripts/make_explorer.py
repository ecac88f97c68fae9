"""Write the page: real, unguided and guided images side by side, the judge's word, and the table's row."""

from fewshot_diffusion import cli
from fewshot_diffusion.explorer.page import make_explorer

if __name__ == "__main__":
    cli.run(make_explorer)
