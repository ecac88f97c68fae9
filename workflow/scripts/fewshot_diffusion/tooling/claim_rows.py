"""The table of claims: what the paper says, what a cell of ours says, and whether the claim holds there."""

from collections.abc import Hashable, Mapping
from math import isnan, nan
from pathlib import Path
from typing import Any

import pandas as pd
from scipy.stats import t

from ..config.claims import Cell, ClaimConfig, ClaimsConfig, PublishedConfig, Where
from ..errors import DataError
from ..storage.tables import read_csv, read_source_csv

CLAIM_COLUMNS = [
    "name", "claim", "published", "data_set", "row", "ours", "ci_low", "ci_high", "beside", "beside_value",
    "beside_low", "beside_high", "expected", "n", "draws", "judge", "status", "note", "command", "file", "cell",
]  # fmt: skip

NOT_ATTEMPTED = "not attempted"

Row = Mapping[Hashable, Any]


def claim_table(claims: ClaimsConfig, results: Path, published: Path) -> pd.DataFrame:
    """Return a row for each claim, data set and row of its table, and one for each claim that was not attempted.

    Args:
        claims: What is claimed.
        results: Folder that holds the data sets' tables.
        published: The paper's numbers.

    Returns:
        Frame, ``CLAIM_COLUMNS``.

    Raises:
        DataError: If a claim names a row or column that a table does not have.
    """
    paper = read_source_csv(published, "item", "data_set", "row", "method", "metric", "value")
    rows: list[dict[str, Any]] = []
    for claim in claims.claims:
        about = {"name": claim.name, "claim": claim.claim, "published": said_of(claim.published, paper)}
        for data_set in claim.data_sets:
            command = " --configfile ".join([claim.command, *filter(None, [claims.overlays.get(data_set)])])
            rows += [{**about, **found, "command": command} for found in claim_rows(claim, results, data_set)]
    for other in claims.not_attempted:
        about = {"name": other.name, "claim": other.claim, "published": said_of(other.published, paper)}
        rows.append({**about, "status": NOT_ATTEMPTED, "note": other.note, "command": other.command})
    return pd.DataFrame(rows).reindex(columns=CLAIM_COLUMNS).astype({"n": "Int64", "draws": "Int64"})


def claim_rows(claim: ClaimConfig, results: Path, data_set: str) -> list[dict[str, Any]]:
    """Return a claim's rows on one data set: the cells, and whether it holds there.

    Raises:
        DataError: If the table lacks a column, or a row that the claim names.
    """
    path = results / data_set / "tables" / claim.table
    table = read_csv(path, *claim.rows, *claim.each, claim.value)
    if "kind" in table:
        table = table[table["kind"] != "published"]
    ours = _selected(table, claim.rows, path)
    if claim.over:
        ours = _over_repeats(ours, claim, claim.over)
    rows = []
    for row in ours.to_dict("records"):
        where: Where = {**claim.rows, **{column: row[column] for column in claim.each}}
        found = _bounds(row, claim)
        other = (claim.bound,) * 3
        if claim.beside is not None:
            other = _bounds(_only(table, {**where, **claim.beside}, path), claim)
        verdict = "holds" if apart(found, other, claim.expected) else "does not hold"
        rows.append(
            {
                "data_set": data_set,
                "row": ", ".join(_cell(row[column]) for column in claim.each),
                **dict(zip(("ours", "ci_low", "ci_high"), found, strict=True)),
                "beside": _in_words(claim.beside) if claim.beside else _cell(claim.bound),
                **dict(zip(("beside_value", "beside_low", "beside_high"), other, strict=True)),
                "expected": claim.expected,
                "n": _number_behind(row),
                "draws": row.get("draws", claim.draws),
                "judge": claim.judge,
                "status": f"{row.get('kind', 'scaled-down')}: {verdict}",
                "note": _note(found, other),
                "file": f"{results.name}/{data_set}/tables/{claim.table}",
                "cell": f"{_in_words(where)}; {claim.value}" + (f", mean over {claim.over}" if claim.over else ""),
            }
        )
    return rows


def apart(ours: tuple[float, float, float], other: tuple[float, float, float], side: str) -> bool:
    """Return whether our interval lies on a side of the other's, with nothing in common: (value, low, high) each."""
    return ours[1] > other[2] if side == "above" else ours[2] < other[1]


