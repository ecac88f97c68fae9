"""Images with a bright square, their masks, and networks with random weights that read them."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from fewshot_diffusion.config.masks import MaskHeadConfig, MaskTapsConfig
from fewshot_diffusion.diffusion.denoiser import Denoiser
from fewshot_diffusion.masks.heads import MaskHead
from fewshot_diffusion.masks.pairs import Pairs
from fewshot_diffusion.masks.segmenter import Segmenter

CLASSES = ["background", "square", "other"]
SIZE = 16  # pixels


def draw_squares(number: int) -> Pairs:
    stream = torch.Generator().manual_seed(0)
    images = torch.randint(60, (number, 3, SIZE, SIZE), generator=stream).to(torch.uint8)
    masks = torch.zeros(number, SIZE, SIZE, dtype=torch.uint8)
    for i in range(number):
        top, left = torch.randint(8, (2,), generator=stream).tolist()
        images[i, :, top : top + 8, left : left + 8] += 180
        masks[i, top : top + 8, left : left + 8] = 1
    return Pairs(images, masks, CLASSES)


@pytest.fixture
def squares() -> Callable[[int], Pairs]:
    return draw_squares


@pytest.fixture
def masks() -> Tensor:
    """Wanted masks, [3, 16, 16]."""
    return draw_squares(3).masks


@pytest.fixture
def taps() -> MaskTapsConfig:
    """One map as large as the image, and one that is upsampled."""
    return MaskTapsConfig(taps=["up_blocks.1", "mid_block"], feature_timestep=50, upsampling="bilinear")


@pytest.fixture
def recipe() -> MaskHeadConfig:
    return MaskHeadConfig(
        hidden_channels=16, updates=150, batch_size=4, learning_rate=5e-3, flip=True, readout_timesteps=[500, 100],
        readout_draws=2, precision="float32",
    )  # fmt: skip


@pytest.fixture
def random_head(tiny_denoiser: Denoiser, taps: MaskTapsConfig) -> Callable[..., MaskHead]:
    """Return a maker of heads whose every weight matters."""

    def make(timesteps: list[int], upsampling: str = "nearest") -> MaskHead:
        torch.manual_seed(0)
        described = tiny_denoiser.describe_taps(taps.taps)
        head = MaskHead(described, CLASSES, timesteps, SIZE, upsampling, 16)  # type: ignore[arg-type]
        head.level_bias.data.normal_()
        head.scales.data = torch.tensor([0.5, 2.0])
        return head.requires_grad_(False).eval()

    return make


@pytest.fixture
def segmenter() -> Segmenter:
    torch.manual_seed(1)
    return Segmenter(CLASSES, (8, 16), 16).requires_grad_(False).eval()
