"""Generated images and the shards that hold them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..errors import CorruptFileError
from ..storage.tensors import read_tensors, require_sisters, write_tensors


@dataclass(frozen=True)
class SampleSet:
    """Generated images.

    Attributes:
        images: RGB, uint8 [N, 3, H, W], 0..255.
        seeds: int64 [N], ascending.
        forwards_per_sample: Cost of one sample in forward passes of the denoiser, counted in FLOPs.
    """

    images: Tensor
    seeds: Tensor
    forwards_per_sample: float


def save_samples(samples: SampleSet, path: Path, provenance: dict[str, object]) -> None:
    """Write a shard of samples."""
    tensors = {"images": samples.images, "seeds": samples.seeds}
    write_tensors(path, tensors, {**provenance, "forwards_per_sample": samples.forwards_per_sample})


def load_samples(paths: Sequence[Path]) -> SampleSet:
    """Read shards into one set, in order of seeds.

    Raises:
        CorruptFileError: If a shard is damaged, or two shards hold the same seed or are of different
            samplings.
    """
    shards = [read_tensors(path, "images", "seeds") for path in paths]
    seeds = torch.cat([tensors["seeds"] for tensors, _ in shards])
    order = seeds.argsort()
    require_sisters([(path, provenance) for path, (_, provenance) in zip(paths, shards, strict=True)])
    if len(seeds.unique()) != len(seeds):
        raise CorruptFileError(f"{paths[0]} and its sister shards do not belong together. Delete them and run again.")
    images = torch.cat([tensors["images"] for tensors, _ in shards])
    return SampleSet(images[order], seeds[order], shards[0][1]["forwards_per_sample"])


def seed_range(ids: Tensor) -> str:
    """Return the seeds of a sample set in short: ``0-199``, or ``0-531 (200)`` where some were rejected."""
    if len(ids) == 0:
        return ""
    low, high = int(ids.min()), int(ids.max())
    return f"{low}-{high}" if high - low + 1 == len(ids) else f"{low}-{high} ({len(ids)})"
