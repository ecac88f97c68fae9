"""What tests of denoisers share: a weights folder of this project."""

from pathlib import Path

import pytest
from diffusers import UNet2DModel

from fewshot_diffusion.config.denoiser import ScheduleConfig
from fewshot_diffusion.diffusion.denoiser import unet_config
from fewshot_diffusion.storage.weights import save_module


@pytest.fixture
def folder(tiny_unet: UNet2DModel, tmp_path: Path) -> Path:
    """The small denoiser with its schedule, which its weights name."""
    about = {"schedule": ScheduleConfig().model_dump()}
    save_module(tiny_unet, unet_config(tiny_unet), tmp_path / "ours", about)
    return tmp_path / "ours"
