"""Data sets in parquet files, as the Hugging Face hub keeps them: images and labels are columns."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from ..config.sources import ParquetConfig
from ..config.splits import SHARES
from ..errors import DataError
from .index import Row, SourceIndex, known_columns, some
from .parquet_images import ParquetImages, opened

_SHARD = re.compile(r"(?P<part>.+)-(?P<number>\d+)-of-(?P<all>\d+)")
_TRUTH = ({False, True}, {-1, 1})  # 0 and 1 are among the first


@dataclass(frozen=True)
class _Shard:
    """One file: its name in the folder, and the part of the data set that it holds rows of."""

    name: str
    part: str


def list_mirror(settings: ParquetConfig, attributes: Sequence[str]) -> SourceIndex:
    """List the images, in the order of the files and of their rows; no image is opened.

    Args:
        settings: Folder, and the columns.
        attributes: Those of ``settings.attributes`` that are needed.

    Raises:
        DataError: If a file or column is missing, or a label is none.
    """
    folder = settings.path.parent if settings.path.is_file() else settings.path
    shards = _shards(settings.path, folder)
    place = ParquetImages(folder, settings.image)
    rows: list[Row] = []
    holders: dict[str, set[str]] = {ours: set() for ours in attributes}
    classes: list[str] = []
    for part in sorted({shard.part for shard in shards}):
        first = len(rows)
        for shard in (shard for shard in shards if shard.part == part):
            table, named = _labels(settings, folder / shard.name, attributes)
            classes = named or classes
            names = _names(settings, folder / shard.name, table, part, len(rows) - first)
            labels = _classes(settings, folder / shard.name, table, named)
            splits = _splits(settings, part)
            rows += [
                Row(name, place, f"{shard.name}/{position}", label=label, splits=splits)
                for position, (name, label) in enumerate(zip(names, labels, strict=True))
            ]
            for ours in attributes:
                truth = _truth(folder / shard.name, table, settings.attributes[ours])
                holders[ours] |= {name for name, has in zip(names, truth, strict=True) if has}
    found = classes or sorted({row.label for row in rows} - {""}, key=lambda label: (len(label), label))
    return SourceIndex(settings.path, rows, found, {ours: frozenset(names) for ours, names in holders.items()})


def _shards(path: Path, folder: Path) -> list[_Shard]:
    files = [path] if path.is_file() else sorted(path.rglob("*.parquet"))
    if not files:
        raise DataError(f"{path}: found no .parquet file, expected such as data/train-00000-of-00001.parquet.")
    found, announced = [], {}
    for file in files:
        shard = _SHARD.fullmatch(file.stem)
        part = shard["part"] if shard else file.parent.name if file.stem.isdecimal() else file.stem
        announced[part] = int(shard["all"]) if shard and path.is_dir() else 0
        found.append(_Shard(file.relative_to(folder).as_posix(), part))
    for part, number in announced.items():
        there = sum(shard.part == part for shard in found)
        if number and there != number:
            raise DataError(f"{path}: found {there} files of {part}, expected {number}. Fetch the others.")
    return found


def _labels(settings: ParquetConfig, path: Path, attributes: Sequence[str]) -> tuple[pa.Table, list[str]]:
    """Return the columns of a file that are not images, and the names of its classes, if it has them."""
    with opened(path) as file:
        schema, columns = file.schema_arrow, [settings.attributes[ours] for ours in attributes]
        columns += [settings.label] if settings.label else []
        known_columns(path, schema.names, [*columns, settings.image], "column")
        kind = schema.field(settings.image).type
        has_path = pa.types.is_struct(kind) and kind.get_field_index("path") >= 0
        if settings.names == "path" and not has_path:
            raise DataError(f"{path}, column {settings.image!r}: has no paths; set data.parquet.names: position.")
        columns += [f"{settings.image}.path"] if settings.names == "path" else []
        table = file.read(columns=columns) if columns else pa.table({"": pa.nulls(file.metadata.num_rows)})
    return table, _named_classes(schema, settings.label)


def _named_classes(schema: pa.Schema, label: str | None) -> list[str]:
    try:
        features: Any = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return [str(name) for name in features[label]["names"]]
    except (KeyError, TypeError, ValueError):
        return []  # not written by their library, or no column of classes


def _names(settings: ParquetConfig, path: Path, table: pa.Table, part: str, before: int) -> list[str]:
    if settings.names == "position":
        return [f"{part}/{before + position}" for position in range(table.num_rows)]
    names = [image["path"] for image in table.column(settings.image).to_pylist()]
    if None in names:
        raise DataError(f"{path}, row {names.index(None)}: has no path; set data.parquet.names: position.")
    return names


def _classes(settings: ParquetConfig, path: Path, table: pa.Table, named: list[str]) -> list[str]:
    if settings.label is None:
        return [""] * table.num_rows
    values = _values(path, table, settings.label)
    if not named:
        return [str(value) for value in values]
    if wrong := [value for value in values if not (isinstance(value, int) and 0 <= value < len(named))]:
        raise DataError(f"{path}, column {settings.label!r}: found {wrong[0]!r}, expected 0 to {len(named) - 1}.")
    return [named[value] for value in values]


def _truth(path: Path, table: pa.Table, column: str) -> list[bool]:
    values = _values(path, table, column)
    if not any(set(values) <= known for known in _TRUTH):
        found = some(map(str, set(values)))
        raise DataError(f"{path}, column {column!r}: found {found}, expected true and false, 0 and 1, or -1 and 1.")
    return [value == 1 for value in values]


def _values(path: Path, table: pa.Table, column: str) -> list[Any]:
    values: list[Any] = table.column(column).to_pylist()
    if None in values:
        raise DataError(f"{path}, column {column!r}, row {values.index(None)}: found no value.")
    return values


def _splits(settings: ParquetConfig, part: str) -> tuple[str, ...]:
    """Return the splits that may hold images of a part; of one that is not named, those that no other has."""
    if part in settings.parts:
        return tuple(settings.parts[part])
    taken = {split for splits in settings.parts.values() for split in splits}
    return tuple(split for split in SHARES if split not in taken) if taken else ()
