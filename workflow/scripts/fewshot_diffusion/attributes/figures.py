"""Figures, drawn from stored samples alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import torch
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from ..config.attributes import TargetConfig
from ..images import image_grid
from ..metrics.descriptions import load_description

matplotlib.use("Agg")


AGREES, DIFFERS = "#0072b2", "#d55e00"
"""Frame of an image that the judge takes, or does not take, for the wanted class (Okabe-Ito)."""


@dataclass(frozen=True)
class Strip:
    """Images side by side.

    Attributes:
        title: What they are.
        images: uint8 [N, 3, H, W].
        agrees: Whether the judge takes each for the wanted class, bool [N].
    """

    title: str
    images: Tensor
    agrees: Tensor


def attributes_figure(rows: Sequence[tuple[str, Sequence[Strip]]]) -> Figure:
    """Draw the poster's figure: a row per class, a strip per method, the same seeds in every column.

    Args:
        rows: Label of each class and its strips; every row has the same strips.
    """
    strips = len(rows[0][1])
    per_strip = len(rows[0][1][0].images)
    figure, axes = plt.subplots(
        len(rows), strips, squeeze=False, figsize=(0.62 * strips * per_strip + 0.8, 0.72 * len(rows) + 0.6)
    )
    for i, (label, found) in enumerate(rows):
        for j, strip in enumerate(found):
            _draw_strip(axes[i, j], strip)
            if i == 0:
                axes[i, j].set_title(strip.title, fontsize=8)
        axes[i, 0].set_ylabel(label, fontsize=8)
    figure.text(
        0.5,
        0.005,
        "frame: the independent judge finds the wanted class (blue) or not (orange)",
        ha="center",
        fontsize=6,
    )
    figure.subplots_adjust(left=0.07, right=0.995, top=0.91, bottom=0.06, wspace=0.04, hspace=0.06)
    return figure


def _draw_strip(axes: Axes, strip: Strip) -> None:
    gap, size = 4, strip.images.shape[-1]
    axes.imshow(image_grid(strip.images, len(strip.images), gap), interpolation="nearest")
    for i, agrees in enumerate(strip.agrees.tolist()):
        corner = (i * (size + gap) - 1.5, -1.5)
        colour = AGREES if agrees else DIFFERS
        axes.add_patch(
            Rectangle(corner, size + 2, size + 2, fill=False, edgecolor=colour, linewidth=1.2, clip_on=False)
        )
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def gather_row(target: TargetConfig, descriptions: Path, columns: int, show_real: bool) -> tuple[str, list[Strip]]:
    """Load one class's strips: real images (where they may be shown), unguided, exact and readout samples.

    Args:
        target: The class.
        descriptions: Folder of the descriptions.
        columns: Images per strip.
        show_real: Whether the data set's licence lets its images be shown.
    """
    files = {
        "unguided": "samples/unguided/all",
        "ours, exact": f"samples/exact/{target.name}",
        "ours, readout": f"samples/readout/{target.name}",
    }
    strips = [_real_strip(target, descriptions / "controls.safetensors", columns)] if show_real else []
    for title, file in files.items():
        described = load_description(descriptions / f"{file}.safetensors")
        agrees = described.judged(target.attribute, target.value)[:columns]
        strips.append(Strip(title, described.gallery[:columns], agrees))
    return target.label, strips


def _real_strip(target: TargetConfig, controls: Path, columns: int) -> Strip:
    described = load_description(controls)
    # Rows of the class as the judge sees them: labels are not part of a description.
    index = described.judged(target.attribute, target.value)[: len(described.gallery)].nonzero().flatten()[:columns]
    return Strip("real", described.gallery[index], torch.ones(len(index), dtype=torch.bool))