def said_of(published: PublishedConfig, paper: pd.DataFrame) -> str:
    """Return what the paper says, with the range of its numbers.

    Raises:
        DataError: If there is no such number.
    """
    if not published.rows:
        return published.said
    found = paper
    for column, cell in published.rows.items():
        text = str(cell)
        same = found[column].str.endswith(text.removeprefix("{}")) if text.startswith("{}") else found[column] == cell
        found = found[same]
    if found.empty:
        raise DataError(f"claims: found no published row with {_in_words(published.rows)}.")
    low, high = (f"{value:g}" for value in (found["value"].min(), found["value"].max()))
    return published.said.format(low if low == high else f"{low} to {high}")


def claims_view(table: pd.DataFrame) -> pd.DataFrame:
    """Return the claims as people read them: one row each, with the rows on which it holds."""
    rows = []
    for _, found in table.groupby("name", sort=False):
        first, measured = found.iloc[0], found[found["status"] != NOT_ATTEMPTED]
        rows.append(
            {
                "claim": first["claim"],
                "published": first["published"],
                "data sets": ", ".join(dict.fromkeys(measured["data_set"])),
                "status": _tally(measured) if len(measured) else f"{NOT_ATTEMPTED}: {first['note']}",
                "judge or extractor": first["judge"] if len(measured) else "",
            }
        )
    return pd.DataFrame(rows).set_index("claim")


def _tally(rows: pd.DataFrame) -> str:
    """Return on how many rows a claim holds, and on how many intervals overlap."""
    kinds = ", ".join(dict.fromkeys(rows["status"].str.split(":").str[0]))
    holds, level = rows["status"].str.endswith(": holds").sum(), (rows["note"] == "level").sum()
    return f"{kinds}: holds on {holds} of {len(rows)} rows" + (f", level on {level}" if level else "")


def _selected(table: pd.DataFrame, where: Mapping[str, Cell], path: Path) -> pd.DataFrame:
    found = table
    for column, cell in where.items():
        found = found[found[column] == cell]
    if found.empty:
        raise DataError(f"{path}: found no row with {_in_words(where)}. Compute it, or change config/claims.yaml.")
    return found


def _only(table: pd.DataFrame, where: Mapping[str, Cell], path: Path) -> Row:
    found = _selected(table, where, path)
    if len(found) > 1:
        raise DataError(f"{path}: found {len(found)} rows with {_in_words(where)}, expected one.")
    return found.to_dict("records")[0]


def _bounds(row: Row, claim: ClaimConfig) -> tuple[float, float, float]:
    value = float(row[claim.value])
    if claim.deviation is None:
        return value, float(row[claim.low]), float(row[claim.high])
    deviation = float(row[claim.deviation])
    return (value, value - deviation, value + deviation) if deviation == deviation else (value, nan, nan)


def _note(ours: tuple[float, float, float], other: tuple[float, float, float]) -> str:
    """Say why intervals are not apart: of one seed there is none."""
    if any(map(isnan, (*ours, *other))):
        return "one seed, no interval"
    return "" if apart(ours, other, "above") or apart(ours, other, "below") else "level"


def _over_repeats(rows: pd.DataFrame, claim: ClaimConfig, over: str) -> pd.DataFrame:
    """Return a row for each of ``each``: mean of the repeats, bounds by Student's t, and their n together."""
    grouped = rows.groupby(claim.each, sort=False)
    found = grouped[claim.value].agg(["mean", "sem"]).join(grouped.agg(n=("n", "sum"), draws=(over, "nunique")))
    half = found["sem"] * t.ppf(0.975, found["draws"] - 1)
    bounds = {claim.value: found["mean"], claim.low: found["mean"] - half, claim.high: found["mean"] + half}
    return found.assign(**bounds).reset_index()


def _number_behind(row: Row) -> int:
    return int(row["n"] if "n" in row else row["n_test"])


def _in_words(where: Mapping[str, Cell]) -> str:
    return ", ".join(f"{column} {_cell(value)}" for column, value in where.items())


def _cell(value: Cell) -> str:
    """Return a cell as text; a whole number of a column that has empty cells was read as a float."""
    return f"{value:g}" if isinstance(value, float) else str(value)
