"""Every stored file against the digest that was recorded when it was written or read.

Files that carry their digest (``verify``) show damage, not that another whole file lies in their place: that shows in
the digests kept beside restored products (``verify_stored``) and in what Snakemake recorded of the inputs of its jobs
(``verify_inputs``). Beyond these, nothing is recorded of: figures, logs, tables and other last products of one's own
runs as long as no job has read them; the seconds that single work units took, and the accuracies of single seeds of a
cell (``seed-*.json``), each of which could be exchanged with another of its kind; ``.snakemake`` itself.
"""

import hashlib
import os
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from torch import Tensor

from ..errors import FewshotError
from ..storage.files import corrupt, read_sealed_json
from ..storage.records import read_records
from ..storage.tables import read_csv
from ..storage.tensors import read_tensors
from ..storage.weights import WEIGHTS_FILE, WEIGHTS_FILES, read_weights_provenance
from .records import (
    METADATA,
    STORED,
    Record,
    StoreError,
    file_sha256,
    read_record,
    read_stored,
    recorded_products,
    was_adopted,
)

_SEALED_JSON = re.compile(r".*\.timing\.json|(unit|seed)-\d+\.json")


_UNIT = re.compile(r"unit-\d+\.safetensors")


def verify(folders: list[Path]) -> tuple[int, list[str]]:
    """Read every tensor file, record file, table, sealed JSON file and weights folder below some folders.

    Returns:
        How many were read, and a message for each that does not match its record, or cannot be read at all.
    """
    problems: list[str] = []
    number = 0
    for folder in folders:
        for path, read in _stored(folder, problems):
            number += 1
            try:
                file_sha256(path)  # a disk error shows here; memory that a file is mapped to would kill the process
                read(path)
            except FewshotError as error:
                problems.append(str(error))
            except OSError as error:
                problems.append(_unreadable(path, error))
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
        if (found := _digest(Path(product), file_sha256)) != expected
    ]
    return len(digests), problems


def verify_inputs(stored: Path = STORED, metadata: Path = METADATA) -> tuple[int, list[str]]:
    """Compare what jobs read with what is there now: a whole file in another's place is found, whatever its kind.

    A record of a product holds the SHA-256 of every input that its job read, whatever its size (``profiles/default``).
    Products that are not here, incomplete records, and inputs that are not here are passed over.

    Returns:
        How many inputs were read, and a message for each from which a product was not made as it is.
    """
    read = {name: made for name, made in _inputs(stored, metadata).items() if os.path.isfile(name)}
    problems = []
    for name, made in read.items():
        found = _digest(Path(name), file_sha256)
        others = [product for product, checksum in made.items() if checksum != found]
        if others:
            more = f" (and {len(others) - 1} more)" if others[1:] else ""
            problems.append(
                f"{name}: has SHA-256 {found}, but {others[0]}{more} was made from {made[others[0]]}. Either it was "
                "replaced: delete it, then `make restore`, or make it again; or it was made anew since: run "
                f"`snakemake {others[0]}`, with its --configfile."
            )
    return len(read), problems


def missing_products(stored: Path = STORED) -> list[str]:
    """Return the stored products that are not here."""
    try:
        entries = read_stored(stored)
    except StoreError:
        return []  # ``verify_stored`` says so
    return [product for product, entry in entries.items() if entry["sha256"] and not os.path.isfile(product)]


def verify_remote(remote: Path = Path("dvc-remote")) -> tuple[int, list[str]]:
    """Compare DVC's remote inside the repository with its names: each file is named by the MD5 of its content.

    Returns:
        How many were read, and a message for each that differs.
    """
    paths = sorted(path for path in remote.glob("files/md5/*/*") if path.is_file())
    problems = [
        f"{path}: has MD5 {found}. Run `git checkout -- {path}`, or fetch the repository again."
        for path in paths
        if (found := _digest(path, _md5)) != path.parent.name + path.name
    ]
    return len(paths), problems


def _is_restored(product: str, metadata: Path) -> bool:
    record = read_record(product, metadata) if metadata.is_dir() else None
    return os.path.isfile(product) and (record is None or was_adopted(record))


def _inputs(stored: Path, metadata: Path) -> dict[str, dict[str, str]]:
    """Return input -> product -> SHA-256 of the input that the product was made from."""
    found: dict[str, dict[str, str]] = {}
    for product, record in _records(stored, metadata).items():
        if os.path.isfile(product) and not record.get("incomplete"):
            for name, checksum in (record.get("input_checksums") or {}).items():
                found.setdefault(name, {})[product] = str(checksum).removeprefix("sha256:")
    return found


def _records(stored: Path, metadata: Path) -> dict[str, Record]:
    """Return product -> Snakemake's record; the stored one of restored products that no snakemake call has seen yet."""
    own = {product: read_record(product, metadata) for product in recorded_products(metadata)}
    try:
        entries = read_stored(stored)
    except StoreError:
        entries = {}  # ``verify_stored`` says so
    restored = {product: entry["record"] for product, entry in entries.items() if entry["sha256"]}
    return restored | {product: record for product, record in own.items() if record is not None}


def _digest(path: Path, digest_of: Callable[[Path], str]) -> str:
    """Return a file's digest, or why there is none: that equals no digest."""
    try:
        return digest_of(path)
    except OSError as error:
        return f"unknown ({error.strerror})"


def _unreadable(path: Path, error: OSError) -> str:
    return f"{path}: cannot be read ({error.strerror}). Check the disk; delete it and run the same command again."


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _stored(folder: Path, problems: list[str]) -> Iterator[tuple[Path, Callable[[Path], object]]]:
    """Yield every file that carries a digest, with what reads it; add folders that cannot be listed to ``problems``."""

    def note(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            problems.append(_unreadable(Path(error.filename), error))

    for parent, folders, names in os.walk(folder, onerror=note):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        # What begins with a dot is left by a killed job; `make clean` removes it.
        for path in (Path(parent, name) for name in sorted(names) if not name.startswith(".")):
            if (read := _reader(path)) is not None:
                yield path, read


def _reader(path: Path) -> Callable[[Path], object] | None:
    """Return what reads a file of this name; None if it carries no digest."""
    if path.name in WEIGHTS_FILES:
        return _read_weights
    if _SEALED_JSON.fullmatch(path.name):
        return read_sealed_json
    if _UNIT.fullmatch(path.name):
        return _read_unit
    if path.name == "state.safetensors":
        return _read_state
    return {".safetensors": read_tensors, ".parquet": read_records, ".csv": read_csv}.get(path.suffix)


def _read_weights(path: Path) -> None:
    """Compare a weights folder with its record: once, when the record is read, or the weights that lack one."""
    record = path.parent / "provenance.json"
    if path == record or (path.name == WEIGHTS_FILE and not record.is_file()):
        with suppress(OSError):  # of another file of the folder, which is read by itself
            read_weights_provenance(path.parent)


def _read_state(path: Path, *names: str) -> dict[str, Tensor]:
    """Read a training's state or a work unit: it lies in the folder of its own computation."""
    tensors, provenance = read_tensors(path, *names)
    if provenance.get("identity") != path.parent.name:
        raise corrupt(path, f"was written by computation {provenance.get('identity')}, not by that of its folder")
    return tensors


def _read_unit(path: Path) -> None:
    """Read a work unit, which is named by its first seed."""
    [first] = _read_state(path, "seeds")["seeds"][:1].tolist() or [None]
    if first != int(path.stem.removeprefix("unit-")):
        raise corrupt(path, f"holds the samples from seed {first}, expected those from the seed in its name")
