"""Image classifiers of attributes: the judges, and DDIM-I's image-space classifier. One recipe."""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.resnet import BasicBlock, ResNet

from .config.classifiers import JudgeConfig, SupervisedConfig
from .data.image_set import ImageSet
from .errors import DataError, WeightsError
from .runtime import Runtime
from .storage.weights import load_module, read_weights_provenance
from .supervised import augment, fit


class AttributeClassifier(nn.Module):
    """torchvision's ResNet with one basic block per stage (ResNet-10), one logit per attribute."""

    def __init__(self, attributes: list[str]) -> None:
        super().__init__()
        self.attributes = list(attributes)
        self.network = ResNet(BasicBlock, [1, 1, 1, 1], num_classes=len(attributes))

    @property
    def config(self) -> dict[str, list[str]]:
        """Arguments that build this classifier."""
        return {"attributes": self.attributes}

    def forward(self, images: Tensor) -> Tensor:
        """Return log-odds float32 [B, A] of uint8 images [B, 3, H, W], 0..255."""
        return self.network(images.float() / 127.5 - 1)  # type: ignore[no-any-return]

    def probability(self, images: Tensor, attribute: str, batch_size: int = 128) -> Tensor:
        """Return p(attribute | image), float32 [N].

        Raises:
            DataError: If the classifier was not trained on this attribute.
        """
        if attribute not in self.attributes:
            raise DataError(f"The classifier knows {', '.join(self.attributes)}, not {attribute!r}.")
        column = self.attributes.index(attribute)
        device = next(self.parameters()).device
        with torch.inference_mode():
            logits = [self(batch.to(device))[:, column] for batch in images.split(batch_size)]
        return torch.cat(logits).sigmoid().cpu()


def train_classifier(
    images: Tensor, labels: Tensor, attributes: list[str], settings: SupervisedConfig, runtime: Runtime
) -> AttributeClassifier:
    """Train a classifier: AdamW, one-cycle learning rate, mirrored and shifted images.

    Args:
        images: uint8 [N, 3, H, W], 0..255.
        labels: bool [N, A].
        attributes: Their A names.
        settings: Recipe.
        runtime: Device and precision.

    Raises:
        DataError: If an attribute has one value only.
    """
    for name, column in zip(attributes, labels.T, strict=True):
        if column.all() or not column.any():
            raise DataError(f"{name}: all {len(column)} training images have the same label; both are needed.")
    torch.manual_seed(settings.seed)
    model = AttributeClassifier(attributes)
    loss_of = F.binary_cross_entropy_with_logits
    fit(model, images, labels.float(), loss_of, _augment_images, settings, runtime)
    return model


def _augment_images(images: Tensor, labels: Tensor, stream: torch.Generator) -> tuple[Tensor, Tensor]:
    return augment(images, stream), labels


def train_judge(image_set: ImageSet, settings: JudgeConfig, runtime: Runtime) -> AttributeClassifier:
    """Train a judge of every attribute of a labelled split."""
    attributes = list(image_set.attributes.columns)
    labels = torch.from_numpy(image_set.attributes.to_numpy(dtype=bool, copy=True))
    return train_classifier(image_set.images, labels, attributes, settings, runtime)


def load_judge(folder: Path, role: str) -> AttributeClassifier:
    """Load a judge.

    Raises:
        WeightsError: If the classifier was trained for another role: what guides or tunes never reports.
    """
    found = read_weights_provenance(folder).get("role")
    if found != role:
        raise WeightsError(f"{folder}: this classifier's role is {found!r}, expected {role!r}: it must not judge here.")
    return load_classifier(folder)


def load_classifier(folder: Path) -> AttributeClassifier:
    """Load a classifier of any role."""
    return load_module(lambda config: AttributeClassifier(**config), folder)
