"""What a run is planned with: the images that are there, shared out among the splits. No image is opened."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ..config.model import Config
from ..storage.files import fingerprint
from ..storage.tables import write_csv
from .contents import Checksums, contents, manifest
from .feasibility import require_feasible
from .index import Row, SourceIndex
from .listings import list_source
from .splits import share_out


@dataclass(frozen=True)
class SourcePlan:
    """The images of a source, as a run is planned with them.

    Attributes:
        index: What is there.
        splits: Split -> its images.
        checksums: Of files.
    """

    index: SourceIndex
    splits: Mapping[str, Sequence[Row]]
    checksums: Checksums

    @property
    def remarks(self) -> list[str]:
        """What is unusual of the source, for people."""
        return self.index.remarks

    def contents(self, split: str, attributes: Sequence[str]) -> str:
        """Return the digest of a split's images and of some of their attributes; what was read is remembered.

        Raises:
            DataError: If a file cannot be read.
        """
        rows = self.splits[split]
        found = contents(manifest(self.index, rows, attributes, self.checksums), rows, self.checksums)
        self.checksums.remember()
        return found


@dataclass(frozen=True)
class PromisedPlan:
    """A source that the rules of downloads make: nothing of it is opened before a job does, there or not.

    Attributes:
        config: Whole configuration, whose data set names paths of artefacts.
    """

    config: Config
    remarks: tuple[str, ...] = ()

    def contents(self, split: str, attributes: Sequence[str]) -> str:
        """Return the digest of what decides a split: the artefacts' identities, the shares, some attributes."""
        downloads = self.config.downloads
        names = [name for path in self.config.data.files.values() if (name := downloads.provides(path))]
        identities = [(name, downloads.artefacts[name].identity) for name in names]
        return fingerprint(identities, split, self.config.shares.model_dump(), list(attributes))


def plan(config: Config, memory: Path) -> SourcePlan | PromisedPlan:
    """Plan with the images that are there, or with what the rules of downloads will make; see ``plan_source``."""
    return PromisedPlan(config) if config.promised_files else plan_source(config, memory)


def check_source(settings: Config, output: Path) -> None:
    """List a source that was downloaded, share its images out, and stop unless all that is asked for is there.

    Args:
        settings: Whole configuration, JSON.
        output: Number of images of every split to write, CSV.

    Raises:
        DataError: As ``plan_source``.
    """
    splits = plan_source(settings).splits
    write_csv(output, pd.DataFrame({"split": list(splits), "images": [len(rows) for rows in splits.values()]}))


def plan_source(config: Config, memory: Path | None = None) -> SourcePlan:
    """List a source, share its images out, and check that a run can succeed.

    Args:
        config: Whole configuration, of a data set whose images are there.
        memory: Where checksums of its files are remembered, if they are.

    Raises:
        DataError: If a file is missing or malformed, or there are too few images: names all shortfalls.
    """
    index = list_source(config.data.source, [*config.judged_together, *config.judged_alone])
    splits = share_out(index, config.shares)
    require_feasible(config, index, splits)
    return SourcePlan(index, splits, Checksums(memory))
