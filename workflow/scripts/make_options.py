"""Write what the generator picks for one split of the data set."""

from fewshot_diffusion import cli
from fewshot_diffusion.data.sources import make_options

if __name__ == "__main__":
    cli.run(make_options)
