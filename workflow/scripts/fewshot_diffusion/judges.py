"""Image classifiers of attributes: the judges, and DDIM-I's image-space classifier. One recipe."""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.resnet import BasicBlock, ResNet

from .config.supervised import SupervisedConfig
from .data.image_set import load_image_set
from .errors import DataError
from .images import to_signed
from .runtime import Runtime, make_runtime
from .storage.rows import Rows
from .storage.tensors import pixel_digest
from .storage.weights import load_module, save_module
from .supervised import augment, fit


class AttributeClassifier(nn.Module):
    """torchvision's ResNet without its last stage, a basic block in each of three (ResNet-8), one logit per attribute.

    Images of 64 pixels need no more, and it has a quarter of the parameters.
    """

    def __init__(self, attributes: list[str]) -> None:
        super().__init__()
        self.attributes = list(attributes)
        self.network = ResNet(BasicBlock, [1, 1, 1, 1])
        self.network.layer4 = nn.Identity()
        self.network.fc = nn.Linear(256, len(attributes))

    @property
    def config(self) -> dict[str, list[str]]:
        """Arguments that build this classifier."""
        return {"attributes": self.attributes}

    def forward(self, images: Tensor) -> Tensor:
        """Return log-odds float32 [B, A] of uint8 images [B, 3, H, W], 0..255."""
        return self.network(to_signed(images))  # type: ignore[no-any-return]

    def probability(self, images: Rows, attribute: str, batch_size: int = 128) -> Tensor:
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
    images: Rows, labels: Tensor, attributes: list[str], settings: SupervisedConfig, runtime: Runtime
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
    fit(model, (images, labels.float()), loss_of, _augment_images, settings, runtime)
    return model


def _augment_images(images: Tensor, labels: Tensor, stream: torch.Generator) -> tuple[Tensor, Tensor]:
    return augment(images, stream), labels


def train_judge(settings: SupervisedConfig, role: str, images: Path, output: Path, device: str = "auto") -> None:
    """Train a judge of every attribute of a labelled split; the one that tunes never reports.

    Args:
        settings: Section attributes.judge, JSON.
        role: judge or tuning_judge.
        images: Labelled split of its own, parquet.
        output: Weights folder to write.
        device: auto, cpu, cuda or cuda:<n>.
    """
    runtime = make_runtime(device, settings.precision, cpu_threads=1)
    image_set = load_image_set(images)
    attributes = list(image_set.attributes.columns)
    labels = torch.from_numpy(image_set.attributes.to_numpy(dtype=bool, copy=True))
    judge = train_classifier(image_set.images, labels, attributes, settings, runtime)
    recipe = settings.model_dump(mode="json")
    save_module(judge, judge.config, output, {"role": role, "recipe": recipe, "images": pixel_digest(image_set.images)})


def load_judge(folder: Path, role: str) -> AttributeClassifier:
    """Load a judge.

    Raises:
        WeightsError: If the classifier was trained for another role: what guides or tunes never reports.
    """
    return load_module(lambda config: AttributeClassifier(**config), folder, expected={"role": role})[0]
