"""Tables of numbers as CSV: read by people and spreadsheets; Git knows their digests."""

import io
from pathlib import Path

import pandas as pd

from ..data.lists import read_text
from ..errors import DataError
from .files import corrupt, require_file, write_text


def write_csv(path: Path, frame: pd.DataFrame) -> None:
    """Write a table of numbers atomically, six significant digits."""
    write_text(path, frame.to_csv(index=False, float_format="%.6g", lineterminator="\n"))


def read_csv(path: Path, *columns: str) -> pd.DataFrame:
    """Read a table that ``write_csv`` wrote.

    Raises:
        CorruptFileError: If it is no table, has no rows, or lacks one of these columns.
    """
    require_file(path)
    try:
        frame = pd.read_csv(path)
    except (ValueError, OSError) as error:  # of pandas' parser and of UTF-8
        raise corrupt(path, f"cannot be read as a table ({error})") from error
    missing = [column for column in columns if column not in frame]
    if missing or frame.empty:
        found = "no rows" if frame.empty else f"the columns {', '.join(frame.columns)}"
        raise corrupt(path, f"holds {found}, expected rows with {', '.join(missing) or 'values'}")
    return frame


def read_source_csv(path: Path, *columns: str) -> pd.DataFrame:
    """Read a table that people write.

    Raises:
        DataError: If it is no table with at least these columns.
    """
    try:
        frame = pd.read_csv(io.StringIO(read_text(path)))
    except ValueError as error:
        raise DataError(f"{path}: cannot be read as a table ({str(error).strip()}).") from error
    if not set(columns) <= set(frame.columns):
        raise DataError(f"{path}: found columns {list(frame.columns)}, expected {sorted(columns)}.")
    return frame


def join_csv(parts: list[Path], output: Path) -> None:
    """Join tables of the same columns.

    Args:
        parts: CSV files.
        output: CSV to write.
    """
    write_csv(output, pd.concat([read_csv(path) for path in parts], ignore_index=True))
