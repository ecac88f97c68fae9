"""Folders in which long computations keep what is finished, so that the same command goes on where it stopped."""

from dataclasses import dataclass
from pathlib import Path

from ..errors import CheckpointError
from .files import About


@dataclass(frozen=True)
class CheckpointFolder:
    """Where one computation keeps what is finished.

    Attributes:
        root: Folder that holds those of all computations of a kind.
        identity: Digest of everything that the results depend on: the name of this one's folder.
    """

    root: Path
    identity: str

    @property
    def path(self) -> Path:
        """Folder of this computation alone."""
        return self.root / self.identity

    def require_own(self, file: Path, about: About) -> None:
        """Raise ``CheckpointError`` unless a file of this folder was written by this computation."""
        found = about.get("identity")
        if found != self.identity:
            raise CheckpointError(f"{file}: written by computation {found}, expected {self.identity}. Delete it.")
