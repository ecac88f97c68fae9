"""One random generator per sample: sample i depends on the purpose and seed i alone."""

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor


def derive_seed(purpose: str, seed: int) -> int:
    """Return a 63-bit seed for ``purpose``, so that streams of different purposes never coincide."""
    digest = hashlib.sha256(f"{purpose}:{seed}".encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def generator(purpose: str, seed: int) -> torch.Generator:
    """Return a CPU generator for one purpose and one seed."""
    return torch.Generator().manual_seed(derive_seed(purpose, seed))


class SampleNoise:
    """Standard normal noise for a batch, each row drawn from its own seed's stream."""

    def __init__(self, seeds: Sequence[int], shape: tuple[int, ...], device: torch.device) -> None:
        self.seeds = seeds
        self._generators = [generator("sampling", seed) for seed in seeds]
        self._shape = shape
        self._device = device

    def draw(self) -> Tensor:
        """Return the next noise tensor, [B, *shape], unit variance."""
        rows = [torch.randn(self._shape, generator=stream) for stream in self._generators]
        return torch.stack(rows).to(self._device)
