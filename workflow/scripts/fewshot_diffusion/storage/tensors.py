"""Named tensors in safetensors files whose header says where they come from, with a digest of their content."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor

from .files import About, atomic_path, corrupt, require_about, require_file, require_names, seal, unseal

_KEY = "about"


def write_tensors(path: Path, tensors: Mapping[str, Tensor], about: About) -> None:
    """Write named tensors as safetensors, with ``about`` and a SHA-256 over it and the content in the header."""
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    # One metadata key: the header's key order is not stable across processes otherwise.
    header = {_KEY: seal(about, _digest(about, contiguous))}
    with atomic_path(path) as temporary:
        safetensors.torch.save_file(contiguous, temporary, metadata=header)


def read_tensors(path: Path, *names: str, expected: About | None = None) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read tensors and what the file says of itself.

    Args:
        path: File that ``write_tensors`` wrote.
        names: Tensors that must be there.
        expected: What the file must say of itself: of which attribute, mode or scale it is.

    Raises:
        CorruptFileError: If the file is missing, damaged or another than expected.
    """
    require_file(path)
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            about, digest = unseal((file.metadata() or {})[_KEY])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - a handle, not a dict
    except (safetensors.SafetensorError, KeyError, ValueError, OSError) as error:
        raise corrupt(path, f"cannot be read as a tensor file ({error})") from error
    if digest != _digest(about, tensors):
        raise corrupt(path, f"does not match the SHA-256 in its header ({digest})")
    require_names(path, "tensors", tensors, names)
    require_about(path, about, expected or {})
    return tensors, about


def tensor_digest(tensors: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 over names, types, shapes and values of tensors."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name}:{tensor.dtype}:{tuple(tensor.shape)};".encode())
        digest.update(_bytes(tensor).data)
    return digest.hexdigest()


def pixel_digest(*tensors: Tensor) -> str:
    """Return the SHA-256 of tensors' values alone: what a training on these images depends on."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(np.ascontiguousarray(tensor.numpy()).tobytes())
    return digest.hexdigest()


def _digest(about: About, tensors: Mapping[str, Tensor]) -> str:
    text = json.dumps(dict(about), sort_keys=True) + tensor_digest(tensors)
    return hashlib.sha256(text.encode()).hexdigest()


def _bytes(tensor: Tensor) -> np.ndarray[Any, Any]:
    flat = tensor.detach().cpu().reshape(-1)  # of any type: NumPy has no bfloat16
    return (flat.view(torch.uint8) if flat.numel() else flat.to(torch.uint8)).numpy()
