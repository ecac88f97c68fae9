"""Several data sets in one call: each run is the whole configuration, changed by overlays of its own.

Without torch and Snakemake, since every snakemake call imports this.
"""

from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml

from ..errors import ConfigError
from .downloads import DownloadsConfig
from .model import Config, load_config

Raw = dict[str, Any]


def load_runs(raw: Mapping[str, Any], base: Path = Path()) -> tuple[Config, dict[str, Raw]]:
    """Validate a raw configuration, and that of each of its runs.

    Args:
        raw: What YAML files say. Relative paths in it mean the working directory.
        base: Folder of the workflow, which overlays that are not there are looked for in.

    Returns:
        The configuration, which wants what any run wants of the network; and run -> its own, raw. Without ``runs``
        there is none.

    Raises:
        ConfigError: Names the run and every offending key, what was found and what is allowed.
    """
    config = load_config(raw, base)
    common = {key: value for key, value in raw.items() if key != "runs"}
    runs = {name: _with_overlays(f"runs.{name}", common, files, base) for name, files in config.runs.items()}
    found = {name: _load(f"runs.{name}", one, base) for name, one in runs.items()}
    _require_own_names(found)
    return config.model_copy(update={"downloads": _joint(config.downloads, found)}), runs


def merged(raw: Mapping[str, Any], overlay: Mapping[str, Any]) -> Raw:
    """Return a configuration changed by an overlay: sections key by key, everything else as a whole."""
    found = dict(deepcopy(raw))
    for key, value in overlay.items():
        below = found.get(key)
        section = isinstance(below, Mapping) and isinstance(value, Mapping)
        found[key] = merged(below or {}, value) if section else deepcopy(value)
    return found


def _with_overlays(key: str, common: Mapping[str, Any], files: list[Path], base: Path) -> Raw:
    found = dict(common)
    for file in files:
        found = merged(found, _read(key, file if file.exists() else base / file))
    return found


def _read(key: str, file: Path) -> Raw:
    try:
        found = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigError(f"{key}: {file} cannot be read ({error}). Name overlays that are there.") from error
    if not isinstance(found, dict) or "runs" in found:
        raise ConfigError(f"{key}: {file}: expected sections of a configuration, without runs of its own.")
    return found


def _load(key: str, raw: Raw, base: Path) -> Config:
    try:
        return load_config(raw, base)
    except ConfigError as error:
        raise ConfigError(f"{key}: {error}") from error


def _require_own_names(runs: Mapping[str, Config]) -> None:
    names = [config.data.name for config in runs.values()]
    if len(set(names)) != len(names):
        raise ConfigError(
            f"runs: found the data.name {', '.join(names)}, expected each once: results lie in its folder."
        )


def _joint(common: DownloadsConfig, runs: Mapping[str, Config]) -> DownloadsConfig:
    """Return the section by which one set of rules fetches what any run wants."""
    artefacts, wanted = dict(common.artefacts), list(common.wanted)
    for name, config in runs.items():
        for artefact, one in config.downloads.artefacts.items():
            if artefacts.setdefault(artefact, one) != one:
                raise ConfigError(f"runs.{name}: downloads.artefacts.{artefact}: another run means another file by it.")
        wanted += config.downloads.wanted
    return common.model_copy(update={"artefacts": artefacts, "wanted": list(dict.fromkeys(wanted))})
