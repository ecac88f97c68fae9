"""Fetch one public file, verified: kept, put there by hand, or from the first mirror that has it."""

from fewshot_diffusion import cli
from fewshot_diffusion.downloads.fetch import fetch_artefact

if __name__ == "__main__":
    cli.run(fetch_artefact)
