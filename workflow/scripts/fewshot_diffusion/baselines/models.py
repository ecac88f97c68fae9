"""Generative baselines by name: a further one is a recipe in the configuration, a module, and a line here."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..config.baselines import BaselinesConfig, D2CConfig, DiffAEConfig, HierarchicalVAEConfig
from ..config.denoiser import ScheduleConfig
from ..storage.weights import load_module
from .base import LatentModel
from .d2c import D2C
from .diffae import DiffAE
from .hierarchical_vae import HierarchicalVAE

Make = Callable[[Any, ScheduleConfig, int], LatentModel]

MODELS: dict[str, tuple[Make, type[Any]]] = {
    "diffae": (DiffAE, DiffAEConfig),
    "d2c": (D2C, D2CConfig),
    "hierarchical_vae": (HierarchicalVAE, HierarchicalVAEConfig),
}
"""Name -> what makes it of its recipe, the denoiser's schedule and the image size in pixels; and the recipe's type."""


def build_baseline(name: str, settings: BaselinesConfig, schedule: ScheduleConfig, image_size: int) -> LatentModel:
    """Return an untrained model."""
    make, _ = MODELS[name]
    return make(settings.recipe(name), schedule, image_size)


def load_baseline(name: str, folder: Path) -> LatentModel:
    """Load a trained model, frozen.

    Raises:
        WeightsError: If files are missing, do not fit each other, or are of another model.
    """
    make, recipe = MODELS[name]

    def of_config(config: dict[str, Any]) -> LatentModel:
        schedule = ScheduleConfig.model_validate(config["schedule"])
        return make(recipe.model_validate(config["settings"]), schedule, config["image_size"])

    return load_module(of_config, folder, {"baseline": name})[0]
