"""Where and how precisely to compute: chosen by the caller, never silently."""

from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch

from .errors import ConfigError


@dataclass(frozen=True)
class Runtime:
    """Device and autocast type of one job.

    Attributes:
        device: Where tensors live.
        dtype: Type of convolutions and matrix products: float32 or bfloat16 (autocast).
    """

    device: torch.device
    dtype: torch.dtype

    def autocast(self) -> AbstractContextManager[object]:
        """Return the autocast context; it does nothing in float32."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.dtype == torch.bfloat16)


CPU = Runtime(torch.device("cpu"), torch.float32)


def make_runtime(device: str, precision: str, cpu_threads: int) -> Runtime:
    """Resolve ``auto`` to what the machine has, and fix the thread count.

    Args:
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:<n>``.
        precision: ``auto`` (bfloat16 where the hardware computes it), ``float32`` or ``bfloat16``.
        cpu_threads: Threads of one operation; part of the bits of a result on a CPU.

    Raises:
        ConfigError: If a CUDA device is asked for and none is there.
    """
    name = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError(f"--device {device}: no CUDA device is visible; expected auto or cpu.")
    torch.set_num_threads(cpu_threads)
    wanted = name.startswith("cuda") or has_bfloat16_cpu() if precision == "auto" else precision == "bfloat16"
    return Runtime(torch.device(name), torch.bfloat16 if wanted else torch.float32)


def has_bfloat16_cpu() -> bool:
    """Tell whether the CPU multiplies bfloat16 natively (AMX or AVX512-BF16); elsewhere it is 10x slower."""
    return torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
