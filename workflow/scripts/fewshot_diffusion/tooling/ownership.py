"""Whose results, images and weights are: none overwrites another's, or shows networks what they were trained on.

Light, since every snakemake call imports it.
"""

import csv
from pathlib import Path

import yaml

from ..config.data import DataConfig
from ..config.model import Config, load_config
from ..config.runs import merged
from ..errors import ConfigError, WeightsError
from ..storage.files import is_stored

WEIGHTS = {
    "denoiser": ("denoiser",),
    "denoiser.latent": ("stable_diffusion",),
    "baselines": ("baselines",),
    "masks": ("masks/segmenters", "masks/controlnets"),
    "classes": ("classes/generator",),
}
"""Section of the configuration -> the weights that no rule makes if its ``source`` is the store."""

TRAINED_ON = {
    "denoiser": ("train",),
    "denoiser.latent": ("train",),
    "baselines": ("train",),
    "masks": ("judge", "tuning_judge", "pairs"),
    "classes": ("class_train",),
}
"""Section whose ``source`` may be the store -> the splits that its shipped weights were trained on."""


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


def require_weights(config: object, results: Path, base: Path = Path()) -> None:
    """Stop if the configuration takes weights from the store that are not here.

    With committed tables in place, Snakemake would say that nothing is to be done. The store fills ``base`` alone.

    Raises:
        WeightsError: Names what is missing and what to do.
    """
    for key, names in WEIGHTS.items():
        folders = [f"{names[0]}/{each}" for each in _wanted_baselines(config)] if key == "baselines" else names
        absent = [results / name for name in folders if not (results / name).is_dir()]
        if absent and _source_of(config, key) == "store":
            there = "" if base == Path() else f" in {base.resolve()}, add `--directory {base.resolve()}`"
            found = (
                f"Run `make restore`{there}, or" if is_stored(base / absent[0]) else "None are stored under this name:"
            )
            others = {"denoiser": ", or to folder and name one", "baselines": ", or leave it out of the methods"}
            ways = f"train{others.get(key.partition('.')[0], '')}"
            raise WeightsError(f"{absent[0]}: weights are missing. {found} set {key}.source to {ways}.")


def require_shipped_splits(config: Config, shipped: Path) -> None:
    """Stop if drawn images lie elsewhere than when the shipped weights were trained: they would meet these again.

    Splits of drawn images lie one behind the other, so a size that changes moves all splits behind it.

    Args:
        config: The whole configuration.
        shipped: The configuration file that the shipped weights were trained with.

    Raises:
        ConfigError: Names the weights, the split, where it lies and where it lay.
    """
    stored = [key for key in TRAINED_ON if _source_of(config, key) == "store"]
    if not (stored and config.data.is_drawn):
        return
    overlays = [shipped.with_name("latent.yaml")] if config.denoiser.latent else []
    raw: dict[str, object] = {}
    for path in (shipped, *overlays):
        raw = merged(raw, yaml.safe_load(path.read_text(encoding="utf-8")))
    theirs, named = load_config(raw), (shipped, *overlays)[-1].name
    for key in stored:
        for split in TRAINED_ON[key]:
            ours, was = config.split_range(split), theirs.split_range(split)
            if ours != was:
                raise ConfigError(
                    f"{key}.source: the shipped weights were trained on the images {was.start} to {was.stop - 1} "
                    f"({split}), and other splits hold some of them now: by the sizes of the splits, {split} is "
                    f"{ours.start} to {ours.stop - 1}. Leave the sizes as {named} has them, or set "
                    f"{key}.source to train."
                )


def _wanted_baselines(config: object) -> list[str]:
    sections = [getattr(config, experiment, None) for experiment in ("attributes", "masks")]
    return list(dict.fromkeys(name for section in sections for name in getattr(section, "baselines", [])))


def _source_of(config: object, key: str) -> object:
    if key == "baselines" and not _wanted_baselines(config):
        return None  # nothing of them is made
    for name in key.split("."):
        config = getattr(config, name, None)
    return getattr(config, "source", None)


def _data_section(text: str) -> dict[str, object]:
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError:
        return {}
    section = found.get("data") if isinstance(found, dict) else None
    return section if isinstance(section, dict) else {}
