"""A pipeline's folder, and its denoiser, that all tests of latents share."""

from pathlib import Path

import pytest

from fewshot_diffusion.latent.denoiser import LatentDenoiser
from latent_helpers import adopted, write_stable_diffusion


@pytest.fixture(scope="session")
def stable_diffusion(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_stable_diffusion(tmp_path_factory.mktemp("stable_diffusion"))


@pytest.fixture(scope="session")
def latent_denoiser(stable_diffusion: Path, tmp_path_factory: pytest.TempPathFactory) -> LatentDenoiser:
    return adopted(stable_diffusion, tmp_path_factory.mktemp("denoiser"))
