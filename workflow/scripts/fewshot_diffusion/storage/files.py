"""Files that survive: atomic writes, digests, errors that say what to do. Nothing here can execute what it reads."""

import hashlib
import json
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import CorruptFileError

About = Mapping[str, Any]
"""What a file says of itself: what it was made from and with, JSON-serialisable."""


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success flush it to disk and rename it into place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}{path.suffix}")
    temporary.open("xb").close()
    mode = temporary.stat().st_mode  # as the umask says; of safetensors, files would be the owner's alone
    try:
        yield temporary
        with temporary.open("rb+") as written:
            os.fsync(written.fileno())
        temporary.chmod(mode)
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
    write_text(path, json.dumps(value, indent=2, sort_keys=True) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; raise ``CorruptFileError`` unless it is one."""
    require_file(path)
    try:
        return _json_object(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise corrupt(path, f"cannot be read as a JSON object ({error})") from error


def seal(about: About, digest: str) -> str:
    """Return ``about`` with a digest of the content, as the one JSON text that a file's header holds."""
    return json.dumps({**about, "sha256": digest}, sort_keys=True)


def unseal(text: str | bytes) -> tuple[dict[str, Any], str]:
    """Return what a header says of its file, and the digest of the content.

    Raises:
        ValueError: If ``seal`` did not write the text.
    """
    about = _json_object(text)
    return about, str(about.pop("sha256", None))


def sha256(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint(*parts: Any) -> str:
    """Return a short digest of JSON-serialisable ``parts``: the identity of a computation."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]


def require_file(path: Path) -> None:
    """Raise ``CorruptFileError`` unless ``path`` is a file with content."""
    if not path.is_file():
        raise CorruptFileError(f"{path}: there is no such file. Run the step that writes it, or correct the path.")
    if path.stat().st_size == 0:
        raise corrupt(path, "found an empty file, expected content")


def require_names(path: Path, what: str, found: Iterable[str], expected: Sequence[str]) -> None:
    """Raise ``CorruptFileError`` unless a file holds all tensors or columns of these names."""
    if not set(expected) <= set(found):
        raise corrupt(path, f"holds the {what} {', '.join(sorted(found))}; expected {', '.join(expected)}")


def require_about(path: Path, about: About, expected: About) -> None:
    """Raise ``CorruptFileError`` unless a file says of itself what is expected: whole, but in another's place."""
    for key, value in expected.items():
        if about.get(key) != value:
            raise corrupt(path, f"was made for {key} {about.get(key)!r}, expected {value!r}")


def is_stored(path: Path) -> bool:
    """Return whether DVC stores a file or folder, or one that it lies in: then ``make restore`` brings it."""
    return any(Path(f"{place}.dvc").is_file() for place in (path, *path.parents))


def require_sisters(shards: Sequence[tuple[Path, About]]) -> None:
    """Raise ``CorruptFileError`` unless shards were written by one computation; names one that was not."""
    first, expected = shards[0]
    for path, about in shards[1:]:
        for key in sorted({*expected, *about}):
            if about.get(key) != expected.get(key):
                raise corrupt(
                    path, f"does not belong with {first}: {key} is {about.get(key)}, there {expected.get(key)}"
                )


def _json_object(text: str | bytes) -> dict[str, Any]:
    found = json.loads(text)
    if not isinstance(found, dict):
        raise ValueError(f"found a {type(found).__name__}")
    return found


def corrupt(path: Path, what: str) -> CorruptFileError:
    """Return the error for an unusable file, with the way out."""
    return CorruptFileError(f"{path}: {what}. Delete it and run the same command again.")
