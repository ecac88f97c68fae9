"""Write one section of a Markdown file from the committed tables."""

from pathlib import Path
from typing import Literal

from fewshot_diffusion import cli
from fewshot_diffusion.storage.files import write_text
from fewshot_diffusion.storage.tables import read_csv
from fewshot_diffusion.tooling.readme import LAYOUTS, replace_section


def write_section(
    section: str, layout: Literal["attributes", "masks", "classes"], tables: list[Path], file: Path = Path("README.md")
) -> None:
    """Replace a marked section.

    Args:
        section: Name of the section.
        layout: Whose tables they are.
        tables: CSVs, as the layout takes them.
        file: Markdown file to update.
    """
    content = LAYOUTS[layout](*map(read_csv, tables))
    write_text(file, replace_section(file.read_text(), section, content))


if __name__ == "__main__":
    cli.run(write_section)
