"""The unconditional denoiser: build, train (resumable), load."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffusers import UNet2DModel

from ..config.denoiser import ArchitectureConfig, DenoiserConfig, ScheduleConfig
from ..errors import WeightsError
from ..runtime import Runtime
from ..storage.weights import load_module, read_config, save_module, weights_digest


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
    """Return what diffusers writes as ``config.json``."""
    return dict(json.loads(unet.to_json_string()))


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
    return Denoiser(unet.to(runtime.device), schedule, weights_digest(folder))


def check_fits(denoiser: Denoiser, settings: DenoiserConfig, image_size: int) -> None:
    """Raise ``WeightsError`` unless a loaded denoiser is the one that the configuration describes.

    A folder of the user's own brings its architecture along: only its image size and schedule must agree.
    """
    own = settings.source == "folder"
    architecture = {} if own else settings.architecture.model_dump(mode="json")
    expected = {"sample_size": image_size, **architecture, "schedule": settings.schedule.model_dump()}
    config = unet_config(denoiser.unet)
    for key, value in expected.items():
        found = denoiser.schedule.model_dump() if key == "schedule" else config[key]
        if found != value:
            raise WeightsError(
                f"denoiser.{key}: the weights have {found}, the configuration expects {value}. "
                "Correct the configuration, or set denoiser.source to train."
            )


def unet_of_config(config: dict[str, Any]) -> UNet2DModel:
    """Return an untrained network from what diffusers wrote as ``config.json``."""
    return UNet2DModel.from_config(config)


def adopt_denoiser(folder: Path, settings: DenoiserConfig, image_size: int, output: Path) -> None:
    """Take over a diffusers ``UNet2DModel`` folder: checked against the configuration, with its schedule beside it.

    Args:
        folder: Folder that diffusers, or this project, wrote.
        settings: Section denoiser: what the weights must be, and the schedule that they were trained on.
        image_size: Height and width of the images, pixels.
        output: Weights folder to write.

    Raises:
        WeightsError: If the folder holds no such network, or another than the configuration describes.
    """
    read_config(folder)
    try:
        unet = UNet2DModel.from_pretrained(folder, local_files_only=True).requires_grad_(False).eval()
    except (OSError, ValueError, TypeError, RuntimeError, KeyError) as error:
        raise WeightsError(f"{folder}: cannot be read as a diffusers UNet2DModel ({error}).") from error
    check_fits(Denoiser(unet, settings.schedule, ""), settings, image_size)
    schedule = settings.schedule.model_dump(mode="json")
    save_module(unet, unet_config(unet), output, {"schedule": schedule, "adopted": weights_digest(folder)})
