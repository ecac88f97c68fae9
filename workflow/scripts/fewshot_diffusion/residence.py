"""Where the examples of a training live: on the device if they fit, else on the host, a batch at a time."""

import math

import torch
from torch import Tensor

from .storage.rows import Rows, in_memory

SHARE = 0.5
"""Of a device's free memory, which the examples of a training may take; networks and activations need the rest."""


def free_memory(device: torch.device) -> float:
    """Return the free bytes of a device; of the host, which holds the examples anyway, there is no end."""
    return float(torch.cuda.mem_get_info(device)[0]) if device.type == "cuda" else math.inf


def settle(examples: Rows, device: torch.device) -> Rows:
    """Return examples [N, ...] on the device if they take at most ``SHARE`` of what is free there, else as they are.

    Which it is changes no batch, only its way: see ``take``. Of a CPU, what lies in a file stays there.
    """
    fits = math.prod(examples.shape) * examples.dtype.itemsize <= SHARE * free_memory(device)
    return in_memory(examples).to(device) if fits and device.type != "cpu" else examples


def take(examples: Rows, index: Tensor) -> Tensor:
    """Return a batch, [B, ...], on the device of its positions.

    Args:
        examples: What ``settle`` returned, [N, ...].
        index: Positions, int64 [B]. Those of examples on the host are read there: the host waits for them.
    """
    if isinstance(examples, Tensor) and examples.device == index.device:
        return examples[index]
    return to_device(examples[index.cpu()], index.device)


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Return a tensor of the host on a device; from pinned memory, so that the host need not wait for a GPU."""
    pinned = tensor.pin_memory() if device.type == "cuda" else tensor
    return pinned.to(device, non_blocking=True)
