"""What is known of a file before it is fetched: its size and digests, public or recorded when it first came."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from ..config.downloads import FetchConfig
from ..storage.files import read_json, require_names, write_json

MAGIC = {
    ".zip": b"PK", ".gz": b"\x1f\x8b", ".tgz": b"\x1f\x8b", ".xz": b"\xfd7zXZ", ".parquet": b"PAR1",
}  # fmt: skip
"""First bytes of kinds of files: all that can be told of one that no digest is known of."""


@dataclass(frozen=True)
class Known:
    """What must be true of a file.

    Attributes:
        size: Bytes, if known.
        digests: Algorithm -> hexadecimal digest.
        record: Where the SHA-256 is from if no public one is; it is written there if none is known.
    """

    size: int | None
    digests: dict[str, str]
    record: Path

    @classmethod
    def of(cls, settings: FetchConfig, records: Path) -> "Known":
        """Return what the configuration says, and where no SHA-256 is public, the record."""
        artefact, record = settings.artefact, records / f"{settings.name}.json"
        digests = {kind: found for kind in ("sha256", "md5") if (found := getattr(artefact, kind))}
        if artefact.sha256 or not record.exists():
            return cls(artefact.size, digests, record)
        recorded = read_json(record)
        require_names(record, "keys", recorded, ("file", "size", "sha256"))
        if recorded.get("file") != artefact.file:
            return cls(artefact.size, digests, record)
        return cls(artefact.size or recorded["size"], {**digests, "sha256": recorded["sha256"]}, record)

    def objection(self, path: Path) -> str | None:
        """Return why a file is not the one that is wanted, with what was found and expected."""
        if self.size is not None and (found := path.stat().st_size) != self.size:
            return f"found {found} bytes, expected {self.size}"
        for kind, expected in self.digests.items():
            with path.open("rb") as file:
                found_digest = hashlib.file_digest(file, kind).hexdigest()
            if found_digest != expected:
                return f"found {kind} {found_digest}, expected {expected}{self._source(kind)}"
        return None if self.digests else _kind_objection(path)

    def keep(self, path: Path, source: str) -> None:
        """Record the digest of a file that none is public of, when it first comes; then it must stay so."""
        if "sha256" not in self.digests:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            about = {"file": path.name, "size": path.stat().st_size, "sha256": digest, "source": source}
            write_json(self.record, about)

    def describe(self) -> str:
        """Return size and digests in words."""
        size = [f"{self.size} bytes"] if self.size else []
        return ", ".join([*size, *(f"{kind} {digest}" for kind, digest in self.digests.items())]) or "of any digest"

    def _source(self, kind: str) -> str:
        if kind == "sha256" and self.record.exists():
            return f" (recorded in {self.record}; delete that file if its publisher has replaced this one)"
        return ""


def _kind_objection(path: Path) -> str | None:
    suffix = Path(path.name.removesuffix(".part")).suffix
    with path.open("rb") as file:
        start = file.read(8)
    said = f"found a file that begins with {start!r}, which no {suffix} does"
    return None if start.startswith(MAGIC.get(suffix, b"")) else said
