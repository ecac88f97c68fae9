"""Unpack a verified archive, whole or not at all, and list what it holds."""

from fewshot_diffusion import cli
from fewshot_diffusion.downloads.unpack import extract_archive

if __name__ == "__main__":
    cli.run(extract_archive)
