"""The unconditional denoiser: build and load."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffusers import UNet2DModel

from ..config.denoiser import ArchitectureConfig, ScheduleConfig
from ..errors import WeightsError
from ..runtime import Runtime
from ..storage.weights import load_module, weights_digest
from .unets import unet_of_config


@dataclass(frozen=True)
class Denoiser:
    """A frozen denoiser with the diffusion that it was trained on.

    Attributes:
        unet: Maps (x_t [B, C, H, W], timestep) to eps or v.
        schedule: Noise schedule and prediction type.
        digest: SHA-256 over weights, architecture and schedule: the identity of everything computed with it.
    """

    unet: UNet2DModel
    schedule: ScheduleConfig
    digest: str

    @property
    def sample_shape(self) -> tuple[int, int, int]:
        """Shape of one image: (C, H, W)."""
        size = self.unet.config.sample_size
        return (self.unet.config.in_channels, size, size)


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
    """Load a denoiser with frozen parameters in eval mode.

    Raises:
        WeightsError: If files are missing, do not fit each other, or do not name their schedule.
        CorruptFileError: If a file is damaged.
    """
    unet, about = load_module(unet_of_config, folder)
    if "schedule" not in about:
        raise WeightsError(f"{folder}: the weights do not name their schedule; expected those of a denoiser.")
    schedule = ScheduleConfig.model_validate(about["schedule"])
    return Denoiser(runtime.place(unet), schedule, weights_digest(folder))
