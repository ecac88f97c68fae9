"""Activations of the few image-mask pairs, computed once."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DModel
from torch import Tensor

from ..config.masks import MaskHeadConfig
from ..data.mask_set import flip_masks
from ..diffusion.denoiser import Denoiser
from ..diffusion.features import describe_taps, extract
from ..diffusion.schedule import add_noise, make_scheduler
from ..progress import Progress
from ..runtime import Runtime
from ..seeds import generator
from ..storage.tensors import read_tensors, write_tensors


@dataclass(frozen=True)
class PairFeatures:
    """Cached activations of the few pairs: computed once, whatever the length of the head's training.

    Attributes:
        maps: One tensor per tap, float16 [L, R, C, h, w]: L noise levels, R rows (pairs x flips x draws).
        masks: Class ids of each row, uint8 [R, H, W].
        timesteps: The L timestep labels, ascending.
    """

    maps: list[Tensor]
    masks: Tensor
    timesteps: list[int]


def pair_features(
    denoiser: Denoiser,
    images: Tensor,
    masks: Tensor,
    modules: Sequence[str],
    timesteps: Sequence[int],
    noised: bool,
    settings: MaskHeadConfig,
    runtime: Runtime,
) -> PairFeatures:
    """Cache the activations of the pairs: of clean images (exact) or of noised ones (readout).

    Args:
        denoiser: Frozen denoiser.
        images: uint8 [N, 3, H, W], 0..255.
        masks: Class ids, uint8 [N, H, W].
        modules: Taps.
        timesteps: Timestep labels.
        noised: Whether the images get the noise of their label, ``settings.readout_draws`` times.
        settings: Flips and draws.
        runtime: Device and precision.
    """
    clean, wanted = images.float() / 127.5 - 1, masks
    if settings.flip:
        clean = torch.cat([clean, clean.flip(-1)])
        wanted = torch.cat([wanted, flip_masks(wanted, settings.flip_pairs)])
    draws = settings.readout_draws if noised else 1
    clean, wanted = clean.repeat(draws, 1, 1, 1), wanted.repeat(draws, 1, 1)
    alphas_cumprod = make_scheduler(denoiser.schedule).alphas_cumprod
    levels = []
    for timestep in Progress(timesteps, desc="noise levels", unit="level"):
        samples = clean
        if noised:
            noise = torch.randn(clean.shape, generator=generator("readout pairs", timestep))
            samples = add_noise(clean, noise, alphas_cumprod[timestep])
        levels.append(_maps_of(denoiser, samples, timestep, modules, runtime))
    stacked = [torch.stack(found) for found in zip(*levels, strict=True)]
    return PairFeatures(stacked, wanted, list(timesteps))


def save_pair_features(features: PairFeatures, unet: UNet2DModel, path: Path, provenance: dict[str, Any]) -> None:
    """Write cached activations; the taps' shapes and the timestep labels stand in the header."""
    taps = describe_taps(unet, provenance["taps"])
    tensors = {f"maps.{i}": maps for i, maps in enumerate(features.maps)} | {"masks": features.masks}
    about = {**provenance, "taps": [vars(tap) for tap in taps], "timesteps": features.timesteps}
    write_tensors(path, tensors, about)


def load_pair_features(path: Path) -> tuple[PairFeatures, dict[str, Any]]:
    """Read cached activations and their provenance."""
    tensors, provenance = read_tensors(path)
    maps = [tensors[f"maps.{i}"] for i in range(len(provenance["taps"]))]
    return PairFeatures(maps, tensors["masks"], list(provenance["timesteps"])), provenance


def _maps_of(
    denoiser: Denoiser,
    samples: Tensor,
    timestep: int,
    modules: Sequence[str],
    runtime: Runtime,
    batch_size: int = 20,
) -> list[Tensor]:
    found = []
    for batch in samples.split(batch_size):
        with torch.no_grad(), runtime.autocast():
            maps = extract(denoiser.unet, batch.to(runtime.device), timestep, modules)
        found.append([activation.half().cpu() for activation in maps])
    return [torch.cat(parts) for parts in zip(*found, strict=True)]
