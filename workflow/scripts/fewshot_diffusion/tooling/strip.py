"""The strip of pictures at the head of the README: samples that follow masks."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from ..data.mask_set import load_masks
from ..diffusion.samples import load_samples
from ..figures import fitted, save_figure
from ..images import image_grid
from ..masks.figures import paint_masks
from ..storage.tensors import pixel_digest

MASK_COLUMNS = 12
"""Images in a row, at most: the first masks, none picked."""

GAP = 2  # pixels between images
CELL, MARGIN, HEAD = 0.66, 0.2, 0.22  # inches: an image with its gap, the labels of rows, the titles


@dataclass(frozen=True)
class Block:
    """Two rows of images, one above the other, column by column.

    Attributes:
        title: What they are.
        labels: What the upper and the lower row are.
        rows: Upper and lower images, uint8 [N, 3, H, W] each.
    """

    title: str
    labels: tuple[str, str]
    rows: tuple[Tensor, Tensor]


@dataclass(frozen=True, kw_only=True)
class Followed:
    """Samples that follow masks.

    Attributes:
        masks: Wanted masks, parquet.
        wanted: How many of them were asked for.
        samples: Samples, parquet; seed i shows mask i modulo the number of masks.
        follower: Their method.
        preset: Name of their preset.
        shots: Number of pairs that the method learned from.
    """

    masks: Path
    wanted: int
    samples: Path
    follower: str
    preset: str
    shots: int


def draw_strip(followed: Followed, output: list[Path]) -> None:
    """Draw wanted masks over samples that follow them.

    Args:
        followed: Samples that follow masks.
        output: Figure files to write.

    Raises:
        CorruptFileError: If a file is damaged, or of another method, preset, number of pairs or other masks.
    """
    save_figure(strip_figure([_followed_block(followed)]), output)


def strip_figure(blocks: Sequence[Block]) -> Figure:
    """Draw blocks side by side, every image at the same scale."""
    widths = [_inches(block.rows[0], len(block.rows[0])) for block in blocks]
    titles = [fitted(block.title, inches, 8) for block, inches in zip(blocks, widths, strict=True)]
    head = HEAD + 0.14 * max(title.count("\n") for title in titles)
    width, height = sum(widths) + MARGIN * len(blocks), 2 * CELL + head
    figure = plt.figure(figsize=(width, height))
    left = MARGIN
    for block, title, inches in zip(blocks, titles, widths, strict=True):
        for i, (label, images) in enumerate(zip(block.labels, block.rows, strict=True)):
            place = (left / width, (1 - i) * CELL / height, inches / width, _inches(images, 1) / height)
            _draw_row(figure.add_axes(place), label, images)
        figure.text((left + inches / 2) / width, 1 - head / 2 / height, title, ha="center", va="center", size=8)
        left += inches + MARGIN
    return figure


def _inches(images: Tensor, number: int) -> float:
    """Return the length of so many images beside each other."""
    return CELL * (number - GAP / (images.shape[-1] + GAP))


def _draw_row(axes: Axes, label: str, images: Tensor) -> None:
    axes.imshow(image_grid(images, len(images), GAP), interpolation="nearest", aspect="auto")
    axes.set_ylabel(label, fontsize=6, labelpad=2)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def _followed_block(files: Followed) -> Block:
    masks = load_masks(files.masks).first(files.wanted).masks
    expected = {
        "method": files.follower,
        "preset": files.preset,
        "shots": files.shots,
        "masks": pixel_digest(masks),
    }
    images = load_samples([files.samples], expected=expected).images[: min(MASK_COLUMNS, len(masks))]
    title = f"from {files.shots} image-mask pairs"
    return Block(title, ("mask", files.follower), (paint_masks(masks[: len(images)]), images))
