"""Write the share of samples that show each measured attribute, by its judge."""

from fewshot_diffusion import cli
from fewshot_diffusion.own.table import make_own_table

if __name__ == "__main__":
    cli.run(make_own_table)
