"""The labelled shots of one attribute: all that heads and DDIM-I's classifier learn from."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from torch import Tensor

from ..config.attributes import AttributeHeadConfig
from ..data.image_set import ImageSet, load_image_set
from ..data.shots import draw_shots, read_shots
from ..errors import DataError
from ..storage.tables import write_csv


@dataclass(frozen=True)
class ShotFiles:
    """Where the labelled shots of one attribute lie.

    Attributes:
        attribute: Name of the attribute.
        shots: CSV: id, label.
        pool: Images that they were drawn from, parquet.
        own_labels: Whether a person wrote the labels, which may differ from the pool's: True or False.
    """

    attribute: str
    shots: Path
    pool: Path
    own_labels: bool = False

    def load(self) -> tuple[ImageSet, Tensor]:
        """Return the images and whether each has the attribute, bool [N].

        Raises:
            DataError: If the file names images outside the pool, or holds the shots of another attribute.
        """
        images, labels = read_shots(self.shots, load_image_set(self.pool))
        wrong = 0 if self.own_labels else int((images.mask(self.attribute, True) != labels).sum())
        if wrong:
            raise DataError(
                f"{self.shots}: {wrong} of {len(labels)} labels are not those of {self.attribute} in the pool. Name a "
                f"file of your own labels as attributes.shots_file: {{{self.attribute}: my.csv}}; by "
                "hand, add `--own-labels True`."
            )
        return images, labels


def draw_attribute_shots(
    settings: AttributeHeadConfig, attribute: str, pool: Path, output: Path, own: Path | None = None
) -> None:
    """Draw the labelled shots of one attribute from their pool, or take over those that a person labelled.

    Args:
        settings: Section attributes.head, JSON.
        attribute: Name of the attribute.
        pool: Images of the split shots, parquet.
        output: CSV to write: id, label.
        own: CSV that a person wrote: id, label.

    Raises:
        DataError: If the pool has no such attribute or too few images of a class, or the person's file is no such list.
    """
    images = load_image_set(pool)
    if own:
        chosen, labels = read_shots(own, images)
        shots = pd.DataFrame({"id": chosen.ids.numpy(), "label": labels.numpy()})
    else:
        shots = draw_shots(images, attribute, settings.positive_shots, settings.negative_shots, settings.shots_seed)
    write_csv(output, shots)
