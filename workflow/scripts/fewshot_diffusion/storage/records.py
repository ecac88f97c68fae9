"""Per-image records as parquet, verified when they are read."""

import hashlib
import io
import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from .files import Provenance, _require, corrupt, require_file, write_bytes
from .tensors import _KEY

_BLANK = b"0" * 64


_SEAL = re.compile(rb"whole_file_sha256.{1,4}?([0-9a-f]{64})", re.DOTALL)


def write_records(path: Path, frame: pd.DataFrame, provenance: Provenance) -> None:
    """Write per-image records as parquet, with provenance, and with a digest over every byte of the file."""
    table = pa.Table.from_pandas(frame, preserve_index=False)
    about = json.dumps(dict(provenance), sort_keys=True)
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), _KEY: about})
    buffer = io.BytesIO()
    with pq.ParquetWriter(buffer, table.schema) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({"whole_file_sha256": _BLANK})
    write_bytes(path, _sealed_bytes(buffer.getvalue()))


def read_records(path: Path, *columns: str) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Read records and provenance; raise ``CorruptFileError`` unless the digest matches and these columns are there."""
    require_file(path)
    data = path.read_bytes()
    seal = _find_seal(data)
    if seal is None or _sealed_bytes(data) != data:  # before anything is parsed
        raise corrupt(path, "does not match the digest that it carries, or is no record file")
    try:
        table = pq.read_table(io.BytesIO(data))
        provenance = json.loads((table.schema.metadata or {})[_KEY.encode()])
    except (pa.ArrowException, KeyError, ValueError, OSError) as error:
        raise corrupt(path, f"cannot be read as a record file ({error})") from error
    _require(path, "columns", table.column_names, columns)
    return table.to_pandas(), provenance


def _find_seal(data: bytes) -> slice | None:
    """Return where a parquet file holds its digest: at its end, behind the content."""
    found = None
    for found in _SEAL.finditer(data):  # noqa: B007 - the last one counts
        pass
    return slice(*found.span(1)) if found else None


def _sealed_bytes(data: bytes) -> bytes:
    """Return a parquet file with its digest: over the file in which the digest's place is blank."""
    place = _find_seal(data)
    assert place is not None
    head, tail = data[: place.start], data[place.stop :]
    return head + hashlib.sha256(head + _BLANK + tail).hexdigest().encode() + tail
