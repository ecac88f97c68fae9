"""What people look at: a sheet of samples, learning curves with the advice they give, and the same as a table."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from ..attributes.figures import sheet_figure
from ..data.mask_set import load_masks
from ..diffusion.samples import load_samples
from ..figures import CLOSE, fitted, save_figure
from ..masks.figures import paint_masks
from ..storage.files import read_json
from ..storage.tables import read_csv, write_csv

matplotlib.use("Agg")

COLUMNS = 8
PANEL = 3.2  # inches


def draw_own_sheet(
    samples: list[Path], labels: list[str], number: int, output: Path, masks: Path | None = None
) -> None:
    """Write a sheet: unguided samples, and those of the same seeds steered by each head.

    Args:
        samples: Sample sets, parquet.
        labels: What each is.
        number: Of each, at most.
        output: PNG to write.
        masks: Wanted masks of the last set, parquet: shown above it.
    """
    sets = [load_samples([path]).pixels[:number] for path in samples]
    blocks = list(zip(labels, sets, strict=True))
    if masks:
        wanted = load_masks(masks).pixels
        shown = paint_masks(wanted[[i % len(wanted) for i in range(len(sets[-1]))]])
        blocks.insert(len(blocks) - 1, ("wanted masks", shown))
    said = [(f"{label}, seeds 0 to {len(images) - 1}", images) for label, images in blocks]
    save_figure(sheet_figure(said, COLUMNS), [output])


@dataclass(frozen=True)
class Learned:
    """What is known of each head.

    Attributes:
        reports: JSON of each.
        curves: CSV of each.
    """

    reports: list[Path]
    curves: list[Path]


def draw_own_curve(learned: Learned, report: Path, output: list[Path]) -> None:
    """Draw the measure against the number of labels, a panel per head, and say what was chosen and what follows.

    Args:
        learned: What is known of each head.
        report: Table to write, CSV: a row per head.
        output: Figure files to write.
    """
    found = pd.DataFrame([read_json(path) for path in learned.reports])
    found["taps"] = found["taps"].map(" ".join)
    write_csv(report, found[[name for name in REPORTED if name in found]])
    columns = ("measure", "unit", "number", "value", "ci_low", "ci_high")
    curves = [read_csv(path, *columns) for path in learned.curves]
    save_figure(curves_figure(found, curves), output)


REPORTED = [
    "name", "mode", "with", "without", "pairs", "taps", "accuracy", "log_loss", "pixel_accuracy", "verdict", "text",
]  # fmt: skip


def curves_figure(reports: pd.DataFrame, curves: Sequence[pd.DataFrame]) -> Figure:
    """Draw a panel per head: the curve with its intervals, the modules it reads, and the advice."""
    across = min(3, len(curves))
    down = -(-len(curves) // across)
    figure, axes = plt.subplots(down, across, squeeze=False, figsize=(PANEL * across, 3.0 * down), layout=CLOSE)
    for axis in axes.flat[len(curves) :]:
        axis.set_visible(False)
    for axis, curve, (_, said) in zip(axes.flat, curves, reports.iterrows(), strict=False):
        bars = [curve["value"] - curve["ci_low"], curve["ci_high"] - curve["value"]]
        axis.errorbar(curve["number"], curve["value"], yerr=bars, marker="o", capsize=2)
        axis.set_xscale("log")
        axis.set_xticks(curve["number"], [str(number) for number in curve["number"]])
        axis.minorticks_off()
        axis.set_ylim(min(0.45, 0.9 * curve["ci_low"].min()), 1.02)
        axis.set_xlabel(f"{curve['unit'][0]}\n{fitted(said['text'], PANEL - 0.6, 6)}", fontsize=6)
        axis.set_ylabel(f"cross-validated {curve['measure'][0]}", fontsize=7)
        axis.tick_params(labelsize=6)
        axis.set_title(fitted(f"{said['name']}: reads {said['taps']}", PANEL - 0.6, 8), fontsize=8)
    return figure
