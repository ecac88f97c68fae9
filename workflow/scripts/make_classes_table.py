"""Join the cells of Table 2 and put the paper's numbers beside them."""

from fewshot_diffusion import cli
from fewshot_diffusion.classes.table import make_classes_table

if __name__ == "__main__":
    cli.run(make_classes_table)
