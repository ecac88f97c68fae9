"""Activations of the few image-mask pairs, computed once."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..config.masks import MaskHeadConfig, MaskTapsConfig
from ..data.mask_set import masks_at
from ..diffusion.denoiser import Denoiser, load_denoiser
from ..diffusion.features import FeatureTap
from ..diffusion.schedule import add_noise, make_scheduler
from ..progress import Progress
from ..runtime import make_runtime
from ..seeds import generator
from ..storage.files import About
from ..storage.rows import in_memory
from ..storage.tensors import read_tensors, write_tensors
from .pairs import GuideFiles, Pairs
from .row import GuideKey

BATCH_SIZE = 20


@dataclass(frozen=True)
class MaskFeatures:
    """Cached activations of the few pairs: computed once, whatever the length of the head's training.

    Attributes:
        maps: One tensor per tap, float16 [L, R, C, h, w]: L noise levels, R rows (pairs x flips x draws).
        masks: Class ids of each row, uint8 [R, H, W].
        timesteps: The L timestep labels, ascending.
        taps: Where the maps come from.
        classes: Names of the class ids.
    """

    maps: list[Tensor]
    masks: Tensor
    timesteps: list[int]
    taps: list[FeatureTap]
    classes: list[str]


def mask_features(
    denoiser: Denoiser, pairs: Pairs, method: str, taps: MaskTapsConfig, settings: MaskHeadConfig
) -> MaskFeatures:
    """Compute the activations of the pairs: of clean images (exact) or of noised ones (readout).

    Args:
        denoiser: Frozen denoiser.
        pairs: The few pairs.
        method: ``exact``: one label, ``taps.feature_timestep``; ``readout``: the noise of each label of
            ``settings.readout_timesteps``, ``settings.readout_draws`` times.
        taps: Modules to read.
        settings: Flips, brightness, levels and draws.
    """
    seen, noised = pairs.mirrored() if settings.flip else pairs, method == "readout"
    timesteps = sorted(set(settings.readout_timesteps)) if noised else [taps.feature_timestep]
    draws = settings.readout_draws if noised else 1
    if settings.brightness:
        seen = seen.brightened(settings.seed)
    clean = denoiser.encode(in_memory(seen.images)).repeat(draws, 1, 1, 1)
    levels = []
    for timestep in Progress(timesteps, desc="noise levels", unit="level"):
        samples = noised_to(denoiser, clean, timestep, "readout pairs", timestep) if noised else clean
        levels.append(_maps_of(denoiser, samples, timestep, taps.taps))
    maps = [torch.stack(found) for found in zip(*levels, strict=True)]
    described, masks = denoiser.describe_taps(taps.taps), in_memory(seen.masks)
    if taps.compared_at == "taps":
        masks = masks_at(masks, max(part.shape[-1] for part in maps))
    return MaskFeatures(maps, masks.repeat(draws, 1, 1), timesteps, described, pairs.classes)


def noised_to(denoiser: Denoiser, clean: Tensor, timestep: int, purpose: str, seed: int) -> Tensor:
    """Return x_0 [N, C, H, W] with the noise of a timestep, drawn from one stream."""
    noise = torch.randn(clean.shape, generator=generator(purpose, seed)).to(clean.device)
    return add_noise(clean, noise, make_scheduler(denoiser.schedule).alphas_cumprod[timestep])


def save_mask_features(features: MaskFeatures, path: Path, about: About) -> None:
    """Write cached activations; taps, labels and classes stand in the header."""
    tensors = {f"maps.{i}": maps for i, maps in enumerate(features.maps)} | {"masks": features.masks}
    described = {
        "taps": [vars(tap) for tap in features.taps],
        "timesteps": features.timesteps,
        "classes": features.classes,
    }
    write_tensors(path, tensors, {**about, **described})


def load_mask_features(path: Path, expected: About) -> tuple[MaskFeatures, str]:
    """Read cached activations, and the digest of the denoiser that they are of.

    Raises:
        CorruptFileError: If the file is damaged, or of another method, preset or number of pairs than expected.
    """
    tensors, about = read_tensors(path, "masks", expected=expected)
    taps = [FeatureTap(**tap) for tap in about["taps"]]
    maps = [tensors[f"maps.{i}"] for i in range(len(taps))]
    features = MaskFeatures(maps, tensors["masks"], list(about["timesteps"]), taps, list(about["classes"]))
    return features, str(about["denoiser"])


def extract_mask_features(
    settings: MaskHeadConfig, taps: MaskTapsConfig, row: GuideKey, files: GuideFiles, output: Path, device: str = "auto"
) -> None:
    """Cache the denoiser's activations of the few image-mask pairs.

    Args:
        settings: Section masks.head, JSON.
        taps: What the head of the preset reads, JSON.
        row: Method, preset and number of pairs.
        files: Denoiser and pairs.
        output: Cache to write, safetensors.
        device: auto, cpu, cuda or cuda:<n>.
    """
    runtime = make_runtime(device, settings.precision, cpu_threads=1, feature_batch=settings.feature_batch)
    denoiser, pairs = load_denoiser(files.denoiser, runtime), files.load()
    features = mask_features(denoiser, pairs, row.method, taps, settings)
    about = {**row.key, "denoiser": denoiser.digest, "images": pairs.digest, "precision": str(runtime.dtype)}
    save_mask_features(features, output, about)


def _maps_of(denoiser: Denoiser, samples: Tensor, timestep: int, modules: Sequence[str]) -> list[Tensor]:
    found = []
    for batch in samples.split(denoiser.runtime.feature_batch or BATCH_SIZE):
        with torch.no_grad():
            maps = denoiser.features(batch, timestep, modules)
        found.append([activation.half().cpu() for activation in maps])
    return [torch.cat(parts) for parts in zip(*found, strict=True)]
