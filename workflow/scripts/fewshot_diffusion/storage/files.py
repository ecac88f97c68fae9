"""Files that survive: atomic writes, digests, errors that say what to do. Nothing here can execute what it reads."""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import CorruptFileError

Provenance = Mapping[str, Any]


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success flush it to disk and rename it into place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb+") as written:
            os.fsync(written.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes) -> None:
    """Write ``data`` atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Write ``text`` atomically as UTF-8."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` atomically as sorted, indented JSON."""
    write_text(path, _json_text(value))


def _json_text(value: Any) -> str:
    return json.dumps(value, indent=2, sort_keys=True) + "\n"


def sha256(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint(*parts: Any) -> str:
    """Return a short digest of JSON-serialisable ``parts``: the identity of a computation."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]


def write_sealed_json(path: Path, value: Provenance) -> None:
    """Write a small record that later work relies on: sorted JSON with a digest over the rest."""
    write_json(path, {**value, "sha256": _seal(value, "")})


def read_sealed_json(path: Path) -> dict[str, Any]:
    """Read what ``write_sealed_json`` wrote; raise ``CorruptFileError`` unless every byte is as it was written."""
    require_file(path)
    try:
        value = dict(json.loads(path.read_bytes()))
    except (ValueError, TypeError) as error:
        raise corrupt(path, f"cannot be read as a JSON record ({error})") from error
    _check_digest(path, value, "")
    if path.read_bytes() != _json_text(value).encode():
        raise corrupt(path, "was changed after it was written")
    return {key: found for key, found in value.items() if key != "sha256"}


def _require(path: Path, what: str, found: Iterable[str], expected: Sequence[str]) -> None:
    if not set(expected) <= set(found):
        raise corrupt(path, f"holds the {what} {', '.join(sorted(found))}; expected {', '.join(expected)}")


def require_file(path: Path) -> None:
    """Raise ``CorruptFileError`` unless ``path`` is a file with content."""
    if not path.is_file() or path.stat().st_size == 0:
        found = "an empty file" if path.is_file() else "nothing"
        raise corrupt(path, f"holds {found}, expected a file with content")


def corrupt(path: Path, what: str) -> CorruptFileError:
    """Return the error for an unusable file, with the way out."""
    return CorruptFileError(f"{path}: {what}. Delete it and run the same command again.")


def _sealed(provenance: Provenance, content_digest: str) -> str:
    """Return the header of a file: its provenance as JSON, with a digest over that and the content."""
    return json.dumps({**provenance, "sha256": _seal(provenance, content_digest)}, sort_keys=True)


def _seal(provenance: Provenance, content_digest: str) -> str:
    about = json.dumps({key: value for key, value in provenance.items() if key != "sha256"}, sort_keys=True)
    return hashlib.sha256(f"{about}{content_digest}".encode()).hexdigest()


def _check_digest(path: Path, provenance: Provenance, content_digest: str) -> None:
    found = _seal(provenance, content_digest)
    if provenance.get("sha256") != found:
        raise corrupt(path, f"has digest {found}, expected {provenance.get('sha256')}")
