"""List a source that was downloaded, and stop unless all that is asked for is there."""

from fewshot_diffusion import cli
from fewshot_diffusion.data.plan import check_source

if __name__ == "__main__":
    cli.run(check_source)
