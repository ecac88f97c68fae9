"""The table of Table 1's experiment: rows of all targets, and the paper's numbers."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from ..config.evaluation import ReportConfig
from ..storage.tables import read_csv, read_source_csv, write_csv
from .evaluation import JUDGE_COLUMNS, TABLE_COLUMNS

PUBLISHED_METHODS = {"ours": "exact"}
"""The paper's own row is the exact mode; its other methods keep their names."""


def make_attributes_table(
    settings: ReportConfig, distances: list[Path], shares: list[Path], output: Path, judge_output: Path
) -> None:
    """Join the rows of all classes into the tables that people read, with the paper's numbers beside them.

    Args:
        settings: Section report, JSON.
        distances: CSV of each class.
        shares: CSV of each class.
        output: CSV to write: distances.
        judge_output: CSV to write: the judge's shares.
    """
    rows = [read_csv(path, *TABLE_COLUMNS) for path in distances]
    write_csv(output, attribute_table(rows, settings))
    write_csv(judge_output, judge_table([read_csv(path, *JUDGE_COLUMNS) for path in shares], settings.kind))


def attribute_table(parts: Sequence[pd.DataFrame], settings: ReportConfig) -> pd.DataFrame:
    """Join the rows of all targets, and the paper's of the data sets that ours stands for.

    In our own rows a number of the paper's stands only if they reproduce its row: same attribute, method and metric.

    Args:
        parts: Rows of each target, ``TABLE_COLUMNS``.
        settings: What our rows are, and which of the paper's stand beside them.
    """
    measured = pd.concat(parts, ignore_index=True).assign(kind=settings.kind)
    paper_data_sets = settings.paper_data_sets(measured["data_set"].iloc[0])
    if settings.published is None or not paper_data_sets:
        return measured.reindex(columns=TABLE_COLUMNS)
    paper = published_rows(read_published(settings.published))
    paper = paper[paper["data_set"].isin(paper_data_sets)]
    if settings.kind == "reproduced":
        measured["published"] = [_published_value(row, paper) for row in measured.itertuples()]
    return pd.concat([measured, paper], ignore_index=True).reindex(columns=TABLE_COLUMNS)


def published_rows(published: pd.DataFrame) -> pd.DataFrame:
    """Return the poster's Table 1 in our columns; ``seeds`` and intervals are unknown."""
    rows = published[published["item"] == "table1"]
    return pd.DataFrame(
        {
            "data_set": rows["data_set"],
            "attribute": rows["row"],
            "method": rows["method"].replace(PUBLISHED_METHODS),
            "metric": rows["metric"],
            "value": rows["value"],
            "published": rows["value"],
            "kind": "published",
        }
    ).reindex(columns=TABLE_COLUMNS)


def read_published(path: Path) -> pd.DataFrame:
    """Read the paper's numbers.

    Raises:
        DataError: If a column is missing.
    """
    return read_source_csv(path, "item", "data_set", "row", "method", "metric", "value", "source")


def _published_value(row: object, paper: pd.DataFrame) -> float:
    """Return the paper's number for the same attribute, method and metric; NaN where there is none."""
    same = paper[
        (paper["attribute"] == getattr(row, "attribute"))  # noqa: B009 - itertuples is untyped
        & (paper["method"] == getattr(row, "method"))  # noqa: B009
        & (paper["metric"] == getattr(row, "metric"))  # noqa: B009
    ]
    return float(same["value"].iloc[0]) if len(same) else float("nan")


def judge_table(parts: Sequence[pd.DataFrame], kind: str) -> pd.DataFrame:
    """Join the judge's shares of all targets."""
    return pd.concat(parts, ignore_index=True).assign(kind=kind)
