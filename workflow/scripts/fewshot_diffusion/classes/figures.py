"""The figure of experiment 3, drawn from its tables alone."""

from pathlib import Path

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..figures import fitted, save_figure
from ..metrics.notes import judge_note
from ..storage.tables import read_csv
from .cells import CONTROLS, NO_CONTROL

MARKERS = dict(zip(CONTROLS, "sx^Dv*P", strict=False))


def draw_classes_figure(table: Path, acceptance: Path, calibration: Path, output: list[Path]) -> None:
    """Draw accuracy against the ratio of generated images, what the filter does, and how reliable it is.

    Args:
        table: Accuracies, CSV.
        acceptance: Acceptance of each class, CSV.
        calibration: The filter's reliability, CSV.
        output: Figures to write, .png and .pdf.
    """
    save_figure(classes_figure(*map(read_csv, (table, acceptance, calibration))), output)


def classes_figure(table: pd.DataFrame, acceptance: pd.DataFrame, calibration: pd.DataFrame) -> Figure:
    """Return accuracy against the ratio, the filter's effect by an independent judge, and its reliability."""
    figure, (left, middle, right) = plt.subplots(
        1, 3, figsize=(13, 3.6), width_ratios=[1.6, 1, 1], layout="constrained"
    )
    _draw_accuracy(left, table[table["kind"] != "published"])
    _draw_filter(middle, acceptance[acceptance["class"] == "all"].iloc[0])
    _draw_reliability(right, calibration[calibration["confidence_high"] - calibration["confidence_low"] < 1])
    return figure


def _draw_accuracy(axis: Axes, rows: pd.DataFrame) -> None:
    cells = rows.groupby(["architecture", "mixup_cutmix"], sort=False)
    for number, ((architecture, mixed), group) in enumerate(cells):
        few = ", one seed" if len(str(group["seeds"].iloc[0]).split()) == 1 else ""
        label = f"{architecture}{', Mixup + CutMix' if mixed else ''}{few}"
        _draw_curve(axis, group, f"C{number}", "--" if mixed else "-", label)
    for control, marker in MARKERS.items():
        if (rows["control"] == control).any():
            axis.scatter([], [], marker=marker, color="grey", s=22, label=control.replace("_", " "))
    axis.set_xticks(sorted(rows["generated_ratio"].astype(int).unique()))
    axis.set_xlabel("generated images per real one")
    axis.set_ylabel("top-1 accuracy on real images, %")
    axis.set_title(fitted(f"on {rows['n_test'].iloc[0]:.0f} real images", 3.0, 8), fontsize=8)
    axis.legend(fontsize=7, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))  # outside: curves fill the axes


def _draw_curve(axis: Axes, group: pd.DataFrame, colour: str, style: str, label: str) -> None:
    main = group[group["control"] == NO_CONTROL].sort_values("generated_ratio")
    ratio, top1, error = main["generated_ratio"], 100 * main["top1_mean"], 100 * main["top1_sd"]
    axis.plot(ratio, top1, style, color=colour, label=label)
    axis.errorbar(ratio, top1, error, fmt="none", ecolor=colour, capsize=2)
    for control, marker in MARKERS.items():
        found = group[group["control"] == control]
        axis.scatter(found["generated_ratio"], 100 * found["top1_mean"], marker=marker, color=colour, s=30)


def _draw_filter(axis: Axes, total: pd.Series) -> None:
    names = ("accepted", "rejected", "real")
    heights = [100 * total[f"judge_accuracy_{name}"] for name in names]
    axis.bar(list(names), heights, color=["C0", "C1", "lightgrey"])
    axis.set_ylim(0, 100)
    axis.set_ylabel("independent judge agrees, %")
    said = f"filter: {100 * total['acceptance_rate']:.0f} % of {total['n_drawn']:.0f} samples accepted"
    axis.set_title(fitted("\n".join([said, judge_note(total["judge_accuracy_real"])]).strip(), 2.8, 8), fontsize=8)


def _draw_reliability(axis: Axes, bins: pd.DataFrame) -> None:
    axis.plot([0, 1], [0, 1], color="lightgrey", linewidth=0.8)
    filled = bins[bins["n"] > 0]
    axis.plot(filled["confidence"], filled["accuracy"], marker="o", markersize=3)
    axis.set_xlim(0, 1)
    axis.set_ylim(0, 1)
    axis.set_xlabel("filter's confidence")
    axis.set_ylabel("its accuracy on real images")
    axis.set_title(f"{bins['n'].sum():.0f} real images", fontsize=8)
