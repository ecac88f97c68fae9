"""What all tests share: a small denoiser, its every weight random and non-zero, and a run of the whole workflow."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import UNet2DModel

from fewshot_diffusion.config.denoiser import ArchitectureConfig, ScheduleConfig
from fewshot_diffusion.diffusion.denoiser import PixelDenoiser, build_unet
from fewshot_diffusion.runtime import CPU
from support import SMOKE, TARGETS, copy_tree, once

torch.set_num_threads(1)

TINY = ArchitectureConfig(block_out_channels=(8, 16), norm_num_groups=4, attention_head_dim=8)


def _random_unet(dtype: torch.dtype) -> UNet2DModel:
    unet = build_unet(TINY, image_size=16)
    stream = torch.Generator().manual_seed(0)
    for parameter in unet.parameters():
        noise = torch.randn(parameter.shape, generator=stream)
        # Vectors are biases and the normalisations' gains; matrices keep the variance of what they map.
        parameter.data = 0.5 + 0.3 * noise if parameter.dim() == 1 else noise / parameter[0].numel() ** 0.5
    if dtype != torch.float32:
        unet = unet.to(dtype)
    return unet.requires_grad_(False).eval()


@pytest.fixture
def tiny_architecture() -> ArchitectureConfig:
    return TINY


@pytest.fixture
def tiny_unet() -> UNet2DModel:
    return _random_unet(torch.float32)


@pytest.fixture
def tiny_denoiser(tiny_unet: UNet2DModel) -> PixelDenoiser:
    """Float32, cosine schedule, v-prediction."""
    return PixelDenoiser(ScheduleConfig(), "0" * 64, CPU, tiny_unet)


@pytest.fixture
def tiny_denoiser_float64() -> PixelDenoiser:
    return PixelDenoiser(ScheduleConfig(), "0" * 64, CPU, _random_unet(torch.float64))


@pytest.fixture(scope="session")
def smoke_run(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    """A function that returns a copy of the tree in which the smoke configuration has run: one for all processes.

    Its jobs share their imports. Jobs that start from nothing run through Slurm and in envs of conda.
    """
    from warm import warm_run

    def run(tree: Path) -> None:
        log = tree.with_suffix(".txt")
        with warm_run(copy_tree(tree), ["--cores", "2", *TARGETS, *SMOKE], log) as status:
            assert status() == 0, log.read_text()

    return lambda: once(tmp_path_factory, "smoke", run)
