"""A public checkpoint as the denoiser of a run: planned by its stated shape, which the file must have."""

from pathlib import Path
from typing import Any

from ..config.denoiser import CheckpointConfig, DenoiserConfig
from ..diffusion.adoption import without_variance
from ..diffusion.denoiser import unet_config
from ..errors import WeightsError
from ..storage.files import sha256
from ..storage.weights import save_module
from .convert import converted_state
from .files import read_state
from .layout import Flags

_CELEBA = {
    "attention_head_dim": None,
    "downsample_padding": 0,
    "flip_sin_to_cos": False,
    "freq_shift": 1,
    "norm_eps": 1e-6,
}
_NUMBERED = {"resnet_time_scale_shift": "scale_shift", "attn_norm_num_groups": 32}
_RESAMPLED = {"downsample_type": "resnet", "upsample_type": "resnet"}
_STATED = ("block_out_channels", "layers_per_block", "down_block_types")


def convert_denoiser(settings: DenoiserConfig, image_size: int, file: Path, output: Path) -> None:
    """Convert a public checkpoint, checked against the configuration; of a learned variance the mean alone is kept.

    Args:
        settings: Section denoiser: layout and shape of the checkpoint, and the schedule that it was trained on.
        image_size: Height and width of the images, pixels.
        file: The checkpoint.
        output: Weights folder to write.

    Raises:
        WeightsError: If the file is not of this layout, or of another shape or schedule than configured.
    """
    stated = settings.checkpoint
    if stated is None:
        raise WeightsError("denoiser.checkpoint: found none, expected its layout and shape.")
    unet, schedule = converted_state(read_state(file), stated.layout, _flags(stated, image_size))
    found = {key: _plain(unet.config[key]) for key in _STATED}
    found |= {f"schedule.{key}": schedule[key] for key in settings.schedule.model_dump()}
    wanted = {key: _plain(unet_arguments(stated, image_size)[key]) for key in _STATED}
    wanted |= {f"schedule.{key}": value for key, value in settings.schedule.model_dump().items()}
    if other := [
        f"  {key}: found {found[key]}, configured {wanted[key]}" for key in wanted if found[key] != wanted[key]
    ]:
        raise WeightsError("\n".join([f"{file}: is another checkpoint than configured:", *other]))
    unet = without_variance(unet)
    about = {"schedule": settings.schedule.model_dump(mode="json"), "adopted": sha256(file)}
    save_module(unet, unet_config(unet), output, about)


def unet_arguments(stated: CheckpointConfig, image_size: int) -> dict[str, Any]:
    """Return the arguments of the network that a checkpoint becomes, from its stated shape."""
    resampled = stated.layout == "adm"
    plain = ("ResnetDownsampleBlock2D", "ResnetUpsampleBlock2D") if resampled else ("DownBlock2D", "UpBlock2D")
    attentive = [level in stated.attention_levels for level in range(len(stated.block_out_channels))]
    own = _CELEBA if stated.layout == "ddim_celeba" else {**_NUMBERED, **_heads(stated)}
    return {
        "sample_size": image_size,
        "block_out_channels": list(stated.block_out_channels),
        "layers_per_block": stated.layers_per_block,
        "down_block_types": ["AttnDownBlock2D" if here else plain[0] for here in attentive],
        "up_block_types": ["AttnUpBlock2D" if here else plain[1] for here in reversed(attentive)],
        **(_RESAMPLED if resampled else {}),
        **own,
    }


def _heads(stated: CheckpointConfig) -> dict[str, Any]:
    if stated.layout == "adm":
        return {"attention_head_dim": stated.num_head_channels or 64}
    heads = stated.num_heads or 4
    return {"attention_head_dim": [max(width // heads, 1) for width in stated.block_out_channels]}


def _flags(stated: CheckpointConfig, image_size: int) -> Flags:
    return Flags(image_size=image_size, num_heads=stated.num_heads, num_head_channels=stated.num_head_channels)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
