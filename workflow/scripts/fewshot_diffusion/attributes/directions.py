"""Steering without a gradient: the difference of two classes' mean activations is added on the way.

activation <- activation + scale * (mean of the shots with the attribute - mean of those without), at one tap, the means
over shots with the noise of the nearest levels. It costs a pass of the denoiser and no more.
Source: the mean-difference direction, as in Haas et al. 2024, "Discovering Interpretable Directions in the Semantic
Latent Space of Diffusion Models", of labelled images.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..config.attributes import AttributeHeadConfig
from ..diffusion.denoiser import Denoiser, load_denoiser
from ..diffusion.features import levels_around
from ..diffusion.guidance import Predictor
from ..errors import ConfigError, DataError
from ..runtime import make_runtime
from ..storage.files import About
from ..storage.weights import load_module, save_module
from .features import noised_shots
from .shots import ShotFiles

MODE = "steering"
"""What a direction says of itself, where a head says what it reads."""


class AttributeDirection(nn.Module):
    """Towards an attribute at one tap: one difference of means per noise level, interpolated linearly in t."""

    def __init__(self, taps: list[str], shape: list[int], timesteps: list[int], attribute: str) -> None:
        """Build a direction of zeros.

        Args:
            taps: The one module.
            shape: Of its output: [num_chs, h, w].
            timesteps: The noise levels, ascending.
            attribute: Its name.
        """
        super().__init__()
        self.taps, self.attribute, self.timesteps = list(taps), attribute, list(timesteps)
        self.directions = nn.Parameter(torch.zeros(len(timesteps), *shape), requires_grad=False)

    @property
    def config(self) -> dict[str, Any]:
        """Arguments that build this direction."""
        shape = list(self.directions.shape[1:])
        return {"taps": self.taps, "shape": shape, "timesteps": self.timesteps, "attribute": self.attribute}

    def at(self, timestep: int) -> Tensor:
        """Return the difference of the means at a timestep, [num_chs, h, w]."""
        lower, upper, share = levels_around(self.timesteps, timestep)
        return torch.lerp(self.directions[lower], self.directions[upper], share)


def find_direction(
    denoiser: Denoiser, images: Tensor, labels: Tensor, settings: AttributeHeadConfig, attribute: str
) -> AttributeDirection:
    """Return the direction of an attribute.

    Args:
        denoiser: Frozen denoiser.
        images: Shots, uint8 [N, 3, H, W], 0..255.
        labels: Whether each has the attribute, bool [N].
        settings: One tap, noise levels, draws and flip.
        attribute: Its name.

    Raises:
        ConfigError: If there is more than one tap.
        DataError: If the shots hold one class only.
    """
    if len(settings.taps) != 1:
        raise ConfigError(f"taps: found {', '.join(settings.taps)}; steering adds to one module, expected one.")
    if labels.all() or not labels.any():
        raise DataError(f"{attribute}: all {len(labels)} rows of the shots have the same label; both are needed.")
    levels = []
    for timestep, noisy in noised_shots(denoiser, images, settings):
        has_it = labels.repeat(len(noisy) // len(labels)).to(noisy.device)
        positive, negative = (
            _mean(denoiser, rows, timestep, settings.taps) for rows in (noisy[has_it], noisy[~has_it])
        )
        levels.append(positive - negative)
    timesteps = sorted(set(settings.readout_timesteps))
    found = AttributeDirection(settings.taps, list(levels[0].shape), timesteps, attribute)
    found.directions.data = torch.stack(levels).cpu()
    return found.eval()


def find_attribute_direction(
    settings: AttributeHeadConfig, tap: str, files: ShotFiles, denoiser: Path, output: Path, device: str = "auto"
) -> None:
    """Learn the direction of one attribute from its labelled shots: the difference of their mean activations.

    Args:
        settings: Section attributes.head, JSON: noise levels, draws and flip.
        tap: Module whose output the direction is added to.
        files: The labelled shots.
        denoiser: Weights folder.
        output: Weights folder to write.
        device: auto, cpu, cuda or cuda:<n>.
    """
    network = load_denoiser(denoiser, make_runtime(device, settings.precision, cpu_threads=1))
    images, labels = files.load()
    at_tap = settings.model_copy(update={"taps": [tap]})
    direction = find_direction(network, images.pixels, labels, at_tap, files.attribute)
    about = {"denoiser": network.digest, "mode": MODE, "attribute": files.attribute}
    save_module(direction, direction.config, output, about)


def load_direction(folder: Path, expected: About) -> AttributeDirection:
    """Load a direction for use with one denoiser, towards one attribute.

    Raises:
        WeightsError: If the weights are a head, or of another ``denoiser`` (digest) or ``attribute`` than expected.
    """
    return load_module(lambda config: AttributeDirection(**config), folder, {**expected, "mode": MODE})[0]


def directed(denoiser: Denoiser, directions: Mapping[AttributeDirection, float]) -> Predictor:
    """Return a predictor with directions, each times its scale, added to the activations; it needs no gradient.

    A scale of 1 is the distance between the classes' means; of -1, towards those without the attribute.
    """

    def predict(x_t: Tensor, timestep: int, _alpha_bar_t: Tensor) -> Tensor:
        shifts: dict[str, Tensor] = {}
        for direction, scale in directions.items():
            (tap,), shift = direction.taps, scale * direction.at(timestep)
            shifts[tap] = shifts[tap] + shift if tap in shifts else shift
        with torch.no_grad():
            return denoiser.predict_shifted(x_t, timestep, shifts)

    return predict


def _mean(denoiser: Denoiser, noisy: Tensor, timestep: int, taps: list[str], batch_size: int = 50) -> Tensor:
    total = torch.zeros((), device=noisy.device)
    for batch in noisy.split(batch_size):
        with torch.no_grad():
            total = total + denoiser.features(batch, timestep, taps)[0].float().sum(0)
    return total / len(noisy)
