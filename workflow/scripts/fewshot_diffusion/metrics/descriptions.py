"""What every image is reduced to once: features of each extractor, the judge's opinion, and what it cost to make."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from ..config.evaluation import EvaluationConfig
from ..data.image_set import iter_image_set
from ..judges import AttributeClassifier, load_judge
from ..progress import Progress
from ..runtime import make_runtime
from ..storage.files import About
from ..storage.tensors import read_tensors, write_tensors
from .extractors import FeatureExtractor, extract_features, make_extractor

GALLERY_SIZE = 64


@dataclass(frozen=True)
class Cost:
    """What one image cost that stands for the wanted class; of real images, nothing.

    Attributes:
        forwards_per_sample: Forward passes of the denoiser, counted in FLOPs, for each sample that was drawn.
        seconds_per_sample: Wall time of drawing one: one CPU thread or one GPU; NaN if nobody measured it.
        acceptance_rate: Share of the drawn samples that were kept.
    """

    forwards_per_sample: float = 0.0
    seconds_per_sample: float = float("nan")
    acceptance_rate: float = 1.0


NO_COST = Cost()


@dataclass(frozen=True)
class Description:
    """Features and judgements of an image set, and what made it.

    Attributes:
        method: Name of the method, as in the configuration; ``real`` for images of the data set.
        ids: Image ids or sample seeds, int64 [N].
        features: Extractor name -> float32 [N, D].
        probabilities: Attribute -> p(attribute | image) of the judge, float32 [N].
        gallery: The first images, for figures, uint8 [G, 3, H, W]; ``select`` leaves it as it is.
        cost: What one of the images cost.
    """

    method: str
    ids: Tensor
    features: Mapping[str, Tensor]
    probabilities: Mapping[str, Tensor]
    gallery: Tensor
    cost: Cost

    def __len__(self) -> int:
        return len(self.ids)

    def select(self, index: Tensor) -> "Description":
        """Return the images at ``index`` (bool [N] or int64 positions)."""
        features = {name: values[index] for name, values in self.features.items()}
        probabilities = {name: values[index] for name, values in self.probabilities.items()}
        return replace(self, ids=self.ids[index], features=features, probabilities=probabilities)

    def judged(self, attribute: str, value: bool) -> Tensor:
        """Return which images the judge takes for the wanted class, bool [N]."""
        return (self.probabilities[attribute] > 0.5) == value

    def first(self, n: int) -> "Description":
        """Return the first ``n`` images, or all if there are fewer."""
        return self.select(torch.arange(min(n, len(self.ids))))


def describe(
    images: Tensor,
    ids: Tensor,
    method: str,
    extractors: Sequence[FeatureExtractor],
    judge: AttributeClassifier | None,
    cost: Cost = NO_COST,
) -> Description:
    """Describe images by every extractor and by the judge, if there is one.

    Args:
        images: uint8 [N, 3, H, W], 0..255.
        ids: Image ids or sample seeds, int64 [N].
        method: What made the images; ``real`` for those of the data set.
        extractors: Networks of the distances (``make_extractor``).
        judge: Independent classifier of the attributes.
        cost: What one of the images cost.
    """
    features = {extractor.name: extract_features(images, extractor) for extractor in extractors}
    probabilities = {name: judge.probability(images, name) for name in judge.attributes} if judge else {}
    return Description(method, ids, features, probabilities, images[:GALLERY_SIZE], cost)


def join(parts: Iterable[Description]) -> Description:
    """Return the description of images that were described in parts, one behind the other; none keeps its images."""
    first, *others = (part if position == 0 else _without_images(part) for position, part in enumerate(parts))
    found = [first, *others]
    return replace(
        first,
        ids=torch.cat([part.ids for part in found]),
        features={name: torch.cat([part.features[name] for part in found]) for name in first.features},
        probabilities={name: torch.cat([part.probabilities[name] for part in found]) for name in first.probabilities},
    )


def _without_images(part: Description) -> Description:
    return replace(part, gallery=torch.empty(0, dtype=torch.uint8))


def describe_images(
    settings: EvaluationConfig, images: Path, output: Path, judge: Path | None = None, device: str = "auto"
) -> None:
    """Describe the real images of a split: features of every extractor and the judge's opinion.

    Args:
        settings: Section evaluation, JSON.
        images: Images of the split, parquet.
        output: Description to write, safetensors.
        judge: Weights folder; without it, features alone.
        device: auto, cpu, cuda or cuda:<n>.
    """
    runtime = make_runtime(device, "float32", cpu_threads=1, feature_batch=settings.feature_batch)
    network = load_judge(judge, "judge").to(runtime.device) if judge else None
    extractors = [make_extractor(extractor, runtime) for extractor in settings.extractors]
    parts = (describe(part.images, part.ids, "real", extractors, network) for part in iter_image_set(images))
    save_description(join(Progress(parts, desc="describing images", unit="batch")), output)


def save_description(description: Description, path: Path, about: About | None = None) -> None:
    """Write a description as one tensor file; method and cost stand in its header, beside ``about``."""
    tensors = {"ids": description.ids, "gallery": description.gallery}
    tensors |= {f"features.{name}": values for name, values in description.features.items()}
    tensors |= {f"judge.{name}": values for name, values in description.probabilities.items()}
    write_tensors(path, tensors, {**(about or {}), "method": description.method, "cost": vars(description.cost)})


def load_description(path: Path, expected: About | None = None) -> Description:
    """Read a description that ``save_description`` wrote.

    Raises:
        CorruptFileError: If the file is damaged, or of another method or target than expected.
    """
    tensors, about = read_tensors(path, "ids", "gallery", expected=expected)
    features, probabilities = _with_prefix(tensors, "features."), _with_prefix(tensors, "judge.")
    return Description(
        about["method"], tensors["ids"], features, probabilities, tensors["gallery"], Cost(**about["cost"])
    )


def _with_prefix(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): values for name, values in tensors.items() if name.startswith(prefix)}
