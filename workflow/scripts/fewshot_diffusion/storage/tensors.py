"""Named tensors in safetensors files whose header says where they come from, with a digest of their content."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import accumulate
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from .files import About, atomic_path, corrupt, require_about, require_file, require_names, seal, unseal
from .rows import Descriptor, FileRows, Rows, bytes_of, chunks_of, in_memory, is_large

_KEY = "about"
_KINDS = {torch.int64: "I64", torch.float32: "F32", torch.float16: "F16", torch.uint8: "U8"}
"""Types of rows that are written one behind the other, in the order that safetensors writes tensors in."""


def write_tensors(path: Path, tensors: Mapping[str, Tensor], about: About) -> None:
    """Write named tensors as safetensors, with ``about`` and a SHA-256 over it and the content in the header."""
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    # One metadata key: the header's key order is not stable across processes otherwise.
    header = {_KEY: seal(about, _digest(about, contiguous))}
    with atomic_path(path) as temporary:
        safetensors.torch.save_file(contiguous, temporary, metadata=header)


class RowWriter:
    """Fills a file of known shapes row by row; the bytes are those of ``write_tensors``.

    Attributes:
        shapes: Tensor -> its type and shape.
    """

    def __init__(self, file: BinaryIO, shapes: Mapping[str, tuple[torch.dtype, Sequence[int]]], about: About) -> None:
        """Lay out a file; its header is written by ``finish``, at a length that is known before."""
        kinds = list(_KINDS)
        self.shapes = dict(sorted(shapes.items(), key=lambda item: (kinds.index(item[1][0]), item[0])))
        self._file, self._about = file, about
        sizes = [prod(shape) * dtype.itemsize for dtype, shape in self.shapes.values()]
        self._ends = list(accumulate(sizes, initial=0))
        start = len(self._header("0" * 64))
        self._next = {name: start + end for name, end in zip(self.shapes, self._ends, strict=False)}
        self._stop = {name: start + end for name, end in zip(self.shapes, self._ends[1:], strict=True)}

    def append(self, name: str, rows: Tensor) -> None:
        """Write the next rows of a tensor.

        Raises:
            ValueError: If they are of another type, or more than the tensor has.
        """
        dtype, shape = self.shapes[name]
        if rows.dtype != dtype or self._next[name] + rows.nbytes > self._stop[name]:
            raise ValueError(f"{name}: found rows {rows.dtype} {list(rows.shape)}, expected the rest of {list(shape)}.")
        self.append_bytes(name, bytes_of(rows))

    def append_bytes(self, name: str, data: memoryview) -> None:
        """Write the next bytes of a tensor."""
        self._file.seek(self._next[name])
        self._file.write(data)
        self._next[name] += len(data)

    def finish(self) -> None:
        """Write the header, with the digest of what was written.

        Raises:
            ValueError: If rows are missing.
        """
        self._file.flush()
        if short := [name for name in self.shapes if self._next[name] != self._stop[name]]:
            raise ValueError(f"{', '.join(short)}: found fewer rows than were announced.")
        starts = {name: self._stop[name] - prod(shape) * kind.itemsize for name, (kind, shape) in self.shapes.items()}
        file = Descriptor(os.dup(self._file.fileno()))
        rows = {name: FileRows(file, starts[name], shape, kind) for name, (kind, shape) in self.shapes.items()}
        self._file.seek(0)
        self._file.write(self._header(_digest(self._about, rows)))

    def _header(self, digest: str) -> bytes:
        described: dict[str, Any] = {"__metadata__": {_KEY: seal(self._about, digest)}}
        spans = zip(self._ends, self._ends[1:], strict=False)
        for (name, (dtype, shape)), span in zip(self.shapes.items(), spans, strict=True):
            described[name] = {"dtype": _KINDS[dtype], "shape": list(shape), "data_offsets": list(span)}
        text = json.dumps(described, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        return len(text).to_bytes(8, "little") + text


@contextmanager
def writing_rows(
    path: Path, shapes: Mapping[str, tuple[torch.dtype, Sequence[int]]], about: About
) -> Iterator[RowWriter]:
    """Yield what writes tensors that need not fit into memory; the file appears when all their rows are written.

    Args:
        path: File to write, as ``write_tensors`` does.
        shapes: Tensor -> its type and shape.
        about: What the file says of itself.
    """
    with atomic_path(path) as temporary, temporary.open("r+b") as file:
        writer = RowWriter(file, shapes, about)
        yield writer
        writer.finish()
        file.flush()


def write_rows(path: Path, tensors: Mapping[str, Rows], about: About) -> None:
    """Write named tensors, of which some may lie in files."""
    with writing_rows(path, {name: (rows.dtype, rows.shape) for name, rows in tensors.items()}, about) as writer:
        for name, rows in tensors.items():
            for chunk in chunks_of(rows):
                writer.append_bytes(name, chunk)


def read_tensors(path: Path, *names: str, expected: About | None = None) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read tensors and what the file says of itself.

    Args:
        path: File that ``write_tensors`` wrote.
        names: Tensors that must be there.
        expected: What the file must say of itself: of which attribute, mode or scale it is.

    Raises:
        CorruptFileError: If the file is missing, damaged or another than expected.
    """
    tensors, about = open_tensors(path, *names, expected=expected)
    return {name: in_memory(rows) for name, rows in tensors.items()}, about


