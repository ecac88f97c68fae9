"""Join the rows of all classes into the tables that people read, with the paper's numbers beside them."""

from fewshot_diffusion import cli
from fewshot_diffusion.attributes.table import make_attributes_table

if __name__ == "__main__":
    cli.run(make_attributes_table)
