"""Classifiers of whole images: torchvision's networks, trained from scratch, with Mixup and CutMix."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.transforms import v2

from ..config.supervised import SupervisedConfig
from ..data.image_set import load_image_set
from ..images import to_signed
from ..runtime import Runtime, make_runtime
from ..seeds import host_seed
from ..storage.rows import Rows
from ..storage.tensors import pixel_digest
from ..storage.weights import load_module, save_module
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
        scaled = to_signed(images)
        if scaled.shape[-1] != self.image_size:
            scaled = F.interpolate(scaled, size=(self.image_size, self.image_size), mode="bilinear", antialias=True)
        logits: Tensor = self.network(scaled)
        return logits

    def predict(self, images: Rows, batch_size: int = 128) -> Tensor:
        """Return the likeliest class, int64 [N], of uint8 images [N, 3, H, W]."""
        device = next(self.parameters()).device
        with torch.inference_mode():
            return torch.cat([self(batch.to(device)).argmax(1).cpu() for batch in images.split(batch_size)])


@dataclass(frozen=True)
class ClassifierRecipe:
    """What is trained, and how.

    Attributes:
        architecture: torchvision's name.
        image_size: Size at which it sees images, pixels.
        training: Epochs, rates and seed.
        mixup_alpha: Beta parameter of Mixup; each batch gets Mixup or CutMix, by chance. None leaves both out.
    """

    architecture: str
    image_size: int
    training: SupervisedConfig
    mixup_alpha: float | None = None


def train_classifier(
    recipe: ClassifierRecipe, classes: Sequence[str], images: Rows, labels: Tensor, runtime: Runtime
) -> ClassClassifier:
    """Train a classifier from scratch: AdamW, one-cycle rate, mirrored and shifted images.

    Args:
        recipe: Architecture and training.
        classes: Names of the K classes.
        images: uint8 [N, 3, H, W], 0..255.
        labels: int64 [N].
        runtime: Device and precision.
    """
    torch.manual_seed(recipe.training.seed)
    model = ClassClassifier(recipe.architecture, classes, recipe.image_size)
    augmented = augmentation(len(classes), recipe.mixup_alpha)
    fit(model, (images, labels), F.cross_entropy, augmented, recipe.training, runtime)
    return model


def augmentation(classes: int, mixup_alpha: float | None) -> Augment:
    """Return the augmentation of a batch: mirrored and shifted, then mixed by Mixup or CutMix, by chance.

    Mixed images are float32, 0..255, and their targets the shares of the classes, [B, K].

    Args:
        classes: K.
        mixup_alpha: Beta parameter of Mixup; CutMix uses 1. None leaves both out.

    Source: Zhang et al. 2018, "mixup"; Yun et al. 2019, "CutMix".
    """
    mixing = None if mixup_alpha is None else v2.RandomChoice(
        [v2.MixUp(alpha=mixup_alpha, num_classes=classes), v2.CutMix(alpha=1.0, num_classes=classes)]
    )  # fmt: skip

    def apply(images: Tensor, labels: Tensor, stream: torch.Generator) -> tuple[Tensor, Tensor]:
        images = augment(images, stream)
        if mixing is None:
            return images, labels
        with torch.random.fork_rng(devices=[]):  # torchvision draws from the global stream
            torch.manual_seed(host_seed(stream))
            mixed, shares = mixing(images.float(), labels)
        return mixed, shares

    return apply


def accuracy(predicted: Tensor, labels: Tensor, classes: int) -> float:
    """Return the accuracy of predictions, 0..1, as the mean over the classes that occur."""
    hits = (predicted == labels).double()
    shares = [hits[labels == label].mean() for label in range(classes) if (labels == label).any()]
    return float(torch.stack(shares).mean())


def train_class_judge(settings: SupervisedConfig, images: Path, output: Path, device: str = "auto") -> None:
    """Train the independent judge of classes on a split of its own.

    Args:
        settings: Section classes.judge, JSON.
        images: Labelled split, parquet.
        output: Weights folder to write.
        device: auto, cpu, cuda or cuda:<n>.
    """
    runtime = make_runtime(device, settings.precision, cpu_threads=1)
    real = load_image_set(images).class_set()
    recipe = ClassifierRecipe("resnet18", real.images.shape[-1], settings)
    judge = train_classifier(recipe, real.classes, real.images, real.labels, runtime)
    about = {
        "role": "class_judge",
        "recipe": settings.model_dump(mode="json"),
        "images": pixel_digest(real.images, real.labels),
    }
    save_module(judge.half(), judge.config, output, about)  # half the size; it computes in float32 all the same


def load_class_judge(folder: Path, runtime: Runtime) -> ClassClassifier:
    """Load the independent judge.

    Raises:
        WeightsError: If the classifier was trained for anything else.
    """
    judge, _ = load_module(lambda config: ClassClassifier(**config), folder, expected={"role": "class_judge"})
    return judge.to(runtime.device)
