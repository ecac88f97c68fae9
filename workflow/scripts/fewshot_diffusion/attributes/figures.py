"""The experiment's pictures, drawn from descriptions alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import torch
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from ..config.attributes import TargetConfig
from ..diffusion.samples import load_samples
from ..figures import CLOSE, DPI, fitted, save_figure, shrink_png
from ..images import image_grid
from ..metrics.descriptions import load_description
from ..metrics.notes import joined, judge_note
from ..storage.tables import read_csv

matplotlib.use("Agg")


AGREES, DIFFERS = "#0072b2", "#d55e00"
"""Frame of an image that the judge takes, or does not take, for the wanted class (Okabe-Ito)."""

FRAME = "frame: the independent judge finds the wanted class (blue) or not (orange)"
LABEL_INCHES = 1.1
SHEET_IMAGE = 64  # pixels of a sheet for a side of an image: smaller ones are enlarged
SHEET_WIDTH = 500  # pixels, at least: room for labels


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
    strips, per_strip = len(rows[0][1]), len(rows[0][1][0].images)
    labels = [fitted(label, LABEL_INCHES, 7) for label, _ in rows]
    heights = [max(0.72, 0.13 * (label.count("\n") + 1)) for label in labels]
    size = (0.62 * strips * per_strip + LABEL_INCHES + 0.2, sum(heights) + 0.7)
    figure, axes = plt.subplots(len(rows), strips, squeeze=False, figsize=size, height_ratios=heights, layout=CLOSE)
    for i, (_, found) in enumerate(rows):
        for j, strip in enumerate(found):
            _draw_strip(axes[i, j], strip)
            if i == 0:
                axes[i, j].set_title(fitted(strip.title, 0.6 * per_strip, 8), fontsize=8)
        axes[i, 0].set_ylabel(labels[i], fontsize=7, rotation=0, ha="right", va="center")
    figure.supxlabel(fitted(FRAME, size[0] - 0.2, 6), fontsize=6)
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
    target: TargetConfig, descriptions: Path, methods: Sequence[str], columns: int, real: Path | None
) -> tuple[str, list[Strip]]:
    """Load one class's strips: real images, where they may be shown, and samples of every method.

    Args:
        target: The class.
        descriptions: Folder: <method>/<class>.safetensors.
        methods: Methods whose first samples have the same seeds.
        columns: Images per strip.
        real: Description of real images; None if they may not be shown.

    Raises:
        CorruptFileError: If a description is damaged, or of another method or class.
    """
    strips = [_real_strip(target, real, columns)] if real else []
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


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What the figure shows.

    Attributes:
        descriptions: Folder: <method>/<class>.safetensors.
        real: Descriptions of real images, one per row.
        shares: The judge's shares, CSV: how many images each class is measured on, and how far to trust the judge.
        show_real: Whether the data set's licence lets its images be shown: True or False.
    """

    descriptions: Path
    real: list[Path]
    shares: Path
    show_real: bool


def draw_attributes_figure(
    targets: list[TargetConfig], methods: list[str], files: Shown, output: list[Path], columns: int = 5
) -> None:
    """Draw the poster's figure: real, unguided and guided images of every class, the same seeds side by side.

    Args:
        targets: Rows, JSON each.
        methods: Methods to show, in order.
        files: Descriptions, and what to say of them.
        output: Figure files to write.
        columns: Images per strip.
    """
    shares = read_csv(files.shares, "attribute", "method", "n", "judge_real")
    shares = shares[shares["method"].isin(methods)]
    rows = []
    for target, real in zip(targets, files.real, strict=True):
        label, strips = gather_row(target, files.descriptions, methods, columns, real if files.show_real else None)
        rows.append((with_reservations(label, shares[shares["attribute"] == label]), strips))
    save_figure(attributes_figure(rows), output)


def with_reservations(label: str, rows: pd.DataFrame) -> str:
    """Return the label of a class with how many images each method has of it, and a flag of a judge to distrust."""
    n = " to ".join(f"{n:.0f}" for n in sorted({rows["n"].min(), rows["n"].max()}))
    return "\n".join(filter(None, [label, f"n = {n}", judge_note(rows["judge_real"].iloc[0])]))


def draw_sheet(
    images: list[Path],
    rows: int,
    output: Path,
    labels: list[str] | None = None,
    shares: Path | None = None,
    columns: int = 16,
) -> None:
    """Write a contact sheet: the first samples of each sample set, a labelled block of rows per set.

    Args:
        images: Description of each sample set, safetensors, or its samples, parquet.
        rows: Rows per sample set.
        output: PNG to write.
        labels: What each set is: method, and class by its name in the tables; without them, the files' names.
        shares: The judge's shares, CSV: classes whose judge is to be distrusted are flagged.
        columns: Images per row.
    """
    table = read_csv(shares, "attribute", "judge_real") if shares else pd.DataFrame(columns=["attribute", "judge_real"])
    notes = {name: judge_note(accuracy) for name, accuracy in table.set_index("attribute")["judge_real"].items()}
    blocks = []
    for label, path in zip(labels or ["/".join(path.parts[-3:]) for path in images], images, strict=True):
        found, number = _images_of(path)
        shown = found[: rows * columns]
        said = f"{label}: the first {len(shown)} of {number}"
        blocks.append((joined(said, notes.get(label.partition(", ")[2], "")), shown))
    save_figure(sheet_figure(blocks, columns), [output])
    shrink_png(output)


def _images_of(path: Path) -> tuple[Tensor, int]:
    """Return the first images, and the number of all, of a set of samples or of their description."""
    if path.suffix == ".parquet":
        drawn = load_samples([path])
        return drawn.pixels, len(drawn.seeds)
    described = load_description(path)
    return described.gallery, len(described)


def sheet_figure(blocks: Sequence[tuple[str, Tensor]], columns: int) -> Figure:
    """Draw labelled blocks of images below each other, pixel by pixel; small ones are enlarged by whole numbers.

    Args:
        blocks: Label and images, uint8 [N, 3, H, W], of each.
        columns: Images per row.
    """
    grids = [_enlarged(image_grid(images, columns), images.shape[-1]) for _, images in blocks]
    width = max(SHEET_WIDTH, *(grid.shape[1] for grid in grids))
    labels = [fitted(label, width / DPI - 0.1, 8) for label, _ in blocks]
    bands = [DPI * (11 * label.count("\n") + 16) // 72 for label in labels]
    height = sum(bands) + sum(grid.shape[0] for grid in grids)
    figure, top = plt.figure(figsize=(width / DPI, height / DPI), dpi=DPI), height
    for label, band, grid in zip(labels, bands, grids, strict=True):
        top -= band
        figure.text(10 / width, (top + 10) / height, label, fontsize=8, va="bottom")
        top -= grid.shape[0]
        figure.figimage(grid, 0, top, origin="upper")
    return figure


def _enlarged(grid: np.ndarray[Any, Any], size: int) -> np.ndarray[Any, Any]:
    scale = max(1, SHEET_IMAGE // size)
    return grid.repeat(scale, 0).repeat(scale, 1)
