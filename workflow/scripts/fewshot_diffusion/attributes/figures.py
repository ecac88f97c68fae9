"""The experiment's pictures, drawn from descriptions alone."""

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
from ..figures import save_figure
from ..images import image_grid, save_sheet
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


TITLES = {"exact": "ours, exact", "readout": "ours, readout"}
"""What a method is called above its strip; others by their own name."""


def gather_row(
    target: TargetConfig, descriptions: Path, methods: Sequence[str], columns: int, show_real: bool
) -> tuple[str, list[Strip]]:
    """Load one class's strips: real images, where they may be shown, and samples of every method.

    Args:
        target: The class.
        descriptions: Folder: <method>/<class>.safetensors, real/controls.safetensors.
        methods: Methods whose first samples have the same seeds.
        columns: Images per strip.
        show_real: Whether the data set's licence lets its images be shown.

    Raises:
        CorruptFileError: If a description is damaged, or of another method or class.
    """
    strips = [_real_strip(target, descriptions / "real" / "controls.safetensors", columns)] if show_real else []
    for method in methods:
        expected = {"method": method, "attribute": target.attribute, "value": target.value}
        described = load_description(descriptions / method / f"{target.name}.safetensors", expected)
        agrees = described.judged(target.attribute, target.value)[:columns]
        strips.append(Strip(TITLES.get(method, method), described.gallery[:columns], agrees))
    return target.label, strips


def _real_strip(target: TargetConfig, controls: Path, columns: int) -> Strip:
    described = load_description(controls, {"method": "real"})
    # Rows of the class as the judge sees them: labels are not part of a description.
    index = described.judged(target.attribute, target.value)[: len(described.gallery)].nonzero().flatten()[:columns]
    return Strip("real", described.gallery[index], torch.ones(len(index), dtype=torch.bool))


def draw_attributes_figure(
    targets: list[TargetConfig],
    methods: list[str],
    descriptions: Path,
    show_real: bool,
    output: list[Path],
    columns: int = 5,
) -> None:
    """Draw the poster's figure: real, unguided and guided images of every class, the same seeds side by side.

    Args:
        targets: Rows, JSON each.
        methods: Methods to show, in order.
        descriptions: Folder: <method>/<class>.safetensors, real/controls.safetensors.
        show_real: Whether the data set's licence lets its images be shown: True or False.
        output: Figure files to write.
        columns: Images per strip.
    """
    rows = [gather_row(target, descriptions, methods, columns, show_real) for target in targets]
    save_figure(attributes_figure(rows), output)


def draw_sheet(descriptions: list[Path], rows: int, output: Path, columns: int = 16) -> None:
    """Write a contact sheet: the first samples of each sample set, a block of rows per set.

    Args:
        descriptions: Description of each sample set.
        rows: Rows per sample set.
        output: PNG to write.
        columns: Images per row.
    """
    shown = [load_description(path).gallery[: rows * columns] for path in descriptions]
    save_sheet(torch.cat(shown), columns, output)
