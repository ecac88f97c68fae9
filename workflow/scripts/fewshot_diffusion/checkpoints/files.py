"""Tensors out of files that strangers wrote: nothing in them is run, and what needs more than that is refused."""

import logging
import pickle
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from ..errors import WeightsError

_log = logging.getLogger(__name__)

State = dict[str, Tensor]
"""Named weights."""

# Entries of a training checkpoint that may hold the weights; a moving average is what samples are drawn with.
_ENTRIES = ("ema", "ema_state_dict", "model_ema", "state_dict", "model_state_dict", "model")
_PARALLEL = "module."  # torch's wrapper of a network that trains on several devices


def read_state(path: Path) -> State:
    """Return the weights that a ``.pt``, ``.pth``, ``.ckpt``, ``.bin`` or ``.safetensors`` file holds.

    Of a list (model, optimiser, epoch, step, moving average) it is the last set of weights, of a dictionary of such
    sets the moving average, if there is one. A prefix ``module.`` of all names is dropped.

    Raises:
        WeightsError: If the file is missing or damaged, holds no weights, or could be read only by running code in it.
    """
    if not path.is_file() or path.stat().st_size == 0:
        raise WeightsError(f"{path}: there is no such file, or it is empty; expected a checkpoint.")
    content = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)
    where, state = _weights_in(content, path)
    _log.info("%s: %s tensors%s", path, len(state), f" of {where}" if where else "")
    if all(name.startswith(_PARALLEL) for name in state):
        return {name.removeprefix(_PARALLEL): tensor for name, tensor in state.items()}
    return state


def _read_safetensors(path: Path) -> State:
    try:
        return safetensors.torch.load_file(path)
    except (safetensors.SafetensorError, OSError) as error:
        raise WeightsError(f"{path}: cannot be read as safetensors ({error}). {_FETCH}") from error


def _read_torch(path: Path) -> Any:
    with path.open("rb") as file:
        start = file.read(512).lstrip().lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        raise WeightsError(f"{path}: is a web page, expected a checkpoint. Its server sent a message; read it there.")
    zipped = start.startswith(b"pk")  # torch's own format since 1.6 is a zip, whose tensors can stay on the disk
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except pickle.UnpicklingError as error:
        raise WeightsError(f"{path}: {_unsafe(str(error))}") from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, AttributeError, IndexError, TypeError) as error:
        raise WeightsError(f"{path}: cannot be read as a torch checkpoint ({_line(str(error))}). {_FETCH}") from error


_FETCH = "It may be cut off: compare its size with the source's and fetch it again."


def _unsafe(message: str) -> str:
    named = re.search(r"GLOBAL ([\w.]+)|(?:but got|function) (\S.{,60})", message)
    if named is None:
        return f"cannot be read as a torch checkpoint: nothing that torch reads is in it. {_FETCH}"
    return (
        f"holds {named[1] or named[2]}, expected tensors alone. To read it would run code that the file chooses, so it "
        "is refused. Ask its source for the weights alone (a state_dict)."
    )


def _line(message: str) -> str:
    return message.strip().split("\n")[0][:200]


def _weights_in(content: Any, path: Path) -> tuple[str, State]:
    for where, entry in _entries(content):
        if isinstance(entry, Mapping) and entry and all(isinstance(value, Tensor) for value in entry.values()):
            return where, {str(name): tensor for name, tensor in entry.items()}
    held = f"the entries {', '.join(map(str, list(content)[:5]))}" if isinstance(content, Mapping) else "no mapping"
    raise WeightsError(f"{path}: found {held}; expected named tensors, or {', '.join(_ENTRIES)} with named tensors.")


def _entries(content: Any) -> Iterable[tuple[str, Any]]:
    if isinstance(content, list | tuple):
        return [(f"entry {k} of {len(content)}", content[k]) for k in reversed(range(len(content)))]
    if not isinstance(content, Mapping):
        return []
    return [("", content), *((repr(name), content[name]) for name in _ENTRIES if name in content)]
