"""From an artefact of the configuration to a verified file: kept, by hand, or from the first mirror that has it."""

import logging
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from ..config.downloads import FetchConfig
from ..errors import DownloadError
from .addresses import page_address
from .known import Known
from .part import Part
from .transfer import Transfer
from .troubles import Trouble

LONGEST_WAIT = 300.0  # seconds; a server that asks for more is given up
STEP = 2**20  # bytes: with so many more, a try was no failure

_log = logging.getLogger(__name__)


def fetch_artefact(settings: FetchConfig, checkpoints: Path, records: Path, output: Path) -> None:
    """Bring one public file here, verified.

    Args:
        settings: The artefact and how it is fetched (CONFIG.downloads.job), JSON.
        checkpoints: Folder of unfinished and finished files: the same command goes on there.
        records: Folder of the digests of files of which none is public.
        output: The file; it shares its bytes with the finished one.

    Raises:
        DownloadError: If it cannot be had as it should be; says from where it can be fetched by hand.
    """
    job = _Job(settings, Known.of(settings, records), checkpoints / settings.name / settings.artefact.file)
    job.kept.parent.mkdir(parents=True, exist_ok=True)
    source = job.take_kept() or job.take_by_hand() or job.load()
    job.known.keep(job.kept, source)
    share(job.kept, output)


@dataclass(frozen=True)
class _Job:
    settings: FetchConfig
    known: Known
    kept: Path

    def take_kept(self) -> str | None:
        if not self.kept.is_file():
            return None
        if problem := self.known.objection(self.kept):
            _log.warning("%s: %s; it is fetched again", self.kept, problem)
            self.kept.unlink()
            return None
        return "kept"

    def take_by_hand(self) -> str | None:
        found = self.by_hand
        if not found.is_file():
            return None
        if problem := self.known.objection(found):
            raise DownloadError(f"{found}: {problem}. Put the right file there, or remove this one.")
        share(found, self.kept)
        return "by hand"

    def load(self) -> str:
        """Return the mirror that a file came from."""
        if self.settings.offline:
            raise self.error(["offline is true, and the file is not here"])
        part, said = Part(self.kept.with_name(f"{self.kept.name}.part")), []
        for url in self.settings.artefact.urls:
            try:
                self._patiently(url, part)
                return url
            except Trouble as trouble:
                said.append(f"{url}: {trouble}")
                _log.warning("%s", said[-1])
        raise self.error(said)

    def _patiently(self, url: str, part: Part) -> None:
        """Try one address until the file is here, or as many tries as configured brought no further."""
        tries, furthest = 0, part.size
        transfer = Transfer(url, self.settings.timeout)
        while True:
            try:
                resumed = part.size > 0
                transfer.fetch(part, self.known.size, known=bool(self.known.digests))
                return self._accept(part, resumed)
            except Trouble as trouble:
                tries = tries + 1 if part.size < furthest + STEP else 1
                furthest = max(furthest, part.size)
                wait = max(trouble.wait, self.settings.backoff * 2 ** (tries - 1))
                if not trouble.again or tries >= self.settings.attempts or trouble.wait > LONGEST_WAIT:
                    raise
                _log.warning("%s: %s; next try in %g s", url, trouble, wait)
                time.sleep(min(wait, LONGEST_WAIT))

    def _accept(self, part: Part, resumed: bool) -> None:
        """Give a whole file its name if it is the one that is wanted, else put it aside."""
        if problem := self.known.objection(part.path):
            aside = self.kept.with_name(f"{self.kept.name}.wrong")
            part.path.replace(aside)
            part.drop()
            raise Trouble(f"{problem}; what came is kept as {aside}", again=resumed)
        with part.path.open("rb+") as file:
            os.fsync(file.fileno())
        part.path.replace(self.kept)
        part.drop()

    @property
    def by_hand(self) -> Path:
        return self.settings.have / self.settings.artefact.file

    def error(self, said: list[str]) -> DownloadError:
        artefact = self.settings.artefact
        addresses = " or ".join(page_address(url) for url in artefact.urls)
        return DownloadError(
            f"{self.settings.name}: {artefact.file} could not be fetched.\n"
            + "".join(f"  {line}\n" for line in said)
            + f"{artefact.access} Licence: {artefact.licence}.\n"
            f"Fetch it by hand from {addresses}, put it here: {self.by_hand} ({self.known.describe()}), "
            "and run the same command again."
        )


def share(source: Path, target: Path) -> None:
    """Give a file a second name, without a second copy of its bytes where the disk allows it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.new")
    temporary.unlink(missing_ok=True)
    try:
        os.link(source.resolve(), temporary)
    except OSError:  # another disk, or one that has no links
        shutil.copyfile(source, temporary)
    temporary.replace(target)
