"""The figure of filters, from their table alone: how often each is right, and what it keeps of what was drawn."""

from pathlib import Path

import matplotlib
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..figures import CLOSE, save_figure
from ..storage.tables import read_csv

matplotlib.use("Agg")

KEY = ["tap", "timesteps"]


def draw_classes_filters_figure(table: Path, output: list[Path]) -> None:
    """Draw how often each filter is right, and the judge's word on what it keeps, by its threshold.

    Args:
        table: Filters and thresholds, CSV.
        output: Figures to write, .png and .pdf.
    """
    save_figure(filters_figure(read_csv(table, *KEY, "accuracy", "threshold", "share_kept", "judge_accuracy")), output)


def filters_figure(table: pd.DataFrame) -> Figure:
    """Return the accuracy of each filter, and the judge's accuracy of what it keeps against the share kept."""
    filters = [rows for _, rows in table.groupby(KEY, sort=False)]
    size = (7.6, 2.2 + 0.16 * len(filters))
    figure, (left, right) = plt.subplots(1, 2, figsize=size, width_ratios=[1, 1.25], layout=CLOSE)
    for k, rows in enumerate(filters):
        _draw_accuracy(left, rows.iloc[0], k)
        _draw_curve(right, rows, f"C{k}")
    left.set_yticks(range(len(filters)), [filter_name(rows.iloc[0]) for rows in filters])
    left.invert_yaxis()
    left.set_xlabel(f"right on {table['n_real'].max():.0f} real images, %", fontsize=7)
    drawn = table[table["threshold"] == 0].iloc[0]
    right.plot(100 * drawn["share_kept"], 100 * drawn["judge_accuracy"], "k*", markersize=9, label="unfiltered")
    right.set_xlabel(f"kept of {drawn['n_drawn']:.0f} samples, %", fontsize=7)
    right.set_ylabel("independent judge agrees, %", fontsize=7)
    right.legend(fontsize=7, frameon=False)
    for axis in (left, right):
        axis.set_xlim(-3, 103)
        axis.set_xticks(range(0, 101, 20))
        axis.tick_params(labelsize=7)
    low, high = right.get_ylim()
    right.set_yticks([tick for tick in right.get_yticks() if low <= tick <= high])  # none beyond the axis, unseen
    thresholds = ", ".join(f"{threshold:g}" for threshold in table["threshold"].unique())
    figure.supxlabel(f"right, from right to left: p(class) at least {thresholds}; 95 % intervals", fontsize=7)
    return figure


def filter_name(row: pd.Series) -> str:
    """Return where a filter reads, as people say it: ``up_blocks.1 at 100, 300``."""
    return f"{row['tap']} at {str(row['timesteps']).replace(' ', ', ')}"


def _draw_accuracy(axis: Axes, row: pd.Series, k: int) -> None:
    value, low, high = (100 * row[name] for name in ("accuracy", "accuracy_low", "accuracy_high"))
    axis.errorbar(value, k, xerr=[[value - low], [high - value]], fmt="o", color=f"C{k}", markersize=4, capsize=2)


def _draw_curve(axis: Axes, rows: pd.DataFrame, colour: str) -> None:
    kept = 100 * rows.dropna(subset="judge_accuracy")[["share_kept", "judge_accuracy", "ci_low", "ci_high"]]
    error = [kept["judge_accuracy"] - kept["ci_low"], kept["ci_high"] - kept["judge_accuracy"]]
    axis.plot(kept["share_kept"], kept["judge_accuracy"], color=colour, marker="o", markersize=3, label="_")
    axis.errorbar(kept["share_kept"], kept["judge_accuracy"], error, fmt="none", ecolor=colour, capsize=2, alpha=0.6)
