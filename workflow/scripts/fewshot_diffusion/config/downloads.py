"""Settings of what is fetched from the network: artefacts by name, and how patiently."""

import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from .base import Name, Positive, Section

LOOPBACK = ("localhost", "127.0.0.1", "::1")
HUB = re.compile(r"hf://((?:datasets/)?[\w.-]+/[\w.-]+)@([^/\s]+)/(\S+)")
"""Repository, revision and path on the Hugging Face hub; ``datasets/`` before a data set's, as the hub writes it."""

DRIVE = re.compile(r"gdrive://([\w-]+)")
"""Id of a file on Google Drive."""

FOLDER = "downloads"
"""What is fetched lies in ``downloads/<artefact>/``, where it is run."""


def _address(url: str) -> str:
    parts = urlsplit(url)
    plain = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK)
    web = plain and parts.hostname and not parts.username and url.isprintable() and " " not in url
    if not (web or HUB.fullmatch(url) or DRIVE.fullmatch(url)):
        raise ValueError(
            "expected https://host/path, hf://owner/name@revision/path or gdrive://id; http:// from this machine alone"
        )
    return url


Url = Annotated[str, AfterValidator(_address)]
FileName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=128)]


def _digest(digits: int) -> StringConstraints:
    return StringConstraints(pattern=rf"^[0-9a-f]{{{digits}}}$")


class ExtractConfig(Section):
    """How an archive is unpacked."""

    folder: Name = Field(description="Beside the archive; its list of files is `<folder>.csv`.")
    max_bytes: Positive = Field(20 * 10**9, description="An archive that unpacks to more is refused.")
    max_files: Positive = Field(10**6, description="An archive of more files is refused.")


class ArtefactConfig(Section):
    """One public file: it lands in `downloads/<name>/<file>`."""

    file: FileName = Field(description="Its name; also the one that it is looked for by in `downloads.have`.")
    urls: list[Url] = Field(
        min_length=1,
        description="Mirrors, in order: https://, `hf://[datasets/]owner/name@revision/path` or `gdrive://id`.",
    )
    size: Positive | None = Field(None, description="Bytes.")
    sha256: Annotated[str, _digest(64)] | None = Field(
        None, description="Where none is public, the first download records it in `config/downloads/<name>.json`."
    )
    md5: Annotated[str, _digest(32)] | None = None
    licence: str = Field(min_length=1, description="Under which terms it is published.")
    access: str = Field(min_length=1, description="A sentence for people: where it comes from, what it asks for.")
    extract: ExtractConfig | None = None

    @model_validator(mode="after")
    def _archive(self) -> "ArtefactConfig":
        if self.extract and not self.file.endswith((".zip", ".tar", ".tar.gz", ".tgz", ".tar.xz")):
            raise ValueError(f"extract: {self.file} is no archive; expected a .zip, .tar, .tar.gz, .tgz or .tar.xz")
        return self

    @property
    def products(self) -> dict[str, str]:
        """What a path may name -> the file that a rule makes for it, both below ``downloads/<name>/``."""
        listing = {self.extract.folder: f"{self.extract.folder}.csv"} if self.extract else {}
        return {self.file: self.file, **listing, **{name: name for name in listing.values()}}

    @property
    def identity(self) -> dict[str, object]:
        """What tells this file from another; where it comes from does not."""
        return self.model_dump(include={"size", "sha256", "md5"})


class FetchingConfig(Section):
    """Where files come from, and how long a bad connection is borne with."""

    offline: bool = Field(False, description="Open no connection: what is not here already is an error.")
    have: Path = Field(
        Path("downloads/by-hand"), description="A folder that is looked in first, by name; what it holds is verified."
    )
    attempts: Positive = Field(5, description="Tries of one address that bring no further, before the next mirror's.")
    backoff: Annotated[float, Field(ge=0)] = Field(2, description="Seconds before the second try; doubled each time.")
    timeout: Annotated[float, Field(gt=0)] = Field(60, description="Seconds without a byte until a server is dead.")


class FetchConfig(FetchingConfig):
    """What one job is passed: one artefact, and how it is fetched."""

    name: Name
    artefact: ArtefactConfig


class DownloadsConfig(FetchingConfig):
    """What is fetched from the network: nothing by default."""

    artefacts: dict[Name, ArtefactConfig] = Field(
        default_factory=dict, description="What can be fetched; `config/artefacts.yaml` lists what is public."
    )
    wanted: list[Name] = Field(default_factory=list, description="Artefacts that there are rules for.")

    @property
    def chosen(self) -> dict[str, ArtefactConfig]:
        """The wanted artefacts by name."""
        return {name: self.artefacts[name] for name in self.wanted}

    def job(self, name: str) -> FetchConfig:
        """Return what the job of one artefact is passed."""
        how = {key: getattr(self, key) for key in FetchingConfig.model_fields}
        return FetchConfig(name=name, artefact=self.artefacts[name], **how)

    def files(self) -> list[str]:
        """Return what the rules make of the wanted artefacts: the files, and lists of what archives hold."""
        return [
            f"{FOLDER}/{name}/{product}"
            for name, one in self.chosen.items()
            for product in dict.fromkeys(one.products.values())
        ]

    def provides(self, path: Path) -> str | None:
        """Return the artefact whose file or unpacked folder a path is, or lies in; None if none is.

        Such a path need not be there: the rules of downloads make it.
        """
        found = self._provided(path)
        return found and found[0]

    def product_of(self, path: Path) -> str | None:
        """Return the file that a job waits for which reads a path: an artefact's, or the list of what is unpacked."""
        found = self._provided(path)
        return found and "/".join([FOLDER, found[0], self.artefacts[found[0]].products[found[1]]])

    def naming(self, paths: Iterable[Path]) -> "DownloadsConfig":
        """Return the section in which the artefacts that provide some paths are wanted, too."""
        named = [name for path in paths if (name := self.provides(path))]
        return self.model_copy(update={"wanted": list(dict.fromkeys([*self.wanted, *named]))})

    def _provided(self, path: Path) -> tuple[str, str] | None:
        """Return an artefact and the name below its folder that a path begins with."""
        parts = PurePosixPath(path).parts
        if len(parts) < 3 or parts[0] != FOLDER or ".." in parts:
            return None
        artefact = self.artefacts.get(parts[1])
        return (parts[1], parts[2]) if artefact and parts[2] in artefact.products else None

    @model_validator(mode="after")
    def _known(self) -> "DownloadsConfig":
        if unknown := sorted(set(self.wanted) - set(self.artefacts)):
            known = ", ".join(self.artefacts) or "none, since artefacts is empty"
            raise ValueError(f"wanted: found {', '.join(unknown)}, expected names of artefacts: {known}")
        if len(set(self.wanted)) != len(self.wanted):
            raise ValueError(f"wanted: found {self.wanted}, expected each name once")
        return self
