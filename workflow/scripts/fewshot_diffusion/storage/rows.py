"""Rows that need not fit into memory: a tensor, or a part of a file that is indexed like one.

Files are read, not mapped: pages of a map count as a job's own memory for as long as there is some to spare.
"""

import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from math import prod
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

IN_MEMORY = 2**28  # bytes: what is larger stays in a file
PART = 2**24  # bytes that are copied at a time


def is_large(size: int) -> bool:
    """Return whether so many bytes stay in a file."""
    return size > IN_MEMORY


class Rows(Protocol):
    """What tensors [N, ...] and rows of files have in common: all that trainings and metrics ask of images."""

    @property
    def shape(self) -> Sequence[int]:
        """N, and the shape of a row."""

    @property
    def dtype(self) -> torch.dtype:
        """The type of all values."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: Tensor | slice, /) -> Tensor:
        """Return rows (bool [N], int64 positions, or a slice) as a tensor."""

    def split(self, size: int, /) -> Iterable[Tensor]:
        """Return all rows in parts of up to ``size``; of none at all, an empty part."""


class Descriptor:
    """A file that stays open, though it may have no name, until nothing reads it."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __del__(self) -> None:
        os.close(self.number)


class FileRows:
    """Rows of a file, read when they are indexed.

    Attributes:
        shape: N, and the shape of a row.
        dtype: The type of all values.
    """

    def __init__(
        self, file: Descriptor, start: int, shape: Sequence[int], dtype: torch.dtype, order: Tensor | None = None
    ) -> None:
        """Refer to rows that lie one behind the other.

        Args:
            file: Where they lie.
            start: Byte at which the first begins.
            shape: Number and shape of the rows.
            dtype: Type of their values.
            order: Which of them are meant, int64; None: all.
        """
        self._file, self._start, self._order = file, start, order
        self.shape, self.dtype = (shape[0] if order is None else len(order), *shape[1:]), dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Tensor | slice, /) -> Tensor:
        positions = self._positions(index)
        found = torch.empty((len(positions), *self.shape[1:]), dtype=self.dtype)
        if found.numel():
            row, target, done = self._row, bytes_of(found), 0
            for run in positions.tensor_split((positions.diff() != 1).nonzero().flatten() + 1):
                size = len(run) * row
                _read(self._file, target[done : done + size], self._start + int(run[0]) * row)
                done += size
        return found

    def _positions(self, index: Tensor | slice) -> Tensor:
        if self._order is not None:
            return self._order[index]
        if isinstance(index, slice):
            return torch.arange(*index.indices(len(self)))
        positions = index.nonzero().flatten() if index.dtype == torch.bool else index
        if len(positions) and not 0 <= int(positions.min()) <= int(positions.max()) < len(self):
            raise IndexError(f"found positions {positions.min()} to {positions.max()}, expected 0 to {len(self) - 1}")
        return positions

    @property
    def _row(self) -> int:
        return prod(self.shape[1:]) * self.dtype.itemsize

    def chunks(self) -> Iterator[memoryview]:
        """Yield the bytes of all rows, some at a time."""
        if self._order is not None:
            yield from map(bytes_of, self.split(max(1, PART // max(1, self._row))))
            return
        end = self._start + len(self) * self._row
        for start in range(self._start, end, PART):
            chunk = memoryview(bytearray(min(PART, end - start)))
            _read(self._file, chunk, start)
            yield chunk

    def split(self, size: int, /) -> Iterator[Tensor]:
        """Yield all rows in parts; see ``Rows``."""
        return (self[start : start + size] for start in range(0, max(len(self), 1), size))

    def select(self, index: Tensor) -> "FileRows":
        """Return some of the rows, which stay where they are."""
        return FileRows(self._file, self._start, self.shape, self.dtype, self._positions(index))

    def flatten(self) -> "FileRows":
        """Return rows [A, B, ...], of which none is left out, as [A B, ...]."""
        assert self._order is None
        return FileRows(self._file, self._start, (self.shape[0] * self.shape[1], *self.shape[2:]), self.dtype)


def _read(file: Descriptor, target: memoryview, start: int) -> None:
    while len(target):
        number = os.preadv(file.number, [target], start)
        if not number:
            raise OSError(f"the file ends {len(target)} bytes early")
        target, start = target[number:], start + number


def select_rows(rows: Rows, index: Tensor) -> Rows:
    """Return some rows (bool [N] or int64 positions): of a tensor a copy, of a file a reference."""
    return rows.select(index) if isinstance(rows, FileRows) else rows[index]


def flatten_rows(rows: Rows) -> Rows:
    """Return rows [A, B, ...] as [A B, ...]."""
    return rows.flatten() if isinstance(rows, FileRows) else in_memory(rows).flatten(0, 1)


def in_memory(rows: Rows) -> Tensor:
    """Return all rows as a tensor."""
    return rows if isinstance(rows, Tensor) else rows[:]


def gather_rows(parts: Iterable[Tensor], folder: Path) -> Rows:
    """Return parts, at least one, one behind the other.

    Args:
        parts: Of one type, and of rows of one shape; none is kept beyond ``IN_MEMORY`` bytes.
        folder: Where the others lie, in a file without a name: it is gone when nothing reads it, or the job is killed.
    """
    kept: list[Tensor] = []
    rest = iter(parts)
    for part in rest:
        kept.append(part)
        if is_large(sum(each.nbytes for each in kept)):
            return _spilled(kept, rest, folder)
    return kept[0] if len(kept) == 1 else torch.cat(kept)


def _spilled(kept: list[Tensor], rest: Iterator[Tensor], folder: Path) -> FileRows:
    shape, dtype, number = kept[0].shape[1:], kept[0].dtype, 0
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as file:
        kept.reverse()
        for part in chain((kept.pop() for _ in range(len(kept))), rest):
            file.write(bytes_of(part))
            number += len(part)
        file.flush()
        return FileRows(Descriptor(os.dup(file.fileno())), 0, (number, *shape), dtype)


class JoinedRows:
    """Rows of several places, one behind the other.

    Attributes:
        parts: At least one, of one type, and of rows of one shape.
    """

    def __init__(self, parts: Sequence[Rows]) -> None:
        self.parts = list(parts)
        self.dtype = self.parts[0].dtype
        self.shape = (sum(map(len, self.parts)), *self.parts[0].shape[1:])

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Tensor | slice, /) -> Tensor:
        positions = torch.arange(len(self))[index]
        found = torch.empty((len(positions), *self.shape[1:]), dtype=self.dtype)
        first = 0
        for part in self.parts:
            inside = (positions >= first) & (positions < first + len(part))
            found[inside] = part[positions[inside] - first]
            first += len(part)
        return found

    def split(self, size: int, /) -> Iterator[Tensor]:
        """Yield all rows in parts; see ``Rows``."""
        return (self[start : start + size] for start in range(0, max(len(self), 1), size))


def join_rows(parts: Sequence[Rows]) -> Rows:
    """Return rows of several places one behind the other, as a tensor if all are tensors."""
    tensors = [part for part in parts if isinstance(part, Tensor)]
    return torch.cat(tensors) if len(tensors) == len(parts) else JoinedRows(parts)


def chunks_of(rows: Rows) -> Iterable[memoryview]:
    """Return the bytes of rows, some at a time."""
    if isinstance(rows, JoinedRows):
        return chain.from_iterable(map(chunks_of, rows.parts))
    return rows.chunks() if isinstance(rows, FileRows) else [bytes_of(in_memory(rows))]


def bytes_of(tensor: Tensor) -> memoryview:
    """Return the bytes of a tensor of any type, even of one that NumPy lacks."""
    flat = tensor.detach().cpu().reshape(-1)
    return (flat.view(torch.uint8) if flat.numel() else flat.to(torch.uint8)).numpy().data
