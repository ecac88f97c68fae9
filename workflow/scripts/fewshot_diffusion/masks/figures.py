"""Figures of mask-conditioned generation, drawn from stored samples and the table alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
from matplotlib import colormaps
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from torch import Tensor

from ..data.image_set import load_image_set
from ..data.mask_set import load_masks
from ..diffusion.samples import load_samples
from ..figures import CLOSE, fitted, save_figure
from ..images import image_grid
from ..metrics.notes import joined, segmenter_note
from ..storage.tables import read_csv
from ..storage.tensors import pixel_digest

COLUMNS = 6  # masks to show, at most
SEEDS = 2  # samples of each mask and method, at most; of many methods, one
MANY = 6  # methods
LABEL_INCHES = 1.1


def paint_masks(masks: Tensor) -> Tensor:
    """Return masks, uint8 [N, H, W], in colours, uint8 [N, 3, H, W]; the background is light grey."""
    palette = torch.tensor(colormaps["tab20"].colors)  # type: ignore[attr-defined]
    colours = torch.cat([torch.tensor([[0.93, 0.93, 0.93]]), palette]).mul(255).round().to(torch.uint8)
    return colours[masks.long() % len(colours)].permute(0, 3, 1, 2)


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What the figure shows.

    Attributes:
        masks: Wanted masks, parquet.
        samples: One sample set for each method, parquet; seed i shows mask i modulo their number.
        table: The mask table, CSV: how far to trust the segmenter.
        real: Real images of the masks, parquet; without it, none are shown.
    """

    masks: Path
    samples: list[Path]
    table: Path
    real: Path | None = None


