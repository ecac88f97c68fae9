"""Grids: pixels where they belong, nothing else beside them."""

import numpy as np
import pytest
import torch
from torch import Tensor

from fewshot_diffusion.errors import SamplingError
from fewshot_diffusion.images import (
    decode_images,
    decode_masks,
    encode_images,
    encode_masks,
    image_grid,
    stack_pixels,
    to_signed,
    to_uint8,
)


def flat(*values: int, size: int = 8) -> Tensor:
    return torch.stack([torch.full((3, size, size), value, dtype=torch.uint8) for value in values])


def test_a_grid_pixel_by_pixel() -> None:
    images = torch.arange(5 * 3 * 2 * 2, dtype=torch.uint8).reshape(5, 3, 2, 2)
    grid = image_grid(images, columns=2, gap=1)
    expected = np.full((3 * 3 - 1, 2 * 3 - 1, 3), 255, dtype=np.uint8)
    for i, (top, left) in enumerate([(0, 0), (0, 3), (3, 0), (3, 3), (6, 0)]):
        for y in range(2):
            for x in range(2):
                expected[top + y, left + x] = images[i, :, y, x]
    assert grid.dtype == np.uint8
    assert np.array_equal(grid, expected)


@pytest.mark.parametrize(("n", "columns", "shape"), [(1, 1, (8, 8, 3)), (4, 4, (8, 38, 3)), (5, 4, (18, 38, 3))])
def test_the_size_of_a_grid(n: int, columns: int, shape: tuple[int, int, int]) -> None:
    assert image_grid(flat(*range(n)), columns).shape == shape


@pytest.mark.parametrize("number", [3, 0])
def test_coding_loses_nothing(number: int) -> None:
    stream = torch.Generator().manual_seed(0)
    images = torch.randint(256, (number, 3, 8, 24), generator=stream, dtype=torch.uint8)
    masks = torch.randint(19, (number, 8, 24), generator=stream, dtype=torch.uint8)
    assert torch.equal(decode_images(encode_images(images), (8, 24)), images)
    assert torch.equal(decode_masks(encode_masks(masks), (8, 24)), masks)
    assert decode_images(encode_images(images), (8, 24)).is_contiguous()


def test_every_level_survives_the_signed_scale() -> None:
    levels = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    assert torch.equal(to_uint8(to_signed(levels)), levels)
    assert (to_signed(levels).min(), to_signed(levels).max()) == (-1, 1)
    with pytest.raises(SamplingError, match="not finite"):
        to_uint8(torch.tensor([0.0, torch.nan]))
    assert to_uint8(torch.tensor([-9.0, 9.0, 0.0]).bfloat16()).tolist() == [0, 255, 128]


def test_images_are_stacked_whatever_their_number() -> None:
    found = np.zeros((3, 16, 16), dtype=np.uint8)
    assert stack_pixels([found, found], 3, 16, 16).is_contiguous()
    assert stack_pixels([], 3, 16, 16).shape == (0, 3, 16, 16)
