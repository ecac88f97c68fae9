"""What of a file is here already: it grows from one try, one process, one day to the next."""

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import CorruptFileError
from ..storage.files import read_json, write_json


@dataclass(frozen=True)
class Part:
    """The beginning of a file, and beside it whose beginning it is.

    Attributes:
        path: The bytes.
    """

    path: Path

    @property
    def state(self) -> Path:
        """Where it is written which address the bytes are from, and which of its versions."""
        return self.path.with_name(f"{self.path.name}.json")

    @property
    def size(self) -> int:
        """Bytes that are here."""
        return self.path.stat().st_size if self.path.is_file() else 0

    def about(self) -> dict[str, Any]:
        """Return ``url``, ``validator`` and ``total`` of what is here; empty if nothing is."""
        with contextlib.suppress(CorruptFileError):
            return read_json(self.state) if self.size else {}
        return {}

    def begin(self, url: str, validator: str, total: int | None) -> None:
        """Start over: from now on, bytes are those of this version of the file at this address."""
        self.drop()
        write_json(self.state, {"url": url, "validator": validator, "total": total})

    def drop(self) -> None:
        """Forget what is here."""
        self.path.unlink(missing_ok=True)
        self.state.unlink(missing_ok=True)
