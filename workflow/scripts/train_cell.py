"""Train one cell of Table 2, once per seed, and test it; finished seeds are kept."""

from fewshot_diffusion import cli
from fewshot_diffusion.classes.training import train_cell

if __name__ == "__main__":
    cli.run(train_cell)
