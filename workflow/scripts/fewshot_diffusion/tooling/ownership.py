"""Whose the tables are: no run writes over those of another data set. Light, since every snakemake call imports it."""

import csv
from pathlib import Path

import yaml

from ..config.data import DataConfig
from ..errors import ConfigError


def data_set_of(table: Path) -> str | None:
    """Return the data set that a table is of; None if there is no table, or it does not say."""
    if not table.is_file():
        return None
    with table.open(encoding="utf-8", errors="replace", newline="") as file:
        return next(csv.DictReader(file), {}).get("data_set")


def require_own_name(data: DataConfig, folder: Path) -> None:
    """Stop if a configuration file of the repository gives the data set's name to a source of another kind.

    Results of the two would lie in one folder, and the committed tables be replaced.

    Args:
        data: Section data.
        folder: Where the configuration files lie.

    Raises:
        ConfigError: Names the file.
    """
    for path in sorted(folder.glob("*.yaml")):
        text = path.read_text(encoding="utf-8", errors="replace")
        if data.name not in text:
            continue
        other = _data_section(text)
        if other.get("name") == data.name and other.get("kind", data.kind) != data.kind:
            raise ConfigError(
                f"data.name: {data.name!r} is the name of {path.name}'s data set, of kind {other['kind']}; found kind "
                f"{data.kind}. Its results lie in results/{data.name}/: choose another name."
            )


def _data_section(text: str) -> dict[str, object]:
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError:
        return {}
    section = found.get("data") if isinstance(found, dict) else None
    return section if isinstance(section, dict) else {}
