"""Join CSV files of the same columns."""

from fewshot_diffusion import cli
from fewshot_diffusion.storage.tables import join_csv

if __name__ == "__main__":
    cli.run(join_csv)
