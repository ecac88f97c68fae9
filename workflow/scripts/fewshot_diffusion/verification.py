"""Every stored file against the digest that was recorded when it was written."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from .csv_files import read_csv
from .errors import FewshotError
from .io import WEIGHTS_FILE, read_records, read_tensors, read_weights_provenance
from .records import METADATA, STORED, StoreError, file_sha256, read_record, read_stored, was_adopted


def verify(folders: list[Path]) -> tuple[int, list[str]]:
    """Read every tensor file, record file, table and weights folder below some folders.

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


def verify_stored(stored: Path = STORED, metadata: Path = METADATA) -> tuple[int, list[str]]:
    """Compare restored and committed products with the digests kept beside their records: tables and figures too.

    What is not there, and what a run of one's own made anew, is not compared.

    Returns:
        How many were read, and a message for each that differs.
    """
    try:
        entries = read_stored(stored)
    except StoreError as error:
        return 1, [str(error)]
    digests = {product: entry["sha256"] for product, entry in entries.items() if _is_restored(product, metadata)}
    digests = {product: digest for product, digest in digests.items() if digest is not None}
    problems = [
        f"{product}: has SHA-256 {found}, expected {expected} ({stored}). "
        "Delete it and run `make restore` (a table or figure: `git checkout` it)."
        for product, expected in digests.items()
        if (found := file_sha256(Path(product))) != expected
    ]
    return len(digests), problems


def missing_products(stored: Path = STORED) -> list[str]:
    """Return the stored products that are not here."""
    try:
        entries = read_stored(stored)
    except StoreError:
        return []  # ``verify_stored`` says so
    return [product for product, entry in entries.items() if entry["sha256"] and not Path(product).is_file()]


def verify_remote(remote: Path = Path("dvc-remote")) -> tuple[int, list[str]]:
    """Compare DVC's remote inside the repository with its names: each file is named by the MD5 of its content.

    Returns:
        How many were read, and a message for each that differs.
    """
    paths = sorted(path for path in remote.glob("files/md5/*/*") if path.is_file())
    problems = [
        f"{path}: has MD5 {found}. Run `git checkout -- {path}`, or fetch the repository again."
        for path in paths
        if (found := _md5(path)) != path.parent.name + path.name
    ]
    return len(paths), problems


def _is_restored(product: str, metadata: Path) -> bool:
    record = read_record(product, metadata) if metadata.is_dir() else None
    return Path(product).is_file() and (record is None or was_adopted(record))


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _stored(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if path.name.startswith("."):
            continue  # what a killed job left; `make clean` removes it
        if path.suffix in (".safetensors", ".parquet", ".csv") or path.name == "provenance.json":
            yield path


def _read(path: Path) -> None:
    if path.name in ("provenance.json", WEIGHTS_FILE):
        read_weights_provenance(path.parent)
    elif path.suffix == ".parquet":
        read_records(path)
    elif path.suffix == ".csv":
        read_csv(path)
    else:
        read_tensors(path)
