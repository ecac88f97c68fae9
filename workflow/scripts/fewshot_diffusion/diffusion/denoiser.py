"""The denoiser: the one seam between the method and what it steers, and the unconditional network of pixels behind it.

Guidance, heads, masks, classes and baselines call ``Denoiser`` alone. A model of another kind, of latents or with a
prompt, is a subclass: it keeps its coder and its conditions to itself.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import torch
from diffusers import UNet2DModel
from torch import Tensor, nn

from ..config.denoiser import ArchitectureConfig, ScheduleConfig
from ..errors import ConfigError, WeightsError
from ..images import to_signed, to_uint8
from ..runtime import Runtime, make_runtime
from ..storage.weights import load_module, read_config, weights_digest
from .features import FeatureTap, extract, forward_shifted, forward_with_features
from .schedule import label_of
from .unets import unet_of_config

LATENT = "LatentNetwork"
"""``_class_name`` in the ``config.json`` of a denoiser of latents."""


@dataclass(frozen=True)
class Denoiser(ABC):
    """A frozen denoiser with the diffusion that it was trained on, and where it computes.

    It denoises ``x_t``, of ``sample_shape``; of pixels that is the image itself, of latents what their encoder makes
    of it. Whatever is computed carries gradients unless the caller turns them off.

    Attributes:
        schedule: Noise schedule and prediction type.
        digest: SHA-256 over weights, architecture and schedule: the identity of everything computed with it.
        runtime: Device and precision.
    """

    schedule: ScheduleConfig
    digest: str
    runtime: Runtime

    @property
    def device(self) -> torch.device:
        """Where its tensors live."""
        return self.runtime.device

    @property
    @abstractmethod
    def sample_shape(self) -> tuple[int, int, int]:
        """Shape of one ``x_t``: (C, H, W)."""

    @property
    @abstractmethod
    def image_size(self) -> int:
        """Height and width of the images, pixels."""

    @property
    @abstractmethod
    def usual_taps(self) -> list[str]:
        """Names of the modules that heads usually read: the middle block and the decoder's, coarsest first."""

    @abstractmethod
    def parameters(self) -> Iterator[nn.Parameter]:
        """Yield all parameters of the network that denoises."""

    @abstractmethod
    def predict(self, x_t: Tensor, timestep: int | Tensor) -> Tensor:
        """Return the raw output, eps, v or x_0 by ``schedule.prediction_type``, shape and dtype of ``x_t``.

        Args:
            x_t: Noisy samples, [B, C, H, W].
            timestep: Timestep label, scalar or [B].
        """

    @abstractmethod
    def features(self, x: Tensor, timestep: int | Tensor, taps: Sequence[str]) -> list[Tensor]:
        """Return activations; the pass ends at the deepest tap.

        Args:
            x: What is fed to the network, [B, C, H, W]: x_0, its estimate, or x_t.
            timestep: Timestep label, scalar or [B].
            taps: Names of modules, in the order of the result.

        Returns:
            One map per tap, [B, num_chs, h, w].

        Raises:
            ConfigError: If the network has no such module.
        """

    @abstractmethod
    def predict_with_features(
        self, x_t: Tensor, timestep: int | Tensor, taps: Sequence[str]
    ) -> tuple[Tensor, list[Tensor]]:
        """Return the raw output and activations of the same pass; arguments as for ``features``."""

    def predict_shifted(self, x_t: Tensor, timestep: int | Tensor, shifts: Mapping[str, Tensor]) -> Tensor:
        """Return the raw output with ``shifts`` added to activations: tap -> [num_chs, h, w].

        Raises:
            ConfigError: If this kind of denoiser cannot, or has no such module.
        """
        raise ConfigError(f"steering: a {type(self).__name__} adds nothing to its activations; use exact or readout.")

    @abstractmethod
    def encode(self, images: Tensor) -> Tensor:
        """Return x_0, float32 [B, C, H, W] on the device, of images, uint8 [B, 3, H, W], 0..255; always the same."""

    @abstractmethod
    def to_images(self, x_0: Tensor) -> Tensor:
        """Return images [B, 3, H, W], [-1, 1] scale, not clipped, attached to the graph of ``x_0``."""

    def decode(self, x_0: Tensor) -> Tensor:
        """Return images, uint8 [B, 3, H, W], 0..255, on the CPU.

        Raises:
            SamplingError: If a value is not finite.
        """
        return to_uint8(self.to_images(x_0))

    def describe_taps(self, taps: Sequence[str]) -> list[FeatureTap]:
        """Return the taps at these modules, with channels and reduction read off one forward pass.

        Raises:
            ConfigError: If the network has no such module.
        """
        blank = torch.zeros(1, *self.sample_shape, device=next(self.parameters()).device)
        with torch.no_grad():
            maps = self.features(blank, 0, taps)
        shapes = zip(taps, maps, strict=True)
        return [FeatureTap(name, found.shape[1], self.image_size // found.shape[-1]) for name, found in shapes]

    def in_precision(self, precision: str) -> Self:
        """Return the same denoiser, computing in ``precision``: auto, float32 or bfloat16."""
        threads, batch = torch.get_num_threads(), self.runtime.feature_batch
        return replace(self, runtime=make_runtime(str(self.device), precision, threads, feature_batch=batch))


@dataclass(frozen=True)
class PixelDenoiser(Denoiser):
    """An unconditional denoiser of pixels.

    Attributes:
        unet: Maps (x_t [B, C, H, W], timestep) to eps, v or x_0.
    """

    unet: UNet2DModel

    @property
    def sample_shape(self) -> tuple[int, int, int]:
        """Shape of one image: (C, H, W)."""
        return (self.unet.config.in_channels, self.image_size, self.image_size)

    @property
    def image_size(self) -> int:
        """Height and width of the images, pixels."""
        return int(self.unet.config.sample_size)

    @property
    def usual_taps(self) -> list[str]:
        """Names of the modules that heads usually read."""
        return ["mid_block", *(f"up_blocks.{level}" for level in range(len(self.unet.up_blocks)))]

    def parameters(self) -> Iterator[nn.Parameter]:
        """Yield all parameters of the network."""
        return iter(self.unet.parameters())

    def predict(self, x_t: Tensor, timestep: int | Tensor) -> Tensor:
        """Return the raw output, shape and dtype of ``x_t``."""
        with self.runtime.autocast():
            output: Tensor = self.unet(x_t, label_of(timestep, x_t)).sample
        return output.to(x_t.dtype)

    def features(self, x: Tensor, timestep: int | Tensor, taps: Sequence[str]) -> list[Tensor]:
        """Return activations; the pass ends at the deepest tap."""
        with self.runtime.autocast():
            return extract(self.unet, x, timestep, taps)

    def predict_with_features(
        self, x_t: Tensor, timestep: int | Tensor, taps: Sequence[str]
    ) -> tuple[Tensor, list[Tensor]]:
        """Return the raw output and activations of the same pass."""
        with self.runtime.autocast():
            output, maps = forward_with_features(self.unet, x_t, timestep, taps)
        return output.to(x_t.dtype), maps

    def predict_shifted(self, x_t: Tensor, timestep: int | Tensor, shifts: Mapping[str, Tensor]) -> Tensor:
        """Return the raw output with ``shifts`` added to activations."""
        with self.runtime.autocast():
            return forward_shifted(self.unet, x_t, timestep, shifts).to(x_t.dtype)

    def encode(self, images: Tensor) -> Tensor:
        """Return images, uint8 [B, 3, H, W], on the [-1, 1] scale."""
        return to_signed(images.to(self.device))

    def to_images(self, x_0: Tensor) -> Tensor:
        """Return ``x_0``: it is the images."""
        return x_0


def build_unet(settings: ArchitectureConfig, image_size: int) -> UNet2DModel:
    """Return an untrained ``UNet2DModel``: convolutions outside, self-attention in the middle."""
    levels = len(settings.block_out_channels)
    return UNet2DModel(
        sample_size=image_size,
        block_out_channels=settings.block_out_channels,
        layers_per_block=settings.layers_per_block,
        down_block_types=("DownBlock2D",) * levels,
        up_block_types=("UpBlock2D",) * levels,
        norm_num_groups=settings.norm_num_groups,
        attention_head_dim=settings.attention_head_dim,
    )


def unet_config(unet: UNet2DModel) -> dict[str, Any]:
    """Return what diffusers writes as ``config.json``, without the folder that the network was read from."""
    config = dict(json.loads(unet.to_json_string()))
    config.pop("_name_or_path", None)
    return config


def load_denoiser(folder: Path, runtime: Runtime) -> Denoiser:
    """Load a denoiser of pixels or of latents, as its ``config.json`` says, with frozen parameters in eval mode.

    Raises:
        WeightsError: If files are missing, do not fit each other, or do not name their schedule.
        CorruptFileError: If a file is damaged.
    """
    if is_latent(read_config(folder)):
        from ..latent.denoiser import load_latent_denoiser  # pixels need none of it

        return load_latent_denoiser(folder, runtime)
    return load_pixel_denoiser(folder, runtime)


def load_pixel_denoiser(folder: Path, runtime: Runtime) -> PixelDenoiser:
    """Load a denoiser of pixels, for what enters its network itself.

    Raises:
        WeightsError: If it is of latents, files are missing, do not fit each other, or do not name their schedule.
        CorruptFileError: If a file is damaged.
    """
    if is_latent(read_config(folder)):
        raise WeightsError(f"{folder}: found a denoiser of latents, expected one of pixels.")
    unet, about = load_module(unet_of_config, folder)
    if "schedule" not in about:
        raise WeightsError(f"{folder}: the weights do not name their schedule; expected those of a denoiser.")
    schedule = ScheduleConfig.model_validate(about["schedule"])
    return PixelDenoiser(schedule, weights_digest(folder), runtime, runtime.place(unet))


def is_latent(config: Mapping[str, Any]) -> bool:
    """Return whether a ``config.json`` is of a denoiser of latents."""
    return config.get("_class_name") == LATENT
