"""What every image is reduced to once: features of each extractor, and the judge's opinion."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..config.evaluation import ExtractorConfig
from ..judges import AttributeClassifier
from ..runtime import Runtime
from ..storage.tensors import read_tensors, write_tensors
from .extractors import extract_features, make_extractor


@dataclass(frozen=True)
class Description:
    """Features and judgements of an image set.

    Attributes:
        ids: Image ids or sample seeds, int64 [N].
        features: Extractor name -> float32 [N, D].
        probabilities: Attribute -> p(attribute | image) of the judge, float32 [N].
        forwards_per_sample: Cost of one image in forward passes of the denoiser; 0 for real images.
        gallery: The first images, for figures, uint8 [G, 3, H, W]; ``select`` leaves it as it is.
    """

    ids: Tensor
    features: dict[str, Tensor]
    probabilities: dict[str, Tensor]
    forwards_per_sample: float
    gallery: Tensor

    def select(self, index: Tensor) -> "Description":
        """Return the images at ``index`` (bool [N] or int64 positions)."""
        features = {name: values[index] for name, values in self.features.items()}
        probabilities = {name: values[index] for name, values in self.probabilities.items()}
        return Description(self.ids[index], features, probabilities, self.forwards_per_sample, self.gallery)

    def judged(self, attribute: str, value: bool) -> Tensor:
        """Return which images the judge takes for the wanted class, bool [N]."""
        return (self.probabilities[attribute] > 0.5) == value

    def first(self, n: int) -> "Description":
        """Return the first ``n`` images, or all if there are fewer."""
        return self.select(torch.arange(min(n, len(self.ids))))


def save_description(description: Description, path: Path, provenance: dict[str, object]) -> None:
    """Write a description as one tensor file."""
    tensors = {"ids": description.ids, "gallery": description.gallery}
    tensors |= {f"features.{name}": values for name, values in description.features.items()}
    tensors |= {f"judge.{name}": values for name, values in description.probabilities.items()}
    write_tensors(path, tensors, {**provenance, "forwards_per_sample": description.forwards_per_sample})


def load_description(path: Path) -> Description:
    """Read a description written by ``save_description``."""
    tensors, provenance = read_tensors(path, "ids", "gallery")
    return Description(
        tensors["ids"],
        _with_prefix(tensors, "features."),
        _with_prefix(tensors, "judge."),
        float(provenance["forwards_per_sample"]),
        tensors["gallery"],
    )


def _with_prefix(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): values for name, values in tensors.items() if name.startswith(prefix)}


GALLERY_SIZE = 64


def describe(
    images: Tensor,
    ids: Tensor,
    extractors: Sequence[ExtractorConfig],
    judge: AttributeClassifier | None,
    runtime: Runtime,
    forwards_per_sample: float = 0.0,
) -> Description:
    """Describe uint8 images [N, 3, H, W] by every extractor and by the judge, if there is one."""
    features = {}
    for settings in extractors:
        extractor = make_extractor(settings, runtime)
        features[extractor.name] = extract_features(images, extractor)
    probabilities = {name: judge.probability(images, name) for name in judge.attributes} if judge else {}
    return Description(ids, features, probabilities, forwards_per_sample, images[:GALLERY_SIZE])
