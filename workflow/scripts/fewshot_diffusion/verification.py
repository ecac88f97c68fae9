"""Every stored file against the digest that was recorded when it was written."""

from collections.abc import Iterator
from pathlib import Path

from .errors import FewshotError
from .io import WEIGHTS_FILE, read_records, read_tensors, read_weights_provenance


def verify(folders: list[Path]) -> tuple[int, list[str]]:
    """Read every tensor file, record file and weights folder below some folders.

    Returns:
        How many were read, and a message for each that does not match its record.
    """
    problems = []
    number = 0
    for folder in folders:
        for path in _stored(folder):
            number += 1
            try:
                _read(path)
            except FewshotError as error:
                problems.append(str(error))
    return number, problems


def _stored(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if path.name.startswith("."):
            continue  # what a killed job left; `make clean` removes it
        if path.suffix in (".safetensors", ".parquet") or path.name == "provenance.json":
            yield path


def _read(path: Path) -> None:
    if path.name in ("provenance.json", WEIGHTS_FILE):
        read_weights_provenance(path.parent)
    elif path.suffix == ".parquet":
        read_records(path)
    else:
        read_tensors(path)