def draw_masks_figure(
    methods: list[str], preset: str, shots: int, wanted: int, files: Shown, output: list[Path]
) -> None:
    """Draw wanted masks, their real images, and what each method makes of them.

    Args:
        methods: Names of the methods, one for each sample set.
        preset: Name of their preset.
        shots: Number of pairs that they learned from.
        wanted: How many of the masks were asked for.
        files: Masks, samples and real images.
        output: Figure files to write.

    Raises:
        CorruptFileError: If a sample set is of another method, preset or number of pairs, or shows other masks.
    """
    masks = load_masks(files.masks).first(wanted)
    shown = masks.first(COLUMNS)
    rows = []
    if files.real:
        rows.append(("real", load_image_set(files.real).by_ids(shown.ids.tolist()).pixels))
    for method, path in zip(methods, files.samples, strict=True):
        expected = {"method": method, "preset": preset, "shots": shots, "masks": pixel_digest(masks.masks)}
        images = load_samples([path], expected=expected).pixels
        for k in range(min(SEEDS if len(methods) < MANY else 1, len(images) // len(masks))):
            first = k * len(masks)
            label = f"{method}\nsample {k + 1} of each mask, n = {len(images)}"
            rows.append((label, images[first : first + len(shown)]))
    note = segmenter_note(read_csv(files.table, "miou_real")["miou_real"].iloc[0])
    save_figure(masks_figure(shown.pixels, rows, note), output)


def draw_masks_shots_figure(table: Path, preset: str, output: list[Path]) -> None:
    """Draw mIoU against the number of pairs.

    Args:
        table: The mask table, CSV.
        preset: Preset of the curve.
        output: Figure files to write.
    """
    columns = ("method", "preset", "shots", "n", "miou", "ci_low", "ci_high", "miou_real")
    save_figure(shots_figure(read_csv(table, *columns), preset), output)


def draw_masks_noise_figure(table: Path, output: list[Path]) -> None:
    """Draw the mIoU that guides reach in noisy images.

    Args:
        table: What each finds, CSV.
        output: Figure files to write.
    """
    columns = ("method", "preset", "shots", "seen", "timestep", "n", "miou", "ci_low", "ci_high")
    save_figure(noise_figure(read_csv(table, *columns)), output)


def masks_figure(masks: Tensor, rows: Sequence[tuple[str, Tensor]], note: str = "") -> Figure:
    """Draw a row of numbered masks above rows of images, one column per mask; ``note`` stands below."""
    strips = [("mask", paint_masks(masks)), *rows]
    size = (0.75 * len(masks) + LABEL_INCHES + 0.1, 0.75 * len(strips) + 0.25)
    figure, axes = plt.subplots(len(strips), squeeze=False, figsize=size, layout=CLOSE)
    for axis, (label, images) in zip(axes.flat, strips, strict=True):
        axis.imshow(image_grid(images, len(images), gap=2), interpolation="nearest")
        axis.set_anchor("E")  # what the pictures' aspect leaves over is the labels'
        axis.set_ylabel(fitted(label, LABEL_INCHES, 7), fontsize=7, rotation=0, ha="right", va="center")
        axis.set_xticks([])
        axis.set_yticks([])
        for spine in axis.spines.values():
            spine.set_visible(False)
    top, pitch = axes[0, 0], masks.shape[-1] + 2
    top.set_xticks([pitch * i + pitch / 2 for i in range(len(masks))], [f"mask {i + 1}" for i in range(len(masks))])
    top.tick_params(top=True, labeltop=True, bottom=False, labelbottom=False, length=0, labelsize=6)
    if note:
        figure.supxlabel(fitted(note, size[0] - 0.2, 7), fontsize=7)
    return figure


def shots_figure(table: pd.DataFrame, preset: str) -> Figure:
    """Draw mIoU, with its interval, against the number of pairs, one line per method of a preset."""
    of_preset = table[table["preset"] == preset]
    unguided = of_preset[of_preset["method"] == "unguided"]
    chosen = of_preset.drop(unguided.index)
    figure, axis = plt.subplots(figsize=(5.2, 3.0), layout=CLOSE)
    for method, rows in chosen.groupby("method", sort=False):
        ordered = rows.sort_values("shots")
        below, above = ordered["miou"] - ordered["ci_low"], ordered["ci_high"] - ordered["miou"]
        axis.errorbar(ordered["shots"], ordered["miou"], yerr=[below, above], marker="o", capsize=2, label=method)
    axis.axhline(chosen["miou_real"].iloc[0], color="black", linewidth=0.8, linestyle="--", label="real images")
    axis.axhline(unguided["miou"].iloc[0], color="grey", linewidth=0.8, linestyle=":", label="unguided")
    axis.set_xscale("log")
    ticks = sorted(chosen["shots"].unique())
    axis.set_xticks(ticks, [str(tick) for tick in ticks])
    axis.minorticks_off()
    axis.set_xlabel("image-mask pairs")
    axis.set_ylabel("mIoU, independent segmenter")
    n = " to ".join(f"{n:.0f}" for n in sorted({of_preset["n"].min(), of_preset["n"].max()}))
    note = segmenter_note(chosen["miou_real"].iloc[0])
    axis.set_title(fitted(joined(f"n = {n} samples a point, bars: 95 % intervals", note), 3.4, 7), fontsize=7)
    axis.set_ylim(0, 1)
    axis.legend(fontsize=7, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))  # outside: no line through it
    return figure


def noise_figure(table: pd.DataFrame) -> Figure:
    """Draw mIoU, with its interval, against the noise level: a line per guide and preset, real images at the left."""
    figure, axis = plt.subplots(figsize=(5.8, 3.0), layout=CLOSE)
    levels = sorted(table["timestep"].dropna().astype(int).unique())
    place = {level: i + 1 for i, level in enumerate(levels)}  # evenly: what matters happens in the first third
    for k, ((method, preset, shots), rows) in enumerate(table.groupby(["method", "preset", "shots"], sort=False)):
        real, noisy = rows[rows["seen"] == "real"], rows[rows["seen"] != "real"].sort_values("timestep")
        label = method if method == "judge" else f"{method}, {preset}, {shots} pairs"
        colour, line = ("black", "--") if method == "judge" else (f"C{k}", "-")
        for part, where in ((noisy, noisy["timestep"].astype(int).map(place)), (real, [0] * len(real))):
            bars = [part["miou"] - part["ci_low"], part["ci_high"] - part["miou"]]
            axis.errorbar(
                where, part["miou"], yerr=bars, color=colour, linestyle=line, marker="o", markersize=4, capsize=2,
                label=label,
            )  # fmt: skip
            label = "_"  # one entry of the legend for both parts
    axis.set_xticks([0, *place.values()], ["real\nimage", *map(str, levels)])
    axis.set_xlabel("timestep t of the noisy image")
    axis.set_ylabel("mIoU of the guide's own masks")
    axis.set_title(f"n = {table['n'].max()} real images a point, bars: 95 % intervals", fontsize=7)
    axis.set_ylim(0, 1)
    axis.legend(fontsize=7, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure
