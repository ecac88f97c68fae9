"""What all tests share: a denoiser for unit tests, small, its every weight random and non-zero; a run on a cluster."""

import pytest
import torch
from diffusers import UNet2DModel

import cluster
from fewshot_diffusion.config.denoiser import ArchitectureConfig, ScheduleConfig
from fewshot_diffusion.diffusion.denoiser import Denoiser, build_unet
from support import once

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
def tiny_denoiser(tiny_unet: UNet2DModel) -> Denoiser:
    """Float32, cosine schedule, v-prediction."""
    return Denoiser(tiny_unet, ScheduleConfig(), digest="0" * 64)


@pytest.fixture
def tiny_denoiser_float64() -> Denoiser:
    return Denoiser(_random_unet(torch.float64), ScheduleConfig(), digest="0" * 64)


@pytest.fixture(scope="session")
def cluster_tree(tmp_path_factory: pytest.TempPathFactory) -> cluster.Tree:
    """A tree in which the smoke workflow ran through Slurm and in envs of conda: one for all processes."""
    folder = once(tmp_path_factory, "cluster", lambda folder: cluster.run(folder / "a tree"))
    return cluster.Tree(folder / "a tree")
