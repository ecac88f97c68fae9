"""A device beside the host: torch's stand-in for an accelerator, with the CPU's kernels and memory, and a count.

It shows without a GPU what would make one wait: copies between host and device, and questions to it. Its streams are
the CPU's, so that what it computes has the CPU's bytes.
"""

from collections import Counter
from typing import Any, Self

import torch
from torch import Tensor
from torch.utils import backend_registration as registration
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

NAME = "standin"


class _Backend(registration._DummyBackendModule):
    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16]


registration._setup_privateuseone_for_python_backend(NAME, _Backend())
DEVICE = torch.device(NAME, 0)


class OnDevice(Tensor):
    """A tensor of the device; ``raw`` is its memory."""

    raw: Tensor

    @staticmethod
    def __new__(cls, raw: Tensor) -> Self:
        held = Tensor._make_wrapper_subclass(cls, raw.shape, strides=raw.stride(), dtype=raw.dtype, device=DEVICE)
        held.raw = raw
        return held

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, *args, **(kwargs or {}))


def _is_device(value: Any) -> bool:
    return isinstance(value, torch.device) and value.type == NAME


def _run(func: Any, *args: Any, **kwargs: Any) -> Any:
    """Run an operation of the device on its memory; what comes of it is the device's, unless it is for the host."""

    def raw(value: Any) -> Any:
        return torch.device("cpu") if _is_device(value) else value.raw if isinstance(value, OnDevice) else value

    held = {id(value.raw): value for value in tree_leaves((args, kwargs)) if isinstance(value, OnDevice)}
    found = func(*tree_map(raw, args), **tree_map(raw, kwargs))
    if kwargs.get("device") == torch.device("cpu"):
        return found

    def wrapped(value: Any) -> Any:
        if not isinstance(value, Tensor) or isinstance(value, OnDevice):
            return value
        return held[id(value)] if id(value) in held else OnDevice(value)

    return tree_map(wrapped, found)


_LIBRARY = torch.library.Library("_", "IMPL")
_LIBRARY.fallback(_run, "PrivateUse1")


class Stream(torch.Generator):
    """Put in the place of ``torch.Generator``: a stream that may live on the device."""

    def __new__(cls, device: torch.device | str = "cpu") -> Self:
        stream = super().__new__(cls)
        stream.place = torch.device(device)  # type: ignore[attr-defined]
        return stream

    def __init__(self, device: torch.device | str = "cpu") -> None:
        super().__init__()

    @property
    def device(self) -> torch.device:
        return self.place  # type: ignore[attr-defined, no-any-return]

    def get_offset(self) -> int:
        return 4


_DRAWS = ("rand", "normal", "uniform", "bernoulli", "multinomial", "exponential", "random")
_ASKS = {"_local_scalar_dense", "nonzero", "masked_select", "equal", "is_nonzero", "unique", "_unique2"}


class Watch(TorchDispatchMode):
    """Counts host draws, device draws, copies between the two, and questions to the device."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if kind := _kind(func.overloadpacket.__name__, args, kwargs):
            self.counts[kind] += 1
        return func(*args, **kwargs)


def _kind(name: str, args: Any, kwargs: Any) -> str | None:
    tensors = [value for value in tree_leaves((args, kwargs)) if isinstance(value, Tensor)]
    here = any(isinstance(value, OnDevice) for value in tensors)
    if name.startswith(_DRAWS):
        return "device draw" if here or _is_device(kwargs.get("device")) else "host draw"
    if name in ("_to_copy", "copy_"):
        target = kwargs["device"] if kwargs.get("device") else args[0].device if name == "copy_" else None
        return (
            "copy"
            if target is not None and any(_is_device(one.device) != _is_device(target) for one in tensors)
            else None
        )
    masks = name in ("index", "index_put_") and any(one.dtype in (torch.bool, torch.uint8) for one in tensors[1:])
    return "question" if here and (name in _ASKS or masks) else None
