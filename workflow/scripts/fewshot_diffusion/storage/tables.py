"""Tables of numbers as CSV: read by people and spreadsheets, and still verified when read.

The last column, ``digest``, is the same in all rows: the beginning of the SHA-256 of the table without it.
"""

import hashlib
from pathlib import Path

import pandas as pd

from ..errors import DataError
from .files import corrupt, require_file, write_text

DIGEST = "digest"


def write_csv(path: Path, frame: pd.DataFrame) -> None:
    """Write a table of numbers atomically, six significant digits, with its digest as last column."""
    write_text(path, _sealed(frame))


def read_csv(path: Path, *columns: str) -> pd.DataFrame:
    """Read a table that ``write_csv`` wrote, without its digest.

    Raises:
        CorruptFileError: If a byte differs from what was written, it has no rows, or it lacks one of these columns.
    """
    require_file(path)
    try:
        cells = pd.read_csv(path, dtype=str, keep_default_na=False)
        unchanged = _sealed(cells.drop(columns=DIGEST)).encode() == path.read_bytes()
    except (ValueError, KeyError, OSError) as error:  # of pandas' parser and of UTF-8
        raise corrupt(path, f"cannot be read as a table with a digest ({error})") from error
    if not unchanged:
        raise corrupt(path, "does not match the digest that its rows carry")
    frame = pd.read_csv(path).drop(columns=DIGEST)
    missing = [column for column in columns if column not in frame]
    if missing or frame.empty:
        found = "no rows" if frame.empty else f"the columns {', '.join(frame.columns)}"
        raise corrupt(path, f"holds {found}, expected rows with {', '.join(missing) or 'values'}")
    return frame


def read_source_csv(path: Path, *columns: str) -> pd.DataFrame:
    """Read a table that people write, which has no digest.

    Raises:
        DataError: If it is no table with at least these columns.
    """
    try:
        frame = pd.read_csv(path)
    except (ValueError, OSError) as error:
        raise DataError(f"{path}: cannot be read as a table ({error}).") from error
    if not set(columns) <= set(frame.columns):
        raise DataError(f"{path}: found columns {list(frame.columns)}, expected {sorted(columns)}.")
    return frame


def read_list(path: Path) -> pd.DataFrame:
    """Read a list that a rule drew (it has a digest) or that people wrote (it has none).

    Raises:
        CorruptFileError: If it has a digest that does not match.
        DataError: If it has none and is no table.
    """
    require_file(path)
    with path.open("rb") as file:
        has_digest = file.readline().rstrip().endswith(f",{DIGEST}".encode())
    return read_csv(path) if has_digest else read_source_csv(path)


def _sealed(frame: pd.DataFrame) -> str:
    return _text(frame.assign(**{DIGEST: hashlib.sha256(_text(frame).encode()).hexdigest()[:16]}))


def _text(frame: pd.DataFrame) -> str:
    return frame.to_csv(index=False, float_format="%.6g", lineterminator="\n")
