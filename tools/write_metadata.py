"""Write codemeta.json and .zenodo.json from CITATION.cff and pyproject.toml."""

from fewshot_diffusion import cli
from fewshot_diffusion.tooling.metadata import write_metadata

if __name__ == "__main__":
    cli.run(write_metadata)
