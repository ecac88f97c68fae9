"""Named tensors in safetensors files whose header holds where they come from and a digest of their content."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from .files import Provenance, _check_digest, _require, _sealed, atomic_path, corrupt, require_file

_KEY = "provenance"


def pixel_digest(*tensors: Tensor) -> str:
    """Return the SHA-256 of tensors' values: of the pixels, not of a file, whose header names the code that drew it."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(np.ascontiguousarray(tensor.numpy()).tobytes())
    return digest.hexdigest()


def write_tensors(path: Path, tensors: Mapping[str, Tensor], provenance: Provenance) -> None:
    """Write named tensors as safetensors, with provenance and a content digest in the header."""
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    # One metadata key: the header's key order is not stable across processes otherwise.
    header = {_KEY: _sealed(provenance, _tensor_digest(contiguous))}
    with atomic_path(path) as temporary:
        safetensors.torch.save_file(contiguous, temporary, metadata=header)


def read_tensors(path: Path, *names: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read tensors and provenance; raise ``CorruptFileError`` unless the digest matches and these tensors are there."""
    require_file(path)
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            provenance = json.loads((file.metadata() or {})[_KEY])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - a handle, not a dict
    except (safetensors.SafetensorError, KeyError, ValueError, OSError) as error:
        raise corrupt(path, f"cannot be read as a tensor file ({error})") from error
    _check_digest(path, provenance, _tensor_digest(tensors))
    _require(path, "tensors", tensors, names)
    return tensors, provenance


def require_sisters(shards: Sequence[tuple[Path, Provenance]]) -> None:
    """Raise ``CorruptFileError`` unless shards were written by one computation; names one that was not."""
    first, expected = shards[0]
    for path, provenance in shards[1:]:
        for key in sorted({*expected, *provenance} - {"sha256"}):
            if provenance.get(key) != expected.get(key):
                raise corrupt(
                    path, f"does not belong with {first}: {key} is {provenance.get(key)}, there {expected.get(key)}"
                )


def _tensor_digest(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        array = tensors[name]
        digest.update(f"{name}:{array.dtype}:{tuple(array.shape)};".encode())
        digest.update(np.ascontiguousarray(_bits(array)).data)
    return digest.hexdigest()


def _bits(tensor: Tensor) -> np.ndarray[Any, Any]:
    flat = tensor.reshape(-1)
    return (flat.view(torch.uint8) if flat.numel() else flat.to(torch.uint8)).numpy()
