"""What was drawn of every class, kept or not, and the shards that hold it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from ..config.classes import ClassSamplingConfig
from ..errors import CorruptFileError, DataError
from ..images import decode_images, encode_images
from ..storage.files import About, require_sisters
from ..storage.records import read_records, write_records


@dataclass(frozen=True)
class GeneratedSet:
    """Every sample that was drawn, kept or not, in the order of its class and seed.

    Attributes:
        images: uint8 [N, 3, H, W], 0..255.
        labels: The class that each was to show, int64 [N].
        seeds: int64 [N].
        log_prob: The filter's log-probability of that class, nats, float32 [N].
        accepted: Whether it passed the filter, bool [N].
        classes: Names of the classes.
    """

    images: Tensor
    labels: Tensor
    seeds: Tensor
    log_prob: Tensor
    accepted: Tensor
    classes: list[str]

    def take(self, per_class: int, filtered: bool = True) -> tuple[Tensor, Tensor]:
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
        return self.images[index], self.labels[index]


def is_accepted(log_prob: Tensor, threshold: float) -> Tensor:
    """Return which samples pass the filter, p >= threshold, bool [N]."""
    return log_prob >= torch.tensor(threshold).log()  # not exp(log_prob): its rounding would move the threshold


def save_generated(generated: GeneratedSet, path: Path, about: About) -> None:
    """Write a shard as one parquet file: seed, label, image (lossless), log_prob and accepted."""
    frame = pd.DataFrame(
        {
            "seed": generated.seeds.numpy(),
            "label": generated.labels.numpy(),
            "image": encode_images(generated.images),
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
    shards = [read_records(path, *columns, expected=expected) for path in paths]
    require_sisters([(path, about) for path, (_, about) in zip(paths, shards, strict=True)])
    frame = pd.concat([frame for frame, _ in shards if len(frame)]).sort_values("seed")
    classes = list(shards[0][1]["classes"])
    if frame["seed"].duplicated().any() or set(frame["label"]) != set(range(len(classes))):
        raise CorruptFileError(
            f"{paths[0]} and its sister shards do not hold every class once: one lies in another's place. "
            "Delete them and run again."
        )
    seeds, labels, log_prob, accepted = (
        torch.from_numpy(frame[column].to_numpy(copy=True)) for column in ("seed", "label", "log_prob", "accepted")
    )
    return GeneratedSet(decode_images(frame["image"]), labels, seeds, log_prob, accepted, classes)


def made_with(settings: ClassSamplingConfig, threshold: float) -> dict[str, Any]:
    """Return what a shard says of itself if it is of this configuration, on whatever machine."""
    return {"settings": settings.model_dump(mode="json", exclude={"shards"}), "threshold": threshold}
