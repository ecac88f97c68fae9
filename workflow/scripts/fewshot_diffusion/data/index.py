"""What a source holds, known without opening an image: one row each. Torch-free: plans are made of it."""

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from unicodedata import normalize

from ..errors import DataError
from .files import Place


@dataclass(frozen=True, slots=True)
class Row:
    """One image of a source.

    Attributes:
        name: Its identity within the source.
        members: Folder, zip or other place that holds it.
        file: Where it lies in there.
        mask: Where its mask lies, in the same place; empty if it has none.
        masks: Class id and place of each of its parts' masks, of which later ones cover, where they have files each.
        label: Its class; empty if the source has none.
        part: Which part of the source it belongs to, where that keeps one for tests (val).
        labelled: Whether its attributes are known.
        held_out: Whether no denoiser may see it.
        splits: Those that may hold it, where its source says so; empty: any.
    """

    name: str
    members: Place
    file: str
    mask: str = ""
    masks: tuple[tuple[int, str], ...] = ()
    label: str = ""
    part: Literal["", "train", "val"] = ""
    labelled: bool = True
    held_out: bool = False
    splits: tuple[str, ...] = ()

    @property
    def id(self) -> int:
        """The name as a number of 63 bits, which stands for the image wherever numbers do."""
        return hash_of(self.name)


@dataclass(frozen=True)
class SourceIndex:
    """The images of a source.

    Attributes:
        path: Where people find them.
        rows: The images.
        classes: Names of the classes, in order; empty if it has none.
        attributes: Attribute -> names of the images that have it, of those that were asked for.
        remarks: What is unusual, for people: images left out, rows without an image.
    """

    path: Path
    rows: list[Row]
    classes: list[str] = field(default_factory=list)
    attributes: dict[str, frozenset[str]] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        twice = [name for name, times in Counter(row.name for row in self.rows).items() if times > 1]
        if twice:
            raise DataError(f"{self.path}: {twice[0]} is there twice ({len(twice)} such names); expected each once.")

    @property
    def keeps_tests(self) -> bool:
        """Whether it has a part of its own for tests."""
        return any(row.part == "val" for row in self.rows)


def known_columns(path: Path, known: Iterable[str], wanted: Iterable[str], what: str = "attribute") -> None:
    """Raise ``DataError`` unless all that is wanted of a list is in it."""
    missing = set(wanted) - set(known)
    if missing:
        raise DataError(f"{path}: found no {what} {some(missing)}; it has: {', '.join(known) or 'none'}.")


def hash_of(name: str, purpose: str = "") -> int:
    """Return a number of 63 bits that a name decides, the same on every machine; purposes are independent."""
    digest = hashlib.blake2b(normalize("NFC", name).encode(), digest_size=8, person=purpose.encode()[:16])
    return int.from_bytes(digest.digest(), "big") >> 1


def some(names: Iterable[str], number: int = 3) -> str:
    """Return the first few of some names, and how many there are, for messages."""
    found = sorted(names)
    more = f" and {len(found) - number} more" if len(found) > number else ""
    return ", ".join(found[:number]) + more
