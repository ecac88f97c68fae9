"""One random generator per purpose and seed: sample i, step i, epoch i depend on these two alone.

A stream draws where it lives, ``stream.device``: what trains on a GPU draws there, and the host waits for nothing. The
noise of samples is always the host's: a seed means one sample, on every machine.
"""

import hashlib
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from .residence import to_device

HOST = torch.device("cpu")


def derive_seed(purpose: str, seed: int) -> int:
    """Return a 63-bit seed for ``purpose``, so that streams of different purposes never coincide."""
    digest = hashlib.sha256(f"{purpose}:{seed}".encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def generator(purpose: str, seed: int, device: torch.device = HOST) -> torch.Generator:
    """Return a generator for one purpose and one seed, which draws on ``device``."""
    return torch.Generator(device).manual_seed(derive_seed(purpose, seed))


def host_seed(stream: torch.Generator) -> int:
    """Return a seed for what can draw on the host only, from a stream that may live elsewhere.

    A stream of the host is asked for its next number. To ask one of a GPU would be to wait for it: there the seed is
    made of the place that the stream has come to, which the host knows.
    """
    if stream.device.type == "cpu":
        return int(torch.randint(2**62, (), generator=stream))
    return derive_seed(f"host {stream.initial_seed()}", stream.get_offset())


class SampleNoise:
    """Standard normal noise for a batch, each row drawn from its own seed's stream, on the host."""

    def __init__(self, seeds: Sequence[int], shape: tuple[int, ...], device: torch.device, ahead: int = 1) -> None:
        """Open the streams.

        Args:
            seeds: One for each row.
            shape: Of a row.
            device: Where the noise is wanted.
            ahead: Tensors that are drawn, and go to the device, at once: none of them interrupts the steps of a
                sampler. They take 4 * ahead * B * C * H * W bytes; on the host each is drawn when it is wanted.
        """
        self.seeds = seeds
        self._generators = [generator("sampling", seed) for seed in seeds]
        self._shape = shape
        self._device = device
        self._ahead = 1 if device == HOST else ahead
        self._there: Iterator[Tensor] = iter(())

    def draw(self) -> Tensor:
        """Return the next noise tensor, [B, *shape], unit variance."""
        if (found := next(self._there, None)) is None:
            self._there = iter(to_device(torch.stack([self._rows() for _ in range(self._ahead)]), self._device))
            found = next(self._there)
        return found

    def _rows(self) -> Tensor:
        return torch.stack([torch.randn(self._shape, generator=stream) for stream in self._generators])
