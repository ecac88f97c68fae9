"""Curves as tables that people read: shares by number of labels, masks by noise level."""

import pandas as pd

from .readme import to_markdown


def labels_section(table: pd.DataFrame) -> str:
    """Return the curve of labels as Markdown: the mean of the draws, and their range, by number of labels."""
    draws, n = table["draw"].nunique(), table["n"].max()
    shares = (100 * table.set_index(["attribute", "method", "labels"])["judge_accuracy"]).groupby(level=[0, 1, 2])
    found = shares.agg(["mean", "min", "max"])
    cells = [f"{mean:.0f} % [{low:.0f}, {high:.0f}]" for mean, low, high in found.to_numpy()]
    view = pd.Series(cells, index=found.index).unstack("labels").reset_index("method")
    view.columns = [f"{column} + {column}" if column != "method" else "method" for column in view.columns]
    caption = (
        f"{table['data_set'].iloc[0]}: share of the images that the independent judge takes for the wanted class, mean "
        f"of {draws} draws of the labelled images [least, most], n = {n} samples a draw, by the labels of each kind:"
    )
    return f"{caption}\n\n{to_markdown(view)}"


def noise_section(table: pd.DataFrame) -> str:
    """Return what guides find in real images and in noisy ones as Markdown: mIoU, a row per guide and preset."""
    bounds = table[["miou", "ci_low", "ci_high"]].to_numpy()
    rows = pd.DataFrame(
        {
            "guide": table["method"].where(table["method"] == "judge", table["method"] + ", " + table["preset"]),
            "pairs": table["shots"].map(lambda shots: shots or "its own split"),
            "seen": table["timestep"].map(lambda t: "real image" if t != t else f"t = {t:.0f}"),
            "cell": [f"{value:.3f} [{low:.2f}, {high:.2f}]" for value, low, high in bounds],
        }
    )
    view = rows.pivot_table(index=["guide", "pairs"], columns="seen", values="cell", aggfunc="first", sort=False)
    caption = (
        f"{table['data_set'].iloc[0]}: mIoU [95 % interval over images] of the masks that each guide itself finds, "
        f"n = {table['n'].max()} real images that it has not seen:"
    )
    return f"{caption}\n\n{to_markdown(view.fillna('').reset_index('pairs'))}"


def filters_section(table: pd.DataFrame) -> str:
    """Return the comparison of filters as Markdown: accuracy, then the judge's on what is kept, by threshold."""
    kept = [
        "nothing kept" if value != value else f"{value:.0f} % [{low:.0f}, {high:.0f}] of {share:.0f} %"
        for share, value, low, high in 100 * table[["share_kept", "judge_accuracy", "ci_low", "ci_high"]].to_numpy()
    ]
    right = [
        f"{value:.0f} % [{low:.0f}, {high:.0f}]"
        for value, low, high in 100 * table[["accuracy", "accuracy_low", "accuracy_high"]].to_numpy()
    ]
    read = table["tap"] + " at " + table["timesteps"].astype(str).str.replace(" ", ", ")
    rows = pd.DataFrame({"filter": read, "right": right, "seen": table["threshold"].map("p >= {:g}".format)})
    view = rows.assign(kept=kept).pivot(index=["filter", "right"], columns="seen", values="kept")
    view = view.reindex(pd.MultiIndex.from_frame(rows[["filter", "right"]].drop_duplicates())).reset_index("right")
    caption = (
        f"{table['data_set'].iloc[0]}: how often each filter's first choice is right on {table['n_real'].max()} real "
        f"images of the split `{table['split'].iloc[0]}`, and how often the judge agrees with the samples kept of "
        f"{table['n_drawn'].max()}, by threshold, with the share kept [95 % interval]:"
    )
    return f"{caption}\n\n{to_markdown(view)}"
