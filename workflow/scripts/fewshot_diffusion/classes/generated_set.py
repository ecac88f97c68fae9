"""What was drawn of every class, kept or not, and the shards that hold it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from ..config.classes import ClassSamplingConfig
from ..data.image_set import BATCH
from ..errors import CorruptFileError, DataError
from ..images import decode_images, encode_images
from ..storage.files import About, require_sisters
from ..storage.records import iter_records, write_records
from ..storage.rows import Rows, gather_rows, in_memory, select_rows


@dataclass(frozen=True)
class GeneratedSet:
    """Every sample that was drawn, kept or not, in the order of its class and seed.

    Attributes:
        images: uint8 [N, 3, H, W], 0..255; of a large set, in a file.
        labels: The class that each was to show, int64 [N].
        seeds: int64 [N].
        log_prob: The filter's log-probability of that class, nats, float32 [N].
        accepted: Whether it passed the filter, bool [N].
        classes: Names of the classes.
    """

    images: Rows
    labels: Tensor
    seeds: Tensor
    log_prob: Tensor
    accepted: Tensor
    classes: list[str]

    def take(self, per_class: int, filtered: bool = True) -> tuple[Rows, Tensor]:
        """Return the first samples of every class, images and labels: fewer are a prefix of more, class by class.

        Args:
            per_class: Samples of each class.
            filtered: Whether only accepted samples count; else the first ones drawn.

        Raises:
            DataError: If a class has fewer.
        """
        chosen = []
        for label, name in enumerate(self.classes):
            mine = self.labels == label
            found = (mine & self.accepted if filtered else mine).nonzero().flatten()
            if len(found) < per_class:
                raise DataError(f"class {name!r}: found {len(found)} samples, expected {per_class}. Generate more.")
            chosen.append(found[:per_class])
        index = torch.cat(chosen)
        return select_rows(self.images, index), self.labels[index]


def is_accepted(log_prob: Tensor, threshold: float) -> Tensor:
    """Return which samples pass the filter, p >= threshold, bool [N]."""
    return log_prob >= torch.tensor(threshold).log()  # not exp(log_prob): its rounding would move the threshold


def save_generated(generated: GeneratedSet, path: Path, about: About) -> None:
    """Write a shard as one parquet file: seed, label, image (lossless), log_prob and accepted."""
    frame = pd.DataFrame(
        {
            "seed": generated.seeds.numpy(),
            "label": generated.labels.numpy(),
            "image": encode_images(in_memory(generated.images)),
            "log_prob": generated.log_prob.numpy(),
            "accepted": generated.accepted.numpy(),
        }
    )
    write_records(path, frame, {**about, "classes": generated.classes})


def load_generated(paths: Sequence[Path], expected: About | None = None) -> GeneratedSet:
    """Read shards, each of some classes, into one set in order of classes and seeds.

    Args:
        paths: All shards of a set.
        expected: What each must say of itself: what it was drawn and filtered with.

    Raises:
        CorruptFileError: If a shard is damaged or another than expected, or shards are of different computations, hold
            the same seed, or leave a class out.
    """
    columns = ("seed", "label", "image", "log_prob", "accepted")
    parts: list[pd.DataFrame] = []
    said: list[tuple[Path, About]] = []

    def pixels() -> Iterator[Tensor]:
        for path in paths:
            for frame, about in iter_records(path, *columns, expected=expected):
                said.append((path, about))
                parts.append(frame.drop(columns="image"))
                yield from (decode_images(frame["image"][at : at + BATCH]) for at in range(0, len(frame), BATCH))

    images = gather_rows(pixels(), paths[0].parent)
    require_sisters(said)
    frame = pd.concat([part for part in parts if len(part)], ignore_index=True).sort_values("seed")
    classes = list(said[0][1]["classes"])
    if frame["seed"].duplicated().any() or set(frame["label"]) != set(range(len(classes))):
        raise CorruptFileError(
            f"{paths[0]} and its sister shards do not hold every class once: one lies in another's place. "
            "Delete them and run again."
        )
    seeds, labels, log_prob, accepted = (
        torch.from_numpy(frame[column].to_numpy(copy=True)) for column in ("seed", "label", "log_prob", "accepted")
    )
    ordered = select_rows(images, torch.from_numpy(frame.index.to_numpy(copy=True)))
    return GeneratedSet(ordered, labels, seeds, log_prob, accepted, classes)


def made_with(settings: ClassSamplingConfig, threshold: float) -> dict[str, Any]:
    """Return what a shard says of itself if it is of this configuration, on whatever machine."""
    return {"settings": settings.model_dump(mode="json", exclude={"shards"}), "threshold": threshold}
