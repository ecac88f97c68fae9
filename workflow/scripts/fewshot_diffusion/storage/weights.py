"""Weights folders that diffusers reads as its own: ``config.json`` and safetensors, whose header says what of."""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from torch import nn

from ..errors import WeightsError
from .files import About, is_stored, read_json, write_json
from .tensors import read_tensors, write_tensors

Module = TypeVar("Module", bound=nn.Module)

WEIGHTS_FILE = "diffusion_pytorch_model.safetensors"
WEIGHTS_FILES = ("config.json", WEIGHTS_FILE)
_CONFIG = "config"  # in the weights' header: the SHA-256 of config.json's content


def save_module(module: nn.Module, config: Mapping[str, Any], folder: Path, about: About) -> None:
    """Write a weights folder.

    Args:
        module: Its state is written as it is.
        config: Arguments of the module's constructor, JSON-serialisable.
        folder: Where ``config.json`` and the weights go.
        about: What the weights depend on, and what they are for.
    """
    write_json(folder / "config.json", dict(config))
    write_tensors(folder / WEIGHTS_FILE, module.state_dict(), {**about, _CONFIG: _config_digest(config)})


def load_module(
    make: Callable[[dict[str, Any]], Module], folder: Path, expected: About | None = None
) -> tuple[Module, dict[str, Any]]:
    """Build a module from ``config.json`` and load its weights; frozen, in eval mode, in float32.

    Args:
        make: Builds the module from the content of ``config.json``.
        folder: Folder that ``save_module`` wrote.
        expected: What the weights must say of themselves: of which denoiser, attribute or role they are.

    Returns:
        The module, and what its weights say of themselves.

    Raises:
        WeightsError: If a file is missing, the two do not fit each other or ``make``, or the weights are others than
            expected.
        CorruptFileError: If a file is damaged.
    """
    config = read_config(folder)
    tensors, about = read_tensors(folder / WEIGHTS_FILE)
    if about.pop(_CONFIG, None) != _config_digest(config):
        raise WeightsError(f"{folder}: config.json is not the one that the weights were written with.")
    for key, value in (expected or {}).items():
        if about.get(key) != value:
            raise WeightsError(f"{folder}: the weights are of {key} {about.get(key)!r}, expected {value!r}.")
    try:
        module = make(config)
        module.load_state_dict(tensors, strict=True)  # half precision spares space: it is copied into full
    except (RuntimeError, ValueError, TypeError, KeyError) as error:
        raise WeightsError(f"{folder}: the weights do not fit config.json ({error}).") from error
    module.requires_grad_(False).eval()
    return module, about


def read_config(folder: Path) -> dict[str, Any]:
    """Return ``config.json`` of a weights folder.

    Raises:
        WeightsError: If a file of the folder is missing.
        CorruptFileError: If ``config.json`` is no JSON object.
    """
    for file in WEIGHTS_FILES:
        if not (folder / file).is_file():
            hint = "Run `make restore`." if is_stored(folder) else "Name a folder that holds weights."
            raise WeightsError(f"{folder}: {' and '.join(WEIGHTS_FILES)} are expected, {file} is missing. {hint}")
    return read_json(folder / "config.json")


def weights_digest(folder: Path) -> str:
    """Return the SHA-256 of a folder's weights and configuration: their identity for whatever reads them."""
    digest = hashlib.sha256()
    for file in WEIGHTS_FILES:
        digest.update((folder / file).read_bytes())
    return digest.hexdigest()


def _config_digest(config: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(dict(config), sort_keys=True).encode()).hexdigest()
