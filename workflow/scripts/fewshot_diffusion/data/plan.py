"""What a run is planned with: the images that are there, shared out among the splits. No image is opened."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..config.model import Config
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

    def contents(self, split: str, attributes: Sequence[str]) -> str:
        """Return the digest of a split's images and of some of their attributes.

        Raises:
            DataError: If a file cannot be read.
        """
        rows = self.splits[split]
        return contents(manifest(self.index, rows, attributes, self.checksums), rows, self.checksums)


def plan_source(config: Config, memory: Path) -> SourcePlan:
    """List a source, share its images out, and check that a run can succeed.

    Args:
        config: Whole configuration, of a data set whose images are there.
        memory: Where checksums of its files are remembered.

    Raises:
        DataError: If a file is missing or malformed, or there are too few images: names all shortfalls.
    """
    index = list_source(config.data.source, [*config.judged_together, *config.judged_alone])
    splits = share_out(index, config.shares)
    require_feasible(config, index, splits)
    return SourcePlan(index, splits, Checksums(memory))
