"""Tables that were computed again, elsewhere or later: do they equal the ones before, and how far did values move."""

import pandas as pd

from ..errors import DataError


def compare_tables(before: pd.DataFrame, after: pd.DataFrame) -> list[str]:
    """Return one line for each column that differs; nothing if the tables are equal but for seconds.

    Args:
        before: The committed table.
        after: The table computed again; rows in the same order.

    Raises:
        DataError: If the tables have other columns or another number of rows.
    """
    if list(before.columns) != list(after.columns) or len(before) != len(after):
        raise DataError("the tables have other rows or columns: they are of other code, or of another configuration")
    columns = [str(name) for name in before if not str(name).startswith("seconds")]
    return [line for name in columns if (line := _difference(name, before[name], after[name]))]


def movement(before: pd.DataFrame, after: pd.DataFrame) -> pd.DataFrame:
    """Return how far the distances of a table moved, a row per metric and method.

    Columns: ``metric``, ``method``, ``rows``, ``largest_difference``, and that difference in half-widths of the first
    table's 95 % interval, ``largest_in_half_widths``.

    Args:
        before: The committed table, with ``metric``, ``method``, ``value``, ``ci_low`` and ``ci_high``.
        after: The table computed again.

    Raises:
        DataError: If the tables have other columns or another number of rows.
    """
    compare_tables(before, after)
    distance = (after["value"] - before["value"]).abs()
    half_width = (before["ci_high"] - before["ci_low"]) / 2
    moved = before[["metric", "method"]].assign(difference=distance, in_half_widths=distance / half_width)
    groups = moved.dropna().groupby(["metric", "method"], sort=False)
    table = groups.agg(
        rows=("difference", "size"),
        largest_difference=("difference", "max"),
        largest_in_half_widths=("in_half_widths", "max"),
    )
    return table.round(3).reset_index()


def _difference(name: str, old: "pd.Series[float]", new: "pd.Series[float]") -> str:
    differs = ~((old == new) | (old.isna() & new.isna()))
    count = f"{name}: {int(differs.sum())} of {len(old)} rows differ"
    if not differs.any():
        return ""
    if not (pd.api.types.is_numeric_dtype(old) and pd.api.types.is_numeric_dtype(new)):
        return count
    distance = (new - old).abs()
    return f"{count}, by {distance.max():.3g} at most; median |value| {old.abs().median():.3g}"
