"""The networks and numbers that the jobs of a configured run are counted by; weights are not needed."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from torch import nn

from ..checkpoints.denoiser import unet_arguments
from ..config.denoiser import ScheduleConfig
from ..config.model import Config, load_config
from ..config.runs import load_runs, merged
from ..data.avatars import avatar_classes
from ..data.listings import list_source
from ..diffusion.denoiser import PixelDenoiser, build_unet
from ..diffusion.description import require_steerable
from ..diffusion.unets import unet_of_config
from ..errors import ConfigError
from ..own.plan import describe_own
from ..runtime import CPU
from ..storage.files import read_json
from .latents import latent_costs
from .networks import DenoiserCosts, built
from .work import Run


def read_configuration(overlays: Sequence[Path], base: Path = Path()) -> tuple[Config, list[Config]]:
    """Return the configuration as Snakemake merges it, and that of each of its runs: of a single one, itself.

    Args:
        overlays: As behind ``--configfile``.
        base: Folder of the workflow.
    """
    raw: dict[str, Any] = {}
    for path in [base / "config/config.yaml", base / "config/artefacts.yaml", *overlays]:
        raw = merged(raw, yaml.safe_load(path.read_text(encoding="utf-8")))
    config, runs = load_runs(raw, base)
    return config, [load_config(one, base) for one in runs.values()] or [config]


def counted_runs(configs: Sequence[Config]) -> Mapping[str, Run]:
    """Return data set -> how its jobs are counted."""
    return {config.data.name: Run(config, denoiser_costs(config), count_classes(config)) for config in configs}


def denoiser_costs(config: Config) -> DenoiserCosts:
    """Return the costs of a run's denoiser, from its configuration or its ``config.json``.

    Raises:
        ConfigError: If neither says what it is.
    """
    settings, size = config.denoiser, config.data.image_size
    if config.own:
        found = describe_own(config.own.model)
        described = read_json(found.config)
        return _costs(lambda: unet_of_config(described), require_steerable(found))
    if settings.latent:
        return latent_costs(config, settings.latent)
    if settings.source == "train":
        return _costs(lambda: build_unet(settings.architecture, size), settings.schedule)
    if settings.source == "checkpoint" and settings.checkpoint:
        arguments = unet_arguments(settings.checkpoint, size)
        return _costs(lambda: unet_of_config(arguments), settings.schedule)
    folder = settings.folder or Path() if settings.source == "folder" else Path("results", config.data.name, "denoiser")
    places = [path for path in (folder / "config.json", folder / "unet" / "config.json") if path.is_file()]
    if not places:
        raise ConfigError(f"denoiser.folder: there is no {folder / 'config.json'}, by which its FLOPs are counted.")
    described = read_json(places[0])
    return _costs(lambda: unet_of_config(described), settings.schedule)


def _costs(make: Callable[[], nn.Module], schedule: ScheduleConfig) -> DenoiserCosts:
    return DenoiserCosts(PixelDenoiser(schedule, "", CPU, built(make)))


def count_classes(config: Config) -> int:
    """Return how many classes a data set has: as drawn, as listed, or, where it is not there yet, as many as may be."""
    section, source = config.classes, config.data.source
    if section is None:
        return 0
    if config.data.kind == "avatars" and config.data.avatars:
        return len(avatar_classes(config.data.avatars))
    if all(path.exists() for path in source.files.values()):
        return len(list_source(source, []).classes)
    return section.splits.class_train // section.train_per_class
