"""Per-image records as parquet, sealed: pages by their own checksums, everything once more by one SHA-256.

The pages' checksums keep the decoder from damaged input; the SHA-256, over names, types, values and what the file says
of itself, also covers what no page holds. The bytes are a function of the records alone: no codec, no pandas metadata.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from .files import About, atomic_path, corrupt, require_about, require_file, require_names, seal, unseal

_KEY = b"about"
_AT_ONCE = 256  # values that are copied at a time
_OPTIONS: dict[str, Any] = {
    "write_page_checksum": True,
    "store_schema": False,  # of Arrow: everything else twice
    "compression": "none",  # images are compressed already, and a codec's version would show in the bytes
    "use_dictionary": False,
    "write_statistics": False,  # of bytes, the smallest and the largest image once more
}


def write_records(path: Path, frame: pd.DataFrame, about: About) -> None:
    """Write per-image records as parquet.

    Args:
        path: File to write.
        frame: Columns of numbers, truth values, texts or bytes; its index is left out.
        about: What the file says of itself, JSON-serialisable.
    """
    stream_records(path, [frame], about)


def stream_records(path: Path, frames: Iterable[pd.DataFrame], about: About) -> None:
    """Write records of which a part is in memory at a time; a single part gives the bytes of ``write_records``.

    Args:
        path: File to write.
        frames: At least one, of the same columns; each becomes a row group.
        about: What the file says of itself, JSON-serialisable.
    """
    tables = (_plain(pa.Table.from_pandas(frame, preserve_index=False)) for frame in frames)
    first, digests = next(tables), []
    with atomic_path(path) as temporary, pq.ParquetWriter(temporary, first.schema, **_OPTIONS) as writer:
        for table in chain([first], tables):
            writer.write_table(table)
            digests.append(_digest(about, table))
        writer.add_key_value_metadata({_KEY: seal(about, _joined(digests))})


def read_records(path: Path, *columns: str, expected: About | None = None) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Read records and what the file says of itself.

    Args:
        path: File that ``write_records`` wrote.
        columns: Columns that must be there.
        expected: What the file must say of itself.

    Raises:
        CorruptFileError: If the file is missing, damaged or another than expected.
    """
    parts = list(iter_records(path, *columns, expected=expected))
    frames = [frame for frame, _ in parts]
    return frames[0] if len(frames) == 1 else pd.concat(frames, ignore_index=True), parts[0][1]


def iter_records(
    path: Path, *columns: str, expected: About | None = None
) -> Iterator[tuple[pd.DataFrame, dict[str, Any]]]:
    """Yield records part by part, and each time what the file says of itself; see ``read_records``.

    That the whole is undamaged is known at the end alone: nothing made of a part counts before.
    """
    require_file(path)
    digests: list[str] = []
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            about, digest = unseal((file.schema_arrow.metadata or {})[_KEY])
            for table in _groups(file):
                digests.append(_digest(about, table))
                if file.num_row_groups <= 1:
                    _require_whole(path, digests, digest)
                require_names(path, "columns", table.column_names, columns)
                require_about(path, about, expected or {})
                yield table.to_pandas(), about
    except (pa.ArrowException, KeyError, ValueError, OSError) as error:
        raise corrupt(path, f"cannot be read as a record file ({error})") from error
    _require_whole(path, digests, digest)


def read_beside(path: Path, heavy: str) -> pd.DataFrame:
    """Read all columns but a heavy one of a file that ``iter_records`` found to be whole.

    Kept from its parts, they would keep these parts' memory from being used again.
    """
    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        frame: pd.DataFrame = file.read([name for name in file.schema_arrow.names if name != heavy]).to_pandas()
    return frame


def count_records(path: Path) -> int:
    """Return how many records a file holds, without reading any.

    Raises:
        CorruptFileError: If it is missing or no such file.
    """
    require_file(path)
    try:
        return int(pq.read_metadata(path).num_rows)
    except (pa.ArrowException, ValueError, OSError) as error:
        raise corrupt(path, f"cannot be read as a record file ({error})") from error


def _groups(file: pq.ParquetFile) -> Iterator[pa.Table]:
    """Yield the row groups; of a file without any, an empty table."""
    return map(file.read_row_group, range(file.num_row_groups)) if file.num_row_groups else iter([file.read()])


def _require_whole(path: Path, digests: Sequence[str], expected: str) -> None:
    if _joined(digests) != expected:
        raise corrupt(path, f"does not match the SHA-256 in its header ({expected})")


def _joined(digests: Sequence[str]) -> str:
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


def _plain(table: pa.Table) -> pa.Table:
    """Return the table without pandas' metadata, and with the one type of text that parquet has."""
    kinds = [pa.string() if pa.types.is_large_string(field.type) else field.type for field in table.schema]
    return table.cast(pa.schema(list(zip(table.column_names, kinds, strict=True))))


def _digest(about: About, table: pa.Table) -> str:
    digest = hashlib.sha256(json.dumps([dict(about), table.num_rows], sort_keys=True).encode())
    for name, column in zip(table.column_names, table.columns, strict=True):
        digest.update(f"{name}:{column.type};".encode())
        for part in _values(column):
            digest.update(part)
    return digest.hexdigest()


def _values(column: pa.ChunkedArray) -> Iterator[bytes]:
    """Yield bytes that differ whenever the values of a column do."""
    yield column.is_null().to_numpy().tobytes()
    found = column.drop_null()
    if pa.types.is_string(column.type) or pa.types.is_binary(column.type):
        yield pc.binary_length(found).to_numpy().tobytes()
        for start in range(0, len(found), _AT_ONCE):
            yield b"".join(found.slice(start, _AT_ONCE).cast(pa.binary()).to_pylist())
    else:
        yield np.asarray(found).tobytes()
