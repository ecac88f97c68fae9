"""Images as arrays and as bytes: ranges, lossless coding and grids."""

import io
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .errors import SamplingError


def to_uint8(images: Tensor) -> Tensor:
    """Convert [-1, 1] images to uint8 [N, C, H, W], 0..255, rounding to nearest.

    Raises:
        SamplingError: If a value is not finite: it would become some colour.
    """
    if not images.isfinite().all():
        raise SamplingError("found values that are not finite, expected images in -1..1.")
    return ((images.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).cpu()


def to_signed(images: Tensor) -> Tensor:
    """Convert uint8 images, 0..255, to float32 on the [-1, 1] scale that the denoiser works on."""
    return images.float() / 127.5 - 1


def encode_images(images: Tensor) -> list[bytes]:
    """Return uint8 images [N, 3, H, W] as lossless WebP, which halves PNG's size."""
    return [_encoded(image, "WEBP", lossless=True, quality=50, method=2) for image in images.permute(0, 2, 3, 1)]


def encode_masks(masks: Tensor) -> list[bytes]:
    """Return class ids, uint8 [N, H, W], as grey PNG."""
    return [_encoded(mask, "PNG") for mask in masks]


def decode_images(coded: Iterable[bytes], size: tuple[int, int] = (0, 0)) -> Tensor:
    """Return what ``encode_images`` coded, uint8 [N, 3, H, W]; ``size`` is H and W of none at all."""
    return _decoded(coded, (*size, 3)).permute(0, 3, 1, 2).contiguous()


def decode_masks(coded: Iterable[bytes], size: tuple[int, int] = (0, 0)) -> Tensor:
    """Return what ``encode_masks`` coded, uint8 [N, H, W]; ``size`` is H and W of none at all."""
    return _decoded(coded, size)


def stack_pixels(pixels: Sequence[np.ndarray[Any, Any]], *shape: int) -> Tensor:
    """Return images of one shape as one tensor, uint8 [N, ...]; ``shape`` is what they would have if N is 0."""
    stacked = np.stack(pixels) if pixels else np.empty((0, *shape), dtype=np.uint8)
    return torch.from_numpy(np.ascontiguousarray(stacked))


def _encoded(pixels: Tensor, format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels.numpy()).save(buffer, format, **options)
    return buffer.getvalue()


def _decoded(coded: Iterable[bytes], shape: tuple[int, ...]) -> Tensor:
    return stack_pixels([np.asarray(Image.open(io.BytesIO(data))) for data in coded], *shape)


def image_grid(images: Tensor, columns: int, gap: int = 2) -> np.ndarray[Any, Any]:
    """Arrange uint8 images [N, 3, H, W] in rows on white, uint8 [H', W', 3]."""
    number, _, height, width = images.shape
    rows = -(-number // columns)
    grid = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), 255, dtype=np.uint8)
    for i, image in enumerate(images.permute(0, 2, 3, 1).numpy()):
        top, left = (i // columns) * (height + gap), (i % columns) * (width + gap)
        grid[top : top + height, left : left + width] = image
    return grid
