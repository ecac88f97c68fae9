"""The figure of labels, from its table alone: the judge's share against how many labels a head learned from."""

from pathlib import Path

import matplotlib
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from ..figures import CLOSE, save_figure
from ..storage.tables import read_csv

matplotlib.use("Agg")

KEY = ["attribute", "method"]
INCHES = 3.0  # each panel


def draw_attributes_labels_figure(table: Path, output: list[Path]) -> None:
    """Draw the judge's share against the number of labels.

    Args:
        table: The curve's table, CSV.
        output: Figure files to write.
    """
    save_figure(labels_figure(read_csv(table, *KEY, "labels", "draw", "judge_accuracy", "n")), output)


def labels_figure(table: pd.DataFrame) -> Figure:
    """Return a panel for each row: a dot for each draw of the labels, a line through the draws' means."""
    rows, draws = list(table["attribute"].unique()), table["draw"].nunique()
    size = (INCHES * len(rows) + 0.4, 2.6)
    figure, axes = plt.subplots(1, len(rows), squeeze=False, sharey=True, figsize=size, layout=CLOSE)
    numbers = sorted(table["labels"].unique())
    for axis, attribute in zip(axes[0], rows, strict=True):
        for k, (method, found) in enumerate(table[table["attribute"] == attribute].groupby("method", sort=False)):
            percent = found.assign(share=100 * found["judge_accuracy"])
            axis.plot(percent["labels"], percent["share"], "o", color=f"C{k}", alpha=0.45, markersize=4, label="_")
            means = percent.groupby("labels")["share"].mean()
            axis.plot(means.index, means, color=f"C{k}", label=method)
        axis.set_xscale("log")
        axis.set_xticks(numbers, [f"{number}" for number in numbers])
        axis.minorticks_off()
        axis.set_title(attribute, fontsize=8, loc="left")
        axis.set_xlabel("labelled images with it, and as many without", fontsize=7)
        axis.tick_params(labelsize=7)
    axes[0, 0].set_ylim(0, 102)
    axes[0, 0].set_ylabel("judge's share, %", fontsize=7)
    axes[0, -1].legend(fontsize=7, frameon=False, loc="lower right")
    said = f"{draws} draws of the labelled images, n = {table['n'].max()} samples each; lines: mean over draws"
    figure.supxlabel(said, fontsize=7)
    return figure
