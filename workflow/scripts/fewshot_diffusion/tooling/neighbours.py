"""Precision, recall, density and coverage as people read them, where a table has them."""

import pandas as pd

from ..metrics.measures import NEIGHBOURS, main_metrics, metric_of
from .claims import STEERED, beside_unguided, in_words
from .readme import to_markdown


def neighbours_section(table: pd.DataFrame) -> str:
    """Return one data set's precision, recall, density and coverage as Markdown; of a table without them, nothing.

    Most of these numbers depend on how many images there are: a method with fewer than the others is left out.
    """
    ours = table[table["kind"] != "published"]
    if not (metrics := main_metrics(ours["metric"], NEIGHBOURS)):
        return ""
    numbers = ours.groupby("method", sort=False)["n"].min()
    fewer = [str(method) for method in numbers.index[numbers < numbers.max()]]
    left_out = f"; left out, with fewer images: {', '.join(fewer)}" if fewer else ""
    caption = (
        f"{ours['data_set'].iloc[0]}, {ours['kind'].iloc[0]}, n = {numbers.max():.0f}: "
        f"{', '.join(f'`{metric}`' for metric in metrics)}, mean of the classes [least, largest] (higher is better)"
        f"{left_out}:"
    )
    return f"{caption}\n\n{to_markdown(neighbours_view(ours[~ours['method'].isin(fewer)], metrics))}"


def neighbours_view(ours: pd.DataFrame, metrics: list[str]) -> pd.DataFrame:
    """Return the mean over the classes with its range, a row per method, and of as many real images (``real``) last.

    Args:
        ours: Our own rows of a table of classes, of as many images each.
        metrics: The metrics that are shown.
    """
    columns = {}
    for metric in metrics:
        rows, digits = ours[ours["metric"] == metric], metric_of(metric).digits
        first = rows.drop_duplicates("attribute")
        shown = pd.concat([rows, first.assign(method="real", value=first["floor"])])
        shown = shown.groupby("method", sort=False).filter(lambda rows: bool(rows["value"].notna().all()))
        bounds = shown.groupby("method", sort=False)["value"].agg(["mean", "min", "max"])
        cells = [
            f"{mean:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]" if mean == mean else ""
            for mean, low, high in bounds.to_numpy()
        ]
        columns[metric_of(metric).name] = pd.Series(cells, index=bounds.index)
    return pd.DataFrame(columns).rename_axis("method")


def neighbours_beside_unguided(table: pd.DataFrame, method: str = STEERED[0]) -> str:
    """Say how a method's precision, recall, density and coverage stand beside unguided samples'."""
    ours = table[table["kind"] != "published"]
    compared = ours[ours["minus_unguided_low"].notna() | (ours["method"] == "unguided")]
    each = (
        f"`{metric_of(metric).name}` {in_words(beside_unguided(compared[compared['metric'] == metric], method))}"
        for metric in main_metrics(ours["metric"], NEIGHBOURS)
    )
    return f"`{method}` beside `unguided`: {'; '.join(each)}."
