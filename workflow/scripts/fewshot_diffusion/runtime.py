"""Where and how precisely to compute: chosen by the caller, never silently."""

import shutil
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import nn
from torch.utils import _triton

from .errors import ConfigError

Module = TypeVar("Module", bound=nn.Module)


@dataclass(frozen=True)
class Runtime:
    """Device and autocast type of one job.

    Attributes:
        device: Where tensors live.
        dtype: Type of convolutions and matrix products: float32 or bfloat16 (autocast).
        compiler: Backend of ``torch.compile`` for networks that are placed here; None leaves them as they are.
        feature_batch: Images per pass where a frozen network reads many; None: what each reader is used to.
    """

    device: torch.device
    dtype: torch.dtype
    compiler: str | None = None
    feature_batch: int | None = None

    def autocast(self) -> AbstractContextManager[object]:
        """Return the autocast context; it does nothing in float32."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.dtype == torch.bfloat16)

    def place(self, network: Module) -> Module:
        """Put a network on the device, in place, and return it.

        On a GPU its images lie with their channels last, as convolutions in bfloat16 want them: the same numbers in
        another order. With a ``compiler``, calls of the network are compiled, those of its ``forward`` are not.
        """
        network.to(self.device)
        if self.device.type == "cuda":
            network.to(memory_format=torch.channels_last)
        if self.compiler:
            network.compile(backend=self.compiler)
        return network


CPU = Runtime(torch.device("cpu"), torch.float32)


def make_runtime(
    device: str, precision: str, cpu_threads: int, *, compile: bool = False, feature_batch: int | None = None
) -> Runtime:
    """Resolve ``auto`` to what the machine has, and fix the thread count.

    Args:
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:<n>``.
        precision: ``auto`` (bfloat16 where the hardware computes it), ``float32`` or ``bfloat16``.
        cpu_threads: Threads of one operation; part of the bits of a result on a CPU.
        compile: Compile networks; part of the bits of a result.
        feature_batch: Images per pass where a frozen network reads many; changes rounding only.

    Raises:
        ConfigError: If a CUDA device is asked for and none is there, or nothing that compiles.
    """
    name = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError(f"--device {device}: no CUDA device is visible; expected auto or cpu.")
    torch.set_num_threads(cpu_threads)
    wanted = name.startswith("cuda") or has_bfloat16_cpu() if precision == "auto" else precision == "bfloat16"
    if compile:
        _require_compiler(name)
    dtype = torch.bfloat16 if wanted else torch.float32
    return Runtime(torch.device(name), dtype, "inductor" if compile else None, feature_batch)


def has_bfloat16_cpu() -> bool:
    """Tell whether the CPU multiplies bfloat16 natively (AMX or AVX512-BF16); elsewhere it is 10x slower."""
    return torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()


def _require_compiler(device: str) -> None:
    if device.startswith("cuda"):
        there, what = _triton.has_triton(), "Triton, which comes with torch for CUDA"
    else:
        there, what = any(map(shutil.which, ("g++", "clang++"))), "a C++ compiler, g++ or clang++"
    if not there:
        raise ConfigError(f"compile: found true, but {device} takes {what}. Install that, or set compile to false.")
