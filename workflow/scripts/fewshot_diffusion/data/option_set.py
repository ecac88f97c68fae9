"""What the generator picked for every image of a split: labels of all that is drawn, without drawing it again."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from ..errors import DataError
from ..storage.files import About
from ..storage.records import read_records, write_records


@dataclass(frozen=True)
class OptionSet:
    """Options of drawn images.

    Attributes:
        ids: Identity of each image within its data set, int64 [N].
        picked: One column of texts per option, N rows.
        values: Option -> the values that may be picked.
    """

    ids: Tensor
    picked: pd.DataFrame
    values: Mapping[str, list[str]]

    def labels_of(self, ids: Tensor) -> Tensor:
        """Return the positions of what was picked in ``values``, int64 [N, O], options in the order of their names.

        Args:
            ids: Those of the images that are labelled, int64 [N].

        Raises:
            DataError: If the options are of other images.
        """
        if not torch.equal(ids, self.ids):
            raise DataError(f"Options: found those of {len(self.ids)} other images than the {len(ids)} of the split.")
        columns = [self.picked[option].map(self.values[option].index) for option in sorted(self.values)]
        return torch.tensor([column.tolist() for column in columns]).T.contiguous()


def save_options(options: OptionSet, path: Path, about: About) -> None:
    """Write options as one parquet file: id, and each option by its name."""
    frame = pd.concat([pd.DataFrame({"id": options.ids.numpy()}), options.picked], axis=1)
    write_records(path, frame, {**about, "values": dict(options.values)})


def load_options(path: Path) -> OptionSet:
    """Read options that ``save_options`` wrote.

    Raises:
        CorruptFileError: If the file is damaged, or of another kind.
    """
    frame, about = read_records(path, "id")
    values: dict[str, list[str]] = about["values"]
    return OptionSet(torch.from_numpy(frame["id"].to_numpy(copy=True)), frame[list(values)], values)
