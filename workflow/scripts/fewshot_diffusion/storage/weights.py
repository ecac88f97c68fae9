"""Weights in diffusers' layout: ``config.json`` and safetensors, verified when they are loaded."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import safetensors.torch
from torch import nn

from ..errors import WeightsError
from .files import Provenance, _seal, corrupt, sha256, write_bytes, write_json

Module = TypeVar("Module", bound=nn.Module)


WEIGHTS_FILE = "diffusion_pytorch_model.safetensors"


WEIGHTS_FILES = ("config.json", WEIGHTS_FILE, "provenance.json")


def save_module(module: nn.Module, config: Mapping[str, Any], folder: Path, provenance: Provenance) -> None:
    """Write a diffusers-style weights folder; ``provenance.json``, written last, holds the files' SHA-256.

    Args:
        module: Its state is written as it is.
        config: Arguments of the module's constructor, JSON-serialisable.
        folder: Where ``config.json`` and the weights go.
        provenance: What the weights depend on.
    """
    write_json(folder / "config.json", dict(config))
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()}
    write_bytes(folder / WEIGHTS_FILE, safetensors.torch.save(state, metadata={"format": "pt"}))
    write_weights_provenance(folder, provenance)


def write_weights_provenance(folder: Path, provenance: Provenance) -> None:
    """Write ``provenance.json``: what the weights depend on, the files' SHA-256, and a seal over the record itself."""
    digests = {file: sha256(folder / file) for file in WEIGHTS_FILES[:2]}
    record = {**provenance, "sha256": digests, "seal": _seal(provenance, json.dumps(digests))}
    write_json(folder / "provenance.json", record)


def load_module(make: Callable[[dict[str, Any]], Module], folder: Path) -> Module:
    """Build a module from ``config.json`` and load its weights; frozen, in eval mode.

    Raises:
        WeightsError: If a file is missing or the weights do not fit the configuration.
        CorruptFileError: If a file differs from the digest in ``provenance.json``.
    """
    read_weights_provenance(folder)
    try:
        module = make(json.loads((folder / "config.json").read_text()))
        module.load_state_dict(safetensors.torch.load_file(folder / WEIGHTS_FILE), strict=True)
    except (RuntimeError, ValueError, TypeError, safetensors.SafetensorError) as error:
        raise WeightsError(f"{folder}: the weights do not fit config.json ({error}).") from error
    module.requires_grad_(False).eval()
    return module


def read_weights_provenance(folder: Path) -> dict[str, Any]:
    """Return ``provenance.json`` of a weights folder after verifying the files it names."""
    for file in WEIGHTS_FILES:
        if not (folder / file).is_file():
            raise WeightsError(
                f"{folder}: {file} is missing. Run `make restore` to fetch the shipped weights, "
                "or set the source of this part (denoiser, segmentation, classification) to train."
            )
    try:
        provenance = json.loads((folder / "provenance.json").read_text())
        digests = {file: provenance["sha256"][file] for file in WEIGHTS_FILES[:2]}
        seal = provenance.pop("seal")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise corrupt(folder / "provenance.json", f"is not a provenance record ({error})") from error
    if seal != _seal(provenance, json.dumps(digests)):
        raise corrupt(folder / "provenance.json", "was changed after it was written")
    for file, expected in digests.items():
        if sha256(folder / file) != expected:
            raise corrupt(folder / file, f"has another SHA-256 than provenance.json records ({expected})")
    return dict(provenance)


def install_weights(folder: Path, output: Path, expected: Provenance | None = None) -> None:
    """Verify a weights folder and copy it file by file.

    Args:
        folder: Where the weights are.
        output: Where they go.
        expected: What their provenance must say: of which data they are.

    Raises:
        WeightsError: If it says anything else.
    """
    provenance = read_weights_provenance(folder)
    for key, value in (expected or {}).items():
        if provenance.get(key) != value:
            raise WeightsError(
                f"{folder}: {key} is {provenance.get(key)}, but the configured data have {value}. "
                "Train these weights anew: --configfile config/train.yaml."
            )
    for name in WEIGHTS_FILES:
        write_bytes(output / name, (folder / name).read_bytes())


def check_reads(folder: Path, denoiser_digest: str) -> None:
    """Raise ``WeightsError`` unless what lies in ``folder`` (head, ControlNet) was trained with this denoiser."""
    trained_on = str(read_weights_provenance(folder).get("denoiser"))
    if trained_on != denoiser_digest:
        raise WeightsError(
            f"{folder}: was trained with denoiser {trained_on[:12]}, found {denoiser_digest[:12]}. Train it again."
        )
