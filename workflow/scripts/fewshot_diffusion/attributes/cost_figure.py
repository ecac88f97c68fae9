"""The figure of methods, from tables alone: distance to the class, and the judge's share, against a sample's cost."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from matplotlib.transforms import Bbox

from ..figures import CLOSE, DPI, fitted, save_figure
from ..metrics.measures import metric_of
from ..metrics.notes import joined, judge_note
from ..storage.tables import read_csv

matplotlib.use("Agg")

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#f0e442")
"""Okabe and Ito's, told apart with every kind of colour vision; methods take them in the table's order."""

MARKERS = "osD^vP*X<"
"""Methods take these, too: not as many as colours, so that the next round of either meets others."""

PLACES = ((6, 0, "left", "center"), (-6, 0, "right", "center"), (0, 4, "center", "bottom"), (0, -4, "center", "top"))
"""Where a name may stand: offset in points, and the alignment, beside its point, above its bar and below it."""

KEY = ["attribute", "method"]
LINES = {"naive": "--", "real": ":"}
INCHES = 3.6  # wide, each panel
ROOM = 8  # pixels around points, bars and lines that names keep free: a marker is as wide as that to either side
BELOW = "Bars: 95 % intervals. Lines: real images, which need no pass: naive of all classes, real of the class."


def draw_attributes_cost_figure(table: Path, shares: Path, output: list[Path]) -> None:
    """Draw every method's distance and share against the passes that one of its samples costs.

    Args:
        table: Distances, CSV.
        shares: The judge's shares, CSV.
        output: Figure files to write.
    """
    columns = ("metric", "value", "ci_low", "ci_high", "floor", "forwards_per_sample", "kind")
    judged = read_csv(shares, *KEY, "judge_accuracy", "ci_low", "ci_high", "judge_real")
    save_figure(cost_figure(read_csv(table, *KEY, *columns), judged), output)


def cost_figure(table: pd.DataFrame, shares: pd.DataFrame) -> Figure:
    """Return a row of two panels for each class: kernel distance, and the judge's share, against the cost.

    Cost is in forward passes of the denoiser for each sample that a method keeps. Methods that need none are lines.

    Args:
        table: Distances; the kernel distance of the first extractor is shown, rows of kind ``published`` are not.
        shares: The judge's shares.
    """
    ours = table[table["kind"] != "published"]
    metric = next(name for name in ours["metric"] if metric_of(name).name == "kd")
    distances = ours[ours["metric"] == metric]
    paid = distances.loc[distances["forwards_per_sample"] > 0, "method"].unique()
    styles = {method: (COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)]) for i, method in enumerate(paid)}
    labels = list(distances["attribute"].unique())
    size = (2 * INCHES + 0.3, 1.75 * len(labels) + 1.0)
    figure, grid = plt.subplots(len(labels), 2, squeeze=False, sharex=True, figsize=size, dpi=DPI, layout=CLOSE)
    for (left, right), label in zip(grid, labels, strict=True):
        of_class, judged = (rows[rows["attribute"] == label].set_index("method") for rows in (distances, shares))
        cost = of_class["forwards_per_sample"]
        _draw_panel(left, _with_floor(of_class), cost, styles)
        percent = judged[["judge_accuracy", "ci_low", "ci_high"]].mul(100)
        _draw_panel(right, percent.rename(columns={"judge_accuracy": "value"}), cost, styles)
        lacking = cost.isna() | of_class["value"].isna()
        few = ", ".join(method for method in styles if lacking.get(method))
        title = joined(label, judge_note(judged["judge_real"].iloc[0]), few and f"fewer than two kept: {few}")
        left.set_title(fitted(title, INCHES, 8), fontsize=8, loc="left")
        left.set_ylabel("kernel distance", fontsize=7)
        right.set_ylabel("judge's share, %", fontsize=7)
        right.set_ylim(-4, 104)
    _describe(figure, grid[-1], metric)
    return figure


def _with_floor(distances: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of a class with held-out real images of it, as the shares have them."""
    real = pd.DataFrame({"value": distances["floor"].iloc[0]}, index=["real"])
    return pd.concat([distances, real])


def _draw_panel(axes: Axes, rows: pd.DataFrame, cost: "pd.Series[float]", styles: dict[str, tuple[str, str]]) -> None:
    """Draw the points of one class with their intervals, and a line for each method without a cost."""
    for method, value, low, high in rows[["value", "ci_low", "ci_high"]].itertuples():
        if method not in styles:
            axes.axhline(value, color="grey", linewidth=0.8, linestyle=LINES.get(method, "-."), label=method)
        elif cost[method] > 0 and value == value:  # of one image there is a cost, and no distance
            colour, marker = styles[method]
            # The rounding of a table may put an end of the interval on the value's other side.
            bars = [[max(0.0, value - low)], [max(0.0, high - value)]]
            axes.errorbar(
                cost[method], value, bars, color=colour, marker=marker, markersize=5, capsize=2, linewidth=0.9,
                linestyle="none", markeredgecolor="black", markeredgewidth=0.4, label=method,
            )  # fmt: skip
    axes.margins(x=0.12, y=0.12)
    axes.tick_params(labelsize=6)


def _describe(figure: Figure, last: Iterable[Axes], metric: str) -> None:
    """Add the scale of costs, legend and caption, and names beside the points that have room for them."""
    for axes in last:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda passes, _: f"{passes:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel("forward passes for each sample that is kept", fontsize=7)
    entries: dict[str, Any] = {}
    for axes in figure.axes:
        handles, names = axes.get_legend_handles_labels()
        entries |= dict(zip(names, handles, strict=True))
    columns = min(len(entries), 7)
    figure.legend(entries.values(), entries, loc="outside upper center", ncols=columns, fontsize=7, frameon=False)
    caption = f"{metric}: {metric_of(metric).direction} is better; share: higher is better. {BELOW}"
    figure.supxlabel(fitted(caption, 2 * INCHES, 6), fontsize=6)
    figure.draw_without_rendering()
    for axes in figure.axes:
        _name_points(axes)


def _name_points(axes: Axes) -> None:
    """Write names of methods beside their points, each where it covers nothing and stays inside, or not at all."""
    points = [each for each in axes.containers if isinstance(each, ErrorbarContainer)]
    bars = [axes.transData.transform(ends) for each in points for ends in each.lines[2][0].get_segments()]
    across = [line.get_transform().transform(np.asarray(line.get_xydata())) for line in axes.get_lines()]
    taken = [Bbox([ends.min(0) - ROOM, ends.max(0) + ROOM]) for ends in bars + across]
    for each, (low, high) in zip(points, [each.lines[2][0].get_segments()[0] for each in points], strict=True):
        (point,) = np.asarray(each.lines[0].get_xydata())
        for beside, (x, y, ha, va) in zip((point, point, high, low), PLACES, strict=True):
            name = str(each.get_label())
            text = axes.annotate(name, beside, (x, y), textcoords="offset points", ha=ha, va=va, fontsize=6)
            text.set_in_layout(False)
            box = text.get_window_extent()
            if not box.count_overlaps(taken) and all(axes.bbox.contains(*corner) for corner in (box.min, box.max)):
                taken.append(box)
                break
            text.remove()
