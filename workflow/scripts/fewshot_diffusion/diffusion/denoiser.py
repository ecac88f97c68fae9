"""The unconditional denoiser: build, train (resumable), load."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffusers import UNet2DModel

from ..config.denoiser import ArchitectureConfig, DenoiserConfig, ScheduleConfig
from ..errors import WeightsError
from ..runtime import CPU, Runtime
from ..storage.weights import (
    WEIGHTS_FILES,
    install_weights,
    load_module,
    read_weights_provenance,
    write_weights_provenance,
)


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
        CorruptFileError: If a file differs from its recorded digest.
    """
    provenance = read_weights_provenance(folder)
    if "schedule" not in provenance:
        raise WeightsError(f"{folder}/provenance.json: no 'schedule'; expected beta_schedule and prediction_type.")
    unet = load_module(unet_of_config, folder).to(runtime.device)
    schedule = ScheduleConfig.model_validate(provenance["schedule"])
    parts = json.dumps([provenance["sha256"], schedule.model_dump()], sort_keys=True)
    return Denoiser(unet, schedule, hashlib.sha256(parts.encode()).hexdigest())


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


def install_denoiser(folder: Path, output: Path, settings: DenoiserConfig, image_size: int) -> None:
    """Verify a weights folder, check that it fits the configuration, and copy it file by file."""
    check_fits(load_denoiser(folder, CPU), settings, image_size)
    install_weights(folder, output)


def unet_of_config(config: dict[str, Any]) -> UNet2DModel:
    """Return an untrained network from what diffusers wrote as ``config.json``."""
    return UNet2DModel.from_config(config)


def adopt_denoiser(folder: Path, schedule: ScheduleConfig) -> None:
    """Record digests and schedule of a diffusers ``UNet2DModel`` folder, so that the pipeline can verify it.

    Raises:
        WeightsError: If a file is missing, or the folder was adopted before.
    """
    if (folder / "provenance.json").exists():
        raise WeightsError(f"{folder}/provenance.json exists already; delete it to record the folder anew.")
    missing = [name for name in WEIGHTS_FILES[:2] if not (folder / name).is_file()]
    if missing:
        raise WeightsError(f"{folder}: {', '.join(missing)} not found; expected the folder of a diffusers UNet2DModel.")
    write_weights_provenance(folder, {"schedule": schedule.model_dump(mode="json")})
