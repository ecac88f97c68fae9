"""Taking over a denoiser of one's own: read through diffusers, checked, and written with its schedule."""

import hashlib
import logging
from pathlib import Path

import torch
from diffusers import UNet2DModel

from ..config.denoiser import DenoiserConfig
from ..errors import WeightsError
from ..storage.weights import save_module
from .denoiser import unet_config
from .description import CHANNELS, Description, describe, read_settings, require_fits
from .unets import unet_of_config

log = logging.getLogger(__name__)


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
    found = describe(folder)
    require_fits(found, settings, image_size)
    unet = without_variance(read_unet(found))
    unet.register_to_config(sample_size=image_size)  # an image's height and width may be given, each
    _require_finite(unet, image_size, settings.schedule.num_train_timesteps - 1, found.config.parent)
    about = {"schedule": settings.schedule.model_dump(mode="json"), "adopted": _digest(found)}
    save_module(unet, unet_config(unet), output, about)


def read_unet(found: Description) -> UNet2DModel:
    """Read a ``UNet2DModel`` through diffusers, which knows the names of older layers, in float32; frozen.

    Raises:
        WeightsError: If a weight is missing, left over or not finite.
    """
    folder, several = found.config.parent, isinstance(found.unet.attention_head_dim, list)
    try:
        unet, loading = UNet2DModel.from_pretrained(
            folder,
            variant=found.variant,
            local_files_only=True,
            use_safetensors=True,
            low_cpu_mem_usage=False,
            output_loading_info=True,
            **({"attention_head_dim": None} if several else {}),  # which diffusers cannot be told
        )
        if several:
            state, unet = unet.state_dict(), unet_of_config(read_settings(found.config))
            unet.load_state_dict(state)
    except Exception as error:  # whatever strange settings make diffusers and torch say
        raise WeightsError(f"{folder}: cannot be read as a diffusers UNet2DModel ({error}).") from error
    # diffusers would draw missing weights at random.
    odd = sorted(name for names in loading.values() for name in names)
    odd += [name for name, weight in unet.state_dict().items() if not weight.isfinite().all()]
    if odd:
        raise WeightsError(f"{folder}: weights are missing, left over or not finite: {', '.join(map(str, odd[:5]))}.")
    return unet.requires_grad_(False).eval()


def without_variance(unet: UNet2DModel) -> UNet2DModel:
    """Return a network that predicts the mean alone: of a learned variance, DDIM makes no use."""
    if unet.config.out_channels == CHANNELS:
        return unet
    log.info("The learned variance is left out: of %d channels, the first %d.", unet.config.out_channels, CHANNELS)
    state = unet.state_dict()
    state |= {name: state[name][:CHANNELS] for name in ("conv_out.weight", "conv_out.bias")}
    mean = unet_of_config({**unet_config(unet), "out_channels": CHANNELS})
    mean.load_state_dict(state)
    return mean.requires_grad_(False).eval()


def _require_finite(unet: UNet2DModel, image_size: int, timestep: int, folder: Path) -> None:
    noise = torch.randn(1, CHANNELS, image_size, image_size, generator=torch.Generator().manual_seed(0))
    try:
        with torch.no_grad():
            output = unet(noise, timestep).sample
    except Exception as error:  # of blocks that do not fit each other or the size
        raise WeightsError(f"{folder}: no image of {image_size} pixels passes through it ({error}).") from error
    if output.shape != noise.shape or not output.isfinite().all():
        raise WeightsError(f"{folder}: of noise it makes no image, or none that is finite: its weights are broken.")


def _digest(found: Description) -> str:
    digest = hashlib.sha256()
    for path in (found.config, *found.weights):
        digest.update(path.read_bytes())
    return digest.hexdigest()