def open_tensors(path: Path, *names: str, expected: About | None = None) -> tuple[dict[str, Rows], dict[str, Any]]:
    """Read tensors as ``read_tensors`` does; large ones stay in the file.

    Raises:
        CorruptFileError: If the file is missing, damaged or another than expected.
    """
    require_file(path)
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            about, digest = unseal((file.metadata() or {})[_KEY])
            left = _left_in(path)
            tensors: dict[str, Rows] = {
                name: left[name] if name in left else file.get_tensor(name)
                for name in file.keys()  # noqa: SIM118 - a handle, not a dict
            }
            found = _digest(about, tensors)
    except (safetensors.SafetensorError, KeyError, ValueError, OSError) as error:
        raise corrupt(path, f"cannot be read as a tensor file ({error})") from error
    if digest != found:
        raise corrupt(path, f"does not match the SHA-256 in its header ({digest})")
    require_names(path, "tensors", tensors, names)
    require_about(path, about, expected or {})
    return tensors, about


def _left_in(path: Path) -> dict[str, FileRows]:
    """Return the large tensors of a file whose header is sound, of types that rows have."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header, start = json.loads(file.read(length)), 8 + length
        descriptor = Descriptor(os.dup(file.fileno()))
    kinds = {name: kind for kind, name in _KINDS.items()}
    return {
        name: FileRows(descriptor, start + what["data_offsets"][0], what["shape"], kinds[what["dtype"]])
        for name, what in header.items()
        if what.get("dtype") in kinds and is_large(what["data_offsets"][1] - what["data_offsets"][0])
    }


def tensor_digest(tensors: Mapping[str, Rows]) -> str:
    """Return the SHA-256 over names, types, shapes and values of tensors."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name}:{tensor.dtype}:{tuple(tensor.shape)};".encode())
        for chunk in chunks_of(tensor):
            digest.update(chunk)
    return digest.hexdigest()


def pixel_digest(*tensors: Rows) -> str:
    """Return the SHA-256 of tensors' values alone: what a training on these images depends on."""
    digest = hashlib.sha256()
    for tensor in tensors:
        for chunk in chunks_of(tensor):
            digest.update(chunk)
    return digest.hexdigest()


def _digest(about: About, tensors: Mapping[str, Rows]) -> str:
    text = json.dumps(dict(about), sort_keys=True) + tensor_digest(tensors)
    return hashlib.sha256(text.encode()).hexdigest()
