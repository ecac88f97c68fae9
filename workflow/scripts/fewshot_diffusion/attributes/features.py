"""Head inputs of the labelled shots, computed once: clean for exact guidance, noised for readout."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..config.attributes import AttributeHeadConfig
from ..config.base import Mode
from ..diffusion.denoiser import Denoiser, load_denoiser
from ..diffusion.features import pool
from ..diffusion.schedule import add_noise, make_scheduler
from ..progress import Progress
from ..runtime import make_runtime
from ..seeds import generator
from ..storage.files import About
from ..storage.tensors import read_tensors, write_tensors
from .shots import ShotFiles

BATCH_SIZE = 50


@dataclass(frozen=True)
class ShotFeatures:
    """Cached head inputs of the labelled shots.

    Attributes:
        inputs: Pooled activations, float32 [K, R, D]: K noise levels, R rows (shots x flips x draws).
        labels: Whether the row's image has the attribute, bool [R].
        groups: Image id of each row, int64 [R]; rows of one image never part in cross-validation.
        timesteps: The K timestep labels, int64 [K], ascending.
    """

    inputs: Tensor
    labels: Tensor
    groups: Tensor
    timesteps: Tensor


def save_shot_features(shots: ShotFeatures, path: Path, about: About) -> None:
    """Write cached head inputs, and of which attribute, mode and denoiser they are."""
    write_tensors(path, vars(shots), about)


def load_shot_features(path: Path, expected: About | None = None) -> tuple[ShotFeatures, dict[str, Any]]:
    """Read cached head inputs and what their file says of itself.

    Raises:
        CorruptFileError: If the file is damaged, or of another attribute or mode than expected.
    """
    tensors, about = read_tensors(path, "inputs", "labels", "groups", "timesteps", expected=expected)
    return ShotFeatures(**tensors), about


def exact_features(
    denoiser: Denoiser, images: Tensor, labels: Tensor, ids: Tensor, settings: AttributeHeadConfig
) -> ShotFeatures:
    """Cache head inputs of the clean shots, fed with one timestep label and no noise added.

    Args:
        denoiser: Frozen denoiser.
        images: Shots, uint8 [N, 3, H, W], 0..255.
        labels: Whether each has the attribute, bool [N].
        ids: Image ids, int64 [N].
        settings: Taps, pooling, label and flip.
    """
    clean = denoiser.encode(_with_flips(images, settings.flip))
    inputs = _head_inputs(denoiser, clean, settings.feature_timestep, settings)
    repeats = len(clean) // len(images)
    timesteps = torch.tensor([settings.feature_timestep])
    return ShotFeatures(inputs[None], labels.repeat(repeats), ids.repeat(repeats), timesteps)


def readout_features(
    denoiser: Denoiser, images: Tensor, labels: Tensor, ids: Tensor, settings: AttributeHeadConfig
) -> ShotFeatures:
    """Cache head inputs of the noised shots at every noise level; arguments as for ``exact_features``."""
    levels, timesteps = [], []
    for timestep, noisy in noised_shots(denoiser, images, settings):
        levels.append(_head_inputs(denoiser, noisy, timestep, settings))
        timesteps.append(timestep)
    repeats = len(noisy) // len(images)
    return ShotFeatures(torch.stack(levels), labels.repeat(repeats), ids.repeat(repeats), torch.tensor(timesteps))


def noised_shots(denoiser: Denoiser, images: Tensor, settings: AttributeHeadConfig) -> Iterator[tuple[int, Tensor]]:
    """Yield each noise level, ascending, and the shots with its noise, x_t [R, C, H, W]: shots x flips x draws."""
    clean = denoiser.encode(_with_flips(images, settings.flip)).repeat(settings.readout_draws, 1, 1, 1)
    alphas_cumprod = make_scheduler(denoiser.schedule).alphas_cumprod
    for timestep in Progress(sorted(set(settings.readout_timesteps)), desc="noise levels", unit="level"):
        stream = generator("readout shots", timestep)
        noise = torch.randn(clean.shape, generator=stream).to(denoiser.device)
        yield timestep, add_noise(clean, noise, alphas_cumprod[timestep])


def _head_inputs(denoiser: Denoiser, samples: Tensor, timestep: int, settings: AttributeHeadConfig) -> Tensor:
    rows = []
    for batch in samples.split(denoiser.runtime.feature_batch or BATCH_SIZE):
        with torch.no_grad():
            maps = denoiser.features(batch, timestep, settings.taps)
        rows.append(pool(maps, settings.pool_size))
    return torch.cat(rows).cpu()


def _with_flips(images: Tensor, flip: bool) -> Tensor:
    return torch.cat([images, images.flip(-1)]) if flip else images


FEATURES = {"exact": exact_features, "readout": readout_features}


def extract_attribute_features(
    settings: AttributeHeadConfig, mode: Mode, files: ShotFiles, denoiser: Path, output: Path, device: str = "auto"
) -> None:
    """Cache what the head of one attribute reads: pooled denoiser activations of its shots.

    Args:
        settings: Section attributes.head, JSON.
        mode: exact (clean shots) or readout (noised shots).
        files: The labelled shots.
        denoiser: Weights folder.
        output: Cache to write, safetensors.
        device: auto, cpu, cuda or cuda:<n>.
    """
    runtime = make_runtime(device, settings.precision, cpu_threads=1, feature_batch=settings.feature_batch)
    network = load_denoiser(denoiser, runtime)
    images, labels = files.load()
    cached = FEATURES[mode](network, images.pixels, labels, images.ids, settings)
    about = {"denoiser": network.digest, "mode": mode, "attribute": files.attribute}
    save_shot_features(cached, output, about)
