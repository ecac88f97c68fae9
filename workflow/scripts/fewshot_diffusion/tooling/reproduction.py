"""Computing everything again: without the work units of the last time, and how far the tables are from it."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from ..errors import CorruptFileError, DataError
from ..storage.files import fingerprint
from ..storage.tensors import read_tensors

# Rows are told apart by these; times are of the machine, not of the method.
KEYS = ("data_set", "attribute", "method", "metric", "kind")


TIMES = ("seconds_per_sample",)


def sample_identity(shard: Path) -> str:
    """Return the identity of the computation behind a shard: the name of the folder of its work units."""
    _, provenance = read_tensors(shard)
    measured = ("sha256", "forwards_per_sample")
    return fingerprint({key: value for key, value in provenance.items() if key not in measured})


def forget_units(shards: Sequence[Path], checkpoints: Path) -> int:
    """Delete the finished work units of some shards, so that drawing the shards again draws every sample.

    Returns:
        From how many folders. A damaged shard names none; units without a shard, of a run that goes on, stay.
    """
    folders = set()
    for shard in shards:
        try:
            folders.add(checkpoints / sample_identity(shard))
        except CorruptFileError:
            continue
    present = [folder for folder in folders if folder.is_dir()]
    for folder in present:
        shutil.rmtree(folder)
    return len(present)


def compare_tables(before: pd.DataFrame, after: pd.DataFrame) -> list[str]:
    """Return one line for each column of results that differs; nothing if the tables are equal but for times.

    Args:
        before: The committed table.
        after: The table computed again.

    Raises:
        DataError: If the tables have other columns or rows.
    """
    keys = [name for name in KEYS if name in before]
    columns = [str(name) for name in before if name not in (*keys, *TIMES)]
    if list(before.columns) != list(after.columns) or not _rows(before, keys).equals(_rows(after, keys)):
        raise DataError("the tables have other rows or columns: they are of other code, or of another configuration")
    old, new = (frame.sort_values(keys, ignore_index=True) for frame in (before, after))
    return [line for name in columns if (line := _difference(name, old[name], new[name]))]


def movement(before: pd.DataFrame, after: pd.DataFrame) -> pd.DataFrame:
    """Return how far the distances of a table moved when it was computed again, a row per metric and method.

    Columns: ``metric``, ``method``, ``rows``, ``largest_difference``, and that difference in half-widths of the first
    table's 95 % interval, ``largest_in_half_widths``.

    Args:
        before: The committed table, with ``value``, ``ci_low`` and ``ci_high``.
        after: The table computed again.

    Raises:
        DataError: If the tables have other columns or rows.
    """
    compare_tables(before, after)
    keys = [name for name in KEYS if name in before]
    old, new = (frame.sort_values(keys, ignore_index=True) for frame in (before, after))
    distance = (new["value"] - old["value"]).abs()
    half_width = (old["ci_high"] - old["ci_low"]) / 2
    moved = old[["metric", "method"]].assign(difference=distance, in_half_widths=distance / half_width)
    return (
        moved.dropna()
        .groupby(["metric", "method"], sort=False)
        .agg(
            rows=("difference", "size"),
            largest_difference=("difference", "max"),
            largest_in_half_widths=("in_half_widths", "max"),
        )
        .round(3)
        .reset_index()
    )


def _rows(frame: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    return frame[keys].sort_values(keys, ignore_index=True)


def _difference(name: str, old: "pd.Series[float]", new: "pd.Series[float]") -> str:
    differs = ~((old == new) | (old.isna() & new.isna()))
    count = f"{name}: {int(differs.sum())} of {len(old)} rows differ"
    if not differs.any():
        return ""
    if not (pd.api.types.is_numeric_dtype(old) and pd.api.types.is_numeric_dtype(new)):
        return count
    distance = (new - old).abs()
    return f"{count}, by {distance.max():.3g} at most; median |value| {old.abs().median():.3g}"
