"""Classifiers of whole images: torchvision's networks, trained from scratch, with Mixup and CutMix."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.transforms import v2

from ..config.supervised import SupervisedConfig
from ..errors import WeightsError
from ..runtime import Runtime
from ..storage.weights import load_module, read_weights_provenance
from ..supervised import Augment, augment, fit


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
