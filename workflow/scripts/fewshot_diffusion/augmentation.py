"""Classifiers on real and generated images: one cell of Table 2."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.transforms import v2

from .classifiers import augment
from .config.classification import ArchitectureRecipe, ClassificationConfig
from .config.classifiers import SupervisedConfig
from .datasets.classes import ClassSet
from .errors import ConfigError, WeightsError
from .generation import GeneratedSet
from .io import load_module, read_sealed_json, read_weights_provenance, write_sealed_json
from .runtime import Runtime
from .training import Augment, fit, updates_per_epoch


class ClassClassifier(nn.Module):
    """One of torchvision's classifiers, untrained, one logit per class, at its own image size."""

    def __init__(self, architecture: str, classes: Sequence[str], image_size: int) -> None:
        super().__init__()
        self.architecture = architecture
        self.classes = list(classes)
        self.image_size = image_size
        self.network = torchvision.models.get_model(architecture, weights=None, num_classes=len(self.classes))

    @property
    def config(self) -> dict[str, Any]:
        """Arguments that build this classifier."""
        return {"architecture": self.architecture, "classes": self.classes, "image_size": self.image_size}

    def forward(self, images: Tensor) -> Tensor:
        """Return class logits [B, K] of images [B, 3, H, W], 0..255, uint8 or float."""
        scaled = images.float() / 127.5 - 1
        if scaled.shape[-1] != self.image_size:
            scaled = F.interpolate(scaled, size=(self.image_size, self.image_size), mode="bilinear", antialias=True)
        logits: Tensor = self.network(scaled)
        return logits

    def predict(self, images: Tensor, batch_size: int = 128) -> Tensor:
        """Return the likeliest class, int64 [N], of uint8 images [N, 3, H, W]."""
        device = next(self.parameters()).device
        with torch.inference_mode():
            return torch.cat([self(batch.to(device)).argmax(1).cpu() for batch in images.split(batch_size)])


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


def train_class_classifier(
    architecture: str,
    classes: Sequence[str],
    image_size: int,
    images: Tensor,
    labels: Tensor,
    settings: SupervisedConfig,
    runtime: Runtime,
    mixup_alpha: float | None = None,
) -> ClassClassifier:
    """Train a classifier from scratch: AdamW, one-cycle rate, mirrored and shifted images.

    Args:
        architecture: torchvision's name.
        classes: Names of the K classes.
        image_size: Size at which it sees images, pixels.
        images: uint8 [N, 3, H, W], 0..255.
        labels: int64 [N].
        settings: Recipe.
        runtime: Device and precision.
        mixup_alpha: Beta parameter of Mixup; each batch gets Mixup or CutMix, by chance. None leaves both out.
    """
    torch.manual_seed(settings.seed)
    model = ClassClassifier(architecture, classes, image_size)
    fit(model, images, labels, F.cross_entropy, _augmentation(len(classes), mixup_alpha), settings, runtime)
    return model


def accuracy(predicted: Tensor, labels: Tensor, classes: int) -> float:
    """Return the accuracy of predictions, 0..1, as the mean over the classes that occur."""
    hits = (predicted == labels).double()
    shares = [hits[labels == label].mean() for label in range(classes) if (labels == label).any()]
    return float(torch.stack(shares).mean())


def load_class_judge(folder: Path) -> ClassClassifier:
    """Load the independent judge.

    Raises:
        WeightsError: If the classifier was trained for anything else.
    """
    if read_weights_provenance(folder).get("role") != "judge":
        raise WeightsError(f"{folder}: is not the judge's folder; expected role 'judge' in provenance.json.")
    return load_module(lambda config: ClassClassifier(**config), folder)


def _augmentation(classes: int, mixup_alpha: float | None) -> Augment:
    mixing = None if mixup_alpha is None else v2.RandomChoice(
        [v2.MixUp(alpha=mixup_alpha, num_classes=classes), v2.CutMix(alpha=1.0, num_classes=classes)]
    )  # fmt: skip

    def apply(images: Tensor, labels: Tensor, stream: torch.Generator) -> tuple[Tensor, Tensor]:
        images = augment(images, stream)
        if mixing is None:
            return images, labels
        with torch.random.fork_rng(devices=[]):  # torchvision draws from the global stream
            torch.manual_seed(int(torch.randint(2**62, (), generator=stream)))
            mixed, shares = mixing(images.float(), labels)
        return mixed, shares

    return apply
