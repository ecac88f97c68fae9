"""One cell of Table 2: a classifier on real and generated images, over several seeds."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from ..config.classes import ArchitectureRecipe, ClassificationConfig
from ..config.supervised import SupervisedConfig
from ..data.class_set import ClassSet
from ..errors import ConfigError
from ..runtime import Runtime
from ..storage.files import read_sealed_json, write_sealed_json
from ..supervised import updates_per_epoch
from .classifier import accuracy, train_class_classifier
from .generation import GeneratedSet


@dataclass(frozen=True)
class Control:
    """What a cell trains on, beside the ratio of generated to real images.

    Attributes:
        real: Whether the real images take part.
        filtered: Whether generated images passed the filter.
        matched: Whether there are more epochs, so that the updates are at least those of the largest ratio.
    """

    real: bool = True
    filtered: bool = True
    matched: bool = False


CONTROLS = {
    "none": Control(),
    "matched_updates": Control(matched=True),
    "unfiltered": Control(filtered=False),
    "generated_only": Control(real=False),
}


CELL_COLUMNS = [
    "data_set", "n_classes", "architecture", "image_size", "mixup_cutmix", "generated_ratio", "control", "n_real",
    "n_generated", "n_test", "epochs", "updates", "seeds", "top1_mean", "top1_sd",
]  # fmt: skip


def cell_data(real: ClassSet, generated: GeneratedSet | None, ratio: int, control: Control) -> tuple[Tensor, Tensor]:
    """Return what a cell trains on: images uint8 [N, 3, H, W] and labels [N].

    Raises:
        ConfigError: If generated images are needed and missing, or have other classes.
    """
    images, labels = [real.images] * control.real, [real.labels] * control.real
    if ratio:
        if generated is None or real.classes != generated.classes:
            found = None if generated is None else generated.classes[:3]
            raise ConfigError(f"generated images of the classes {real.classes[:3]}... are needed, found {found}.")
        drawn, shown = generated.take(len(real) // len(real.classes) * ratio, control.filtered)
        images, labels = [*images, drawn], [*labels, shown]
    return torch.cat(images), torch.cat(labels)


def cell_epochs(recipe: ArchitectureRecipe, settings: ClassificationConfig, control: Control, n_real: int) -> int:
    """Return a cell's epochs: the recipe's, or as many as match the updates of the largest ratio, rounded up."""
    if not control.matched:
        return recipe.epochs
    wanted = recipe.epochs * updates_per_epoch(n_real * (1 + settings.max_ratio), settings.batch_size)
    return math.ceil(wanted / updates_per_epoch(n_real, settings.batch_size))


def run_cell(
    cell: Mapping[str, object],
    *,
    real: ClassSet,
    generated: GeneratedSet | None,
    test: ClassSet,
    recipe: ArchitectureRecipe,
    settings: ClassificationConfig,
    checkpoints: Path,
    runtime: Runtime,
) -> pd.DataFrame:
    """Return one row of the table: mean and standard deviation of the accuracy over the seeds.

    Args:
        cell: Values of data_set, architecture, mixup_cutmix, generated_ratio and control.
        real: The few real labelled images.
        generated: Generated images, if the cell has any.
        test: Real images, of no other split.
        recipe: Architecture, epochs and seeds.
        settings: What all cells share.
        checkpoints: Folder of this cell's finished seeds.
        runtime: Device and precision.
    """
    control, ratio = CONTROLS[str(cell["control"])], int(str(cell["generated_ratio"]))
    images, labels = cell_data(real, generated, ratio, control)
    epochs = cell_epochs(recipe, settings, control, len(real))
    mixup_alpha = settings.mixup_alpha if cell["mixup_cutmix"] else None
    found = []
    for seed in recipe.seeds:
        path = checkpoints / f"seed-{seed}.json"
        if not path.is_file():
            shared = settings.model_dump(include={"batch_size", "learning_rate", "weight_decay", "precision"})
            model = train_class_classifier(
                recipe.name,
                real.classes,
                settings.image_size,
                images,
                labels,
                SupervisedConfig(**shared, epochs=epochs, seed=seed),
                runtime,
                mixup_alpha,
            )
            write_sealed_json(path, {"top1": accuracy(model.predict(test.images), test.labels, len(real.classes))})
        found.append(float(read_sealed_json(path)["top1"]))
    top1 = pd.Series(found)
    row = {
        **cell,
        "n_classes": len(real.classes),
        "image_size": settings.image_size,
        "n_real": len(real) * control.real,
        "n_generated": len(images) - len(real) * control.real,
        "n_test": len(test),
        "epochs": epochs,
        "updates": epochs * updates_per_epoch(len(images), settings.batch_size),
        "seeds": " ".join(map(str, recipe.seeds)),
        "top1_mean": top1.mean(),
        "top1_sd": top1.std(ddof=1),
    }
    return pd.DataFrame([row]).reindex(columns=CELL_COLUMNS)
