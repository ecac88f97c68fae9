"""Per-image records as parquet, verified when they are read: pages by their own checksums, the rest by a digest.

Parquet checks the values of the columns; the names of the columns, and what the file says of itself, are ours to check.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from .files import About, atomic_path, corrupt, require_about, require_file, require_names

_KEY = b"about"
_OPTIONS: dict[str, Any] = {
    "write_page_checksum": True,
    "compression": "none",  # images are compressed already, and a codec's version would show in the bytes
    "use_dictionary": False,
    "write_statistics": False,  # of bytes, the smallest and the largest image once more
}


def write_records(path: Path, frame: pd.DataFrame, about: About) -> None:
    """Write per-image records as parquet, with what the file says of itself in the schema."""
    table = pa.Table.from_pandas(frame, preserve_index=False)
    sealed = {**about, "sha256": _digest(about, table.schema)}
    table = table.replace_schema_metadata({_KEY: json.dumps(sealed, sort_keys=True)})
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary, **_OPTIONS)


def read_records(path: Path, *columns: str, expected: About | None = None) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Read records and what the file says of itself.

    Args:
        path: File that ``write_records`` wrote.
        columns: Columns that must be there.
        expected: What the file must say of itself.

    Raises:
        CorruptFileError: If the file is missing, damaged or another than expected.
    """
    require_file(path)
    try:
        table = pq.read_table(path, page_checksum_verification=True)
        about = json.loads((table.schema.metadata or {})[_KEY])
        found = about.pop("sha256", None)
        frame = table.to_pandas()
    except (pa.ArrowException, KeyError, ValueError, OSError) as error:
        raise corrupt(path, f"cannot be read as a record file ({error})") from error
    if found != _digest(about, table.schema):
        raise corrupt(path, f"does not match the SHA-256 of its own description ({found})")
    require_names(path, "columns", table.column_names, columns)
    require_about(path, about, expected or {})
    return frame, about


def _digest(about: About, schema: pa.Schema) -> str:
    columns = [(name, str(kind)) for name, kind in zip(schema.names, schema.types, strict=True)]
    return hashlib.sha256(json.dumps([dict(about), columns], sort_keys=True).encode()).hexdigest()
