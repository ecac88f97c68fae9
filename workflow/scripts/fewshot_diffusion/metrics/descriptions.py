"""What every image is reduced to once: features of each extractor, the judge's opinion, and what it cost to make."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from ..config.evaluation import EvaluationConfig
from ..data.image_set import iter_image_set
from ..judges import AttributeClassifier, load_judge
from ..progress import Progress
from ..runtime import make_runtime
from ..storage.files import About
from ..storage.records import count_records
from ..storage.rows import Rows, in_memory, select_rows
from ..storage.tensors import open_tensors, write_rows, writing_rows
from .extractors import FeatureExtractor, extract_features, make_extractor

GALLERY_SIZE = 64

Values = TypeVar("Values", bound=Rows)


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
        features: Extractor name -> float32 [N, D]; of many images, in the file that describes them.
        probabilities: Attribute -> p(attribute | image) of the judge, float32 [N].
        gallery: The first images, for figures, uint8 [G, 3, H, W]; ``select`` leaves it as it is.
        cost: What one of the images cost.
    """

    method: str
    ids: Tensor
    features: Mapping[str, Rows]
    probabilities: Mapping[str, Tensor]
    gallery: Tensor
    cost: Cost

    def __len__(self) -> int:
        return len(self.ids)

    def select(self, index: Tensor) -> "Description":
        """Return the images at ``index`` (bool [N] or int64 positions)."""
        features = {name: select_rows(values, index) for name, values in self.features.items()}
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


DescribePart = Callable[[Tensor, Tensor], Description]
"""(images, ids) -> their description."""


def describe_into(
    path: Path, parts: Iterable[tuple[Tensor, Tensor]], number: int, describe_part: DescribePart, about: About
) -> None:
    """Describe images that come in parts, and write their description as ``save_description`` does; none is kept.

    Args:
        path: Description to write, safetensors.
        parts: Images and ids, at least one part; all but the last of a multiple of what networks take at a time.
        number: Images of all parts.
        describe_part: Describes one part.
        about: What the file says of itself beside method and cost.
    """
    described = (describe_part(images, ids) for images, ids in parts)
    first = next(described)
    tensors = _tensors(first)
    shapes = {name: (rows.dtype, (number, *rows.shape[1:])) for name, rows in tensors.items()}
    shapes["gallery"] = (first.gallery.dtype, first.gallery.shape)
    with writing_rows(path, shapes, _about(first, about)) as writer:
        for position, part in enumerate(chain([first], described)):
            for name, rows in _tensors(part).items():
                if name != "gallery" or position == 0:
                    writer.append(name, in_memory(rows))


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
    parts = ((part.pixels, part.ids) for part in Progress(iter_image_set(images), desc="describing images"))

    def describe_part(pixels: Tensor, ids: Tensor) -> Description:
        return describe(pixels, ids, "real", extractors, network)

    describe_into(output, parts, count_records(images), describe_part, {})


def save_description(description: Description, path: Path, about: About | None = None) -> None:
    """Write a description as one tensor file; method and cost stand in its header, beside ``about``."""
    write_rows(path, _tensors(description), _about(description, about or {}))


def _tensors(description: Description) -> dict[str, Rows]:
    tensors: dict[str, Rows] = {"ids": description.ids, "gallery": description.gallery}
    tensors |= {f"features.{name}": values for name, values in description.features.items()}
    return tensors | {f"judge.{name}": values for name, values in description.probabilities.items()}


def _about(description: Description, about: About) -> dict[str, Any]:
    return {**about, "method": description.method, "cost": vars(description.cost)}


def load_description(path: Path, expected: About | None = None) -> Description:
    """Read a description that ``save_description`` wrote.

    Raises:
        CorruptFileError: If the file is damaged, or of another method or target than expected.
    """
    tensors, about = open_tensors(path, "ids", "gallery", expected=expected)
    small = {name: in_memory(rows) for name, rows in tensors.items() if not name.startswith("features.")}
    probabilities = _with_prefix(small, "judge.")
    features = _with_prefix(tensors, "features.")
    return Description(about["method"], small["ids"], features, probabilities, small["gallery"], Cost(**about["cost"]))


def _with_prefix(tensors: Mapping[str, Values], prefix: str) -> dict[str, Values]:
    return {name.removeprefix(prefix): values for name, values in tensors.items() if name.startswith(prefix)}
