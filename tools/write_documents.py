"""Write config/schema.json and config/README.md from the configuration model."""

from pathlib import Path

from fewshot_diffusion import cli
from fewshot_diffusion.tooling.documentation import write_documents


def write(folder: Path = Path("config")) -> None:
    """Write both documents.

    Args:
        folder: Where they go.
    """
    write_documents(folder)


if __name__ == "__main__":
    cli.run(write)
