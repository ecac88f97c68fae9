"""Images as arrays: ranges, grids and contact sheets."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .storage.files import atomic_path


def to_uint8(images: Tensor) -> Tensor:
    """Convert [-1, 1] images to uint8 [N, C, H, W], 0..255, rounding to nearest."""
    return ((images.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).cpu()


def image_grid(images: Tensor, columns: int, gap: int = 2) -> np.ndarray:
    """Arrange uint8 images [N, 3, H, W] in rows on white, uint8 [H', W', 3]."""
    number, _, height, width = images.shape
    rows = -(-number // columns)
    grid = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), 255, dtype=np.uint8)
    for i, image in enumerate(images.permute(0, 2, 3, 1).numpy()):
        top, left = (i // columns) * (height + gap), (i % columns) * (width + gap)
        grid[top : top + height, left : left + width] = image
    return grid


def save_sheet(images: Tensor, columns: int, path: Path, scale: int = 2) -> None:
    """Write a contact sheet as PNG, each pixel enlarged ``scale`` times."""
    grid = Image.fromarray(image_grid(images, columns))
    with atomic_path(path) as temporary:
        grid.resize((grid.width * scale, grid.height * scale), Image.Resampling.NEAREST).save(temporary, "PNG")
