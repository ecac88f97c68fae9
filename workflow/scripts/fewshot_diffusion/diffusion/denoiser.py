"""The unconditional denoiser: build, load, adopt."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
from diffusers import DDIMScheduler, UNet2DModel

from ..config.denoiser import ArchitectureConfig, DenoiserConfig, ScheduleConfig
from ..errors import WeightsError
from ..runtime import Runtime
from ..storage.files import read_json
from ..storage.weights import WEIGHTS_FILE, load_module, read_config, save_module, weights_digest

_UNCONDITIONAL = {"in_channels": 3, "out_channels": 3, "class_embed_type": None, "num_class_embeds": None}
_SCHEDULER = "scheduler_config.json"


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


def unet_of_config(config: dict[str, Any]) -> UNet2DModel:
    """Return an untrained network from what diffusers wrote as ``config.json``."""
    return UNet2DModel.from_config(config)


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
    """Raise ``WeightsError`` unless a denoiser is the one that the configuration describes, for RGB images.

    A folder of the user's own brings its architecture along: size, channels, classes and schedule must agree.
    """
    architecture = {} if settings.source == "folder" else settings.architecture.model_dump(mode="json")
    expected = {"sample_size": image_size, **_UNCONDITIONAL, **architecture, "schedule": settings.schedule.model_dump()}
    found = {**unet_config(denoiser.unet), "schedule": denoiser.schedule.model_dump()}
    for key, value in expected.items():
        if found[key] != value:
            raise WeightsError(
                f"denoiser.{key}: the weights have {found[key]}, the configuration expects {value}. "
                "Correct the configuration, or set denoiser.source to train."
            )


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
    unet = read_unet(folder)
    check_fits(Denoiser(unet, stated_schedule(folder, settings.schedule), ""), settings, image_size)
    schedule = settings.schedule.model_dump(mode="json")
    save_module(unet, unet_config(unet), output, {"schedule": schedule, "adopted": weights_digest(folder)})


def read_unet(folder: Path) -> UNet2DModel:
    """Read a diffusers ``UNet2DModel`` folder through diffusers, which knows the names of older layers; frozen.

    Raises:
        WeightsError: If a file is missing, or a weight is missing, left over or not finite.
    """
    read_config(folder)
    try:
        unet, loading = UNet2DModel.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, low_cpu_mem_usage=False, output_loading_info=True
        )
    except (OSError, ValueError, TypeError, RuntimeError, KeyError) as error:
        raise WeightsError(f"{folder}: cannot be read as a diffusers UNet2DModel ({error}).") from error
    # diffusers would draw missing weights at random.
    odd = sorted(name for names in loading.values() for name in names)
    odd += [name for name, weight in unet.state_dict().items() if not weight.isfinite().all()]
    if odd:
        raise WeightsError(f"{folder}: weights are missing, left over or not finite: {', '.join(map(str, odd[:5]))}.")
    return unet.requires_grad_(False).eval()


def stated_schedule(folder: Path, otherwise: ScheduleConfig) -> ScheduleConfig:
    """Return the schedule that a folder of weights names: in their header, or in diffusers' scheduler beside them.

    Raises:
        WeightsError: If the folder names a schedule that this project has not.
    """
    stated = _named_schedule(folder)
    if stated is None:
        return otherwise
    try:
        return ScheduleConfig.model_validate({key: stated[key] for key in ScheduleConfig.model_fields})
    except (KeyError, ValueError) as error:
        raise WeightsError(f"{folder}: was trained on another kind of schedule ({error}).") from error


def _named_schedule(folder: Path) -> Mapping[str, Any] | None:
    with safetensors.safe_open(folder / WEIGHTS_FILE, framework="pt") as file:
        about = json.loads((file.metadata() or {}).get("about", "{}"))
    if "schedule" in about:
        return dict(about["schedule"])
    for path in (folder / _SCHEDULER, folder.parent / "scheduler" / _SCHEDULER):
        if path.is_file():
            return _of_diffusers(path)
    return None


def _of_diffusers(path: Path) -> Mapping[str, Any]:
    usual = DDIMScheduler().config
    stated = {**usual, **read_json(path)}
    for key in ("beta_start", "beta_end", "trained_betas"):
        if stated[key] != usual[key]:
            raise WeightsError(f"{path}: was trained with {key} {stated[key]}, expected {usual[key]}.")
    return stated
