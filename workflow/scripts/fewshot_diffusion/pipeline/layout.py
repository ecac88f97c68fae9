"""From a folder or a repository of the hub to a network of pixels and its scheduler; what cannot serve is refused.

Layouts: a pipeline's folder with ``unet/`` and ``scheduler/`` (DDPMPipeline, DDIMPipeline), such a ``unet/`` alone, and
denoisers of this project. Pipelines of latents are read by ``latents``.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from diffusers import DDIMScheduler, SchedulerMixin, UNet2DModel
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HFValidationError
from torch import nn

from ..config.denoiser import ScheduleConfig
from ..diffusion.adoption import read_unet, without_variance
from ..diffusion.denoiser import load_pixel_denoiser, unet_config
from ..diffusion.description import (
    Description,
    SchedulerDescription,
    UNetDescription,
    describe,
    require_steerable,
)
from ..diffusion.schedule import make_scheduler
from ..errors import WeightsError
from ..runtime import CPU

WANTED = ["*.json", "unet/*", "scheduler/*", "tokenizer/*", "heads/**", "*.safetensors"]
"""Files of a repository that are fetched."""


def find_folder(source: str | Path, **options: Any) -> Path:
    """Return a folder, or what the hub has of this name in its cache.

    Args:
        source: A folder, or the name of a repository: owner/name.
        options: Of ``huggingface_hub.snapshot_download``: revision, token, cache_dir, local_files_only.

    Raises:
        WeightsError: If there is neither.
    """
    if Path(source).is_dir():
        return Path(source)
    try:
        return Path(snapshot_download(str(source), allow_patterns=WANTED, **options))
    except (OSError, HFValidationError) as error:  # the hub's errors are of these kinds
        raise WeightsError(f"{source}: is no folder here, and cannot be had from the hub ({error}).") from error


def read_folder(folder: Path, scheduler: SchedulerMixin | None = None) -> tuple[UNet2DModel, SchedulerMixin]:
    """Read network and scheduler; of a learned variance the mean alone is kept.

    Args:
        folder: Of a pipeline or a network.
        scheduler: In place of the folder's.

    Raises:
        WeightsError: With every reason why it cannot be steered.
    """
    if list(folder.glob("transformer/config.json")):
        raise WeightsError(f"{folder}: found transformer/, expected unet/ with a UNet2DModel of pixels.")
    found = describe(folder)
    if scheduler is not None:
        found = described(found.unet, scheduler, found)
    schedule = require_steerable(found)
    if found.scheduler in found.weights:  # a denoiser of this project
        return load_pixel_denoiser(found.config.parent, CPU).unet, scheduler or make_scheduler(
            schedule, clip_sample=True
        )
    unet = without_variance(read_unet(found))
    if scheduler is None and found.scheduler is not None:
        scheduler = DDIMScheduler.from_pretrained(found.scheduler.parent)
    return unet, scheduler


def require_network(unet: UNet2DModel, scheduler: SchedulerMixin) -> ScheduleConfig:
    """Return the schedule of a network and a scheduler that are there.

    Raises:
        WeightsError: With every reason why they cannot be steered.
    """
    if not isinstance(unet, UNet2DModel):
        raise WeightsError(f"unet: found a {type(unet).__name__}, expected a UNet2DModel of pixels.")
    if unet.dtype.itemsize < 4:
        raise WeightsError(
            f"unet: found {unet.dtype} weights, expected float32: the clean estimate magnifies rounding. For speed, "
            'say precision="bfloat16".'
        )
    described_unet = UNetDescription.model_validate(_as_read(unet_config(unet)))
    return require_steerable(described(described_unet, scheduler))


def described(unet: UNetDescription, scheduler: SchedulerMixin, found: Description | None = None) -> Description:
    """Return what is known of a network with another scheduler than its folder's, or without any folder."""
    said = SchedulerDescription.model_validate({"_class_name": type(scheduler).__name__, **_as_read(scheduler.config)})
    config = found.config if found else Path("unet/config.json")
    return Description(config, found.weights if found else (), Path("scheduler"), unet, said)


def denoiser_digest(unet: UNet2DModel, schedule: ScheduleConfig) -> str:
    """Return the SHA-256 of weights, architecture and schedule: which denoiser a head learned from."""
    config = {key: value for key, value in unet_config(unet).items() if not key.startswith("_")}
    return state_digest([config, schedule.model_dump(mode="json")], unet)


def state_digest(stated: Any, network: nn.Module) -> str:
    """Return the SHA-256 of what is stated of a network, JSON, and of its weights."""
    digest = hashlib.sha256(json.dumps(stated, sort_keys=True).encode())
    for name, weight in sorted(network.state_dict().items()):
        digest.update(name.encode() + weight.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _as_read(config: Any) -> dict[str, Any]:
    """Return a configuration with the types that JSON has."""
    return {key: list(value) if isinstance(value, tuple) else value for key, value in dict(config).items()}
