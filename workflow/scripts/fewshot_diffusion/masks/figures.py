"""Figures of mask-conditioned generation, drawn from stored samples and the table alone."""

from collections.abc import Mapping, Sequence
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
from ..images import image_grid


def paint_masks(masks: Tensor) -> Tensor:
    """Return masks, uint8 [N, H, W], in colours, uint8 [N, 3, H, W]; the background is light grey."""
    palette = torch.tensor(colormaps["tab20"].colors)  # type: ignore[attr-defined]
    colours = torch.cat([torch.tensor([[0.93, 0.93, 0.93]]), palette]).mul(255).round().to(torch.uint8)
    return colours[masks.long() % len(colours)].permute(0, 3, 1, 2)


def gather_mask_rows(
    masks: Path, real: Path | None, samples: Mapping[str, Path], wanted: int, columns: int, seeds: int
) -> tuple[Tensor, list[tuple[str, Tensor]]]:
    """Load what the figure shows.

    Args:
        masks: Wanted masks.
        real: Their real images, or None where they may not be shown.
        samples: Method -> sample set; seed i shows mask i modulo ``wanted``.
        wanted: How many of the masks were asked for.
        columns: Masks to show, at most; there are no more than were asked for.
        seeds: Samples of each, at most.

    Returns:
        Masks uint8 [columns, H, W], and labelled rows of images, uint8 [columns, 3, H, W].
    """
    mask_set = load_masks(masks)
    columns = min(columns, wanted)
    rows = []
    if real is not None:
        rows.append(("real", load_image_set(real).by_ids(mask_set.ids[:columns].tolist()).images))
    for method, path in samples.items():
        images = load_samples([path]).images
        shown = min(seeds, len(images) // wanted)
        rows += [(method if k == 0 else "", images[k * wanted : k * wanted + columns]) for k in range(shown)]
    return mask_set.masks[:columns], rows


def segmentation_figure(masks: Tensor, rows: Sequence[tuple[str, Tensor]]) -> Figure:
    """Draw a row of masks above rows of images, one column per mask."""
    strips = [("mask", paint_masks(masks)), *rows]
    figure, axes = plt.subplots(len(strips), squeeze=False, figsize=(0.75 * len(masks) + 0.9, 0.75 * len(strips)))
    for axis, (label, images) in zip(axes.flat, strips, strict=True):
        axis.imshow(image_grid(images, len(images), gap=2), interpolation="nearest")
        axis.set_ylabel(label, fontsize=7, rotation=0, ha="right", va="center")
        axis.set_xticks([])
        axis.set_yticks([])
        for spine in axis.spines.values():
            spine.set_visible(False)
    figure.subplots_adjust(left=0.16, right=0.995, top=0.995, bottom=0.005, hspace=0.03)
    return figure


def shots_figure(table: pd.DataFrame, preset: str) -> Figure:
    """Draw mIoU, with its interval, against the number of pairs, one line per method of a preset."""
    of_preset = table[table["preset"] == preset]
    unguided = of_preset[of_preset["method"] == "unguided"]
    chosen = of_preset.drop(unguided.index)
    figure, axis = plt.subplots(figsize=(4.2, 3.0))
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
    axis.set_ylim(0, 1)
    axis.legend(fontsize=7, frameon=False)
    figure.tight_layout()
    return figure
