"""Generated images and the shards that hold them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from ..data.image_set import BATCH
from ..errors import CorruptFileError
from ..images import decode_images, encode_images
from ..storage.files import About, read_json, require_sisters, write_json
from ..storage.records import iter_records, write_records
from ..storage.rows import Rows, gather_rows, in_memory, select_rows


@dataclass(frozen=True)
class SampleSet:
    """Generated images.

    Attributes:
        images: RGB, uint8 [N, 3, H, W], 0..255; of a large set, in a file.
        seeds: int64 [N], ascending.
        forwards_per_sample: Cost of one sample in forward passes of the denoiser, counted in FLOPs.
    """

    images: Rows
    seeds: Tensor
    forwards_per_sample: float

    @property
    def pixels(self) -> Tensor:
        """The images in memory: of a few."""
        return in_memory(self.images)


def save_samples(samples: SampleSet, path: Path, about: About) -> None:
    """Write a shard of samples as one parquet file: seed and image (lossless)."""
    frame = pd.DataFrame({"seed": samples.seeds.numpy(), "image": encode_images(samples.pixels)})
    write_records(path, frame, {**about, "forwards_per_sample": samples.forwards_per_sample})


def load_samples(paths: Sequence[Path], expected: About | None = None) -> SampleSet:
    """Read shards into one set, in order of seeds.

    Args:
        paths: Shards of one sample set.
        expected: What each must say of itself: its method, target and scale.

    Raises:
        CorruptFileError: If a shard is damaged or another than expected, or two shards hold the same seed or are of
            different samplings.
    """
    parts: list[Tensor] = []
    said: list[tuple[Path, About]] = []

    def pixels() -> Iterator[Tensor]:
        for path in paths:
            for frame, about in iter_records(path, "seed", "image", expected=expected):
                said.append((path, about))
                parts.append(torch.from_numpy(frame["seed"].to_numpy(copy=True)))
                yield from (decode_images(frame["image"][at : at + BATCH]) for at in range(0, len(frame), BATCH))

    images = gather_rows(pixels(), paths[0].parent)
    require_sisters(said)
    seeds, order = torch.cat(parts).sort()
    if (seeds.diff() == 0).any():
        raise CorruptFileError(f"{paths[0]} and its sister shards do not belong together. Delete them and run again.")
    return SampleSet(select_rows(images, order), seeds, float(said[0][1]["forwards_per_sample"]))


def write_timing(path: Path, seconds: float, samples: int) -> None:
    """Write what a shard took: beside the shard, whose own bytes are the same on every machine of a kind."""
    write_json(path, {"seconds": seconds, "samples": samples})


def seconds_per_sample(timings: Sequence[Path]) -> float:
    """Return the mean over shards of the seconds that one sample took: one CPU thread or one GPU."""
    found = [read_json(path) for path in timings]
    return float(sum(each["seconds"] for each in found) / sum(each["samples"] for each in found))


def seed_range(ids: Tensor) -> str:
    """Return the seeds of a sample set in short: ``0-199``, or ``0-531 (200)`` where some were rejected."""
    if len(ids) == 0:
        return ""
    low, high = int(ids.min()), int(ids.max())
    return f"{low}-{high}" if high - low + 1 == len(ids) else f"{low}-{high} ({len(ids)})"
