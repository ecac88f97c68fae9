"""Few-shot splits: the labelled images of an experiment, small enough to read and to diff."""

from pathlib import Path

import pandas as pd
import torch

from .datasets import ImageSet
from .errors import DataError
from .seeds import generator


def draw_shots(pool: ImageSet, attribute: str, positive_shots: int, negative_shots: int, seed: int) -> pd.DataFrame:
    """Draw the labelled shots of one attribute.

    Returns:
        Columns ``id`` and ``label`` (bool), positives first.

    Raises:
        DataError: If the pool has no such attribute or too few images of a class.
    """
    stream = generator(f"shots {attribute}", seed)
    parts = []
    for label, wanted in ((True, positive_shots), (False, negative_shots)):
        ids = pool.ids[pool.mask(attribute, label)]
        if len(ids) < wanted:
            raise DataError(
                f"{attribute}={label}: {wanted} shots are asked for, the pool of {len(pool)} images has {len(ids)}. "
                "Lower head.positive_shots / negative_shots or raise data.splits.shots."
            )
        chosen = ids[torch.randperm(len(ids), generator=stream)[:wanted]]
        parts.append(pd.DataFrame({"id": chosen.sort().values.numpy(), "label": label}))
    return pd.concat(parts, ignore_index=True)


def read_shots(path: Path, pool: ImageSet) -> tuple[ImageSet, torch.Tensor]:
    """Return the images of a shots file and their labels, bool [N].

    Raises:
        DataError: If the file is malformed or names images outside the pool.
    """
    try:
        frame = pd.read_csv(path)
    except ValueError as error:  # pandas' parser errors are of this kind
        raise DataError(f"{path}: not a CSV file ({error}).") from error
    if list(frame.columns) != ["id", "label"] or frame["label"].dtype != bool:
        raise DataError(f"{path}: found columns {list(frame.columns)}, expected id and label (True or False).")
    return pool.by_ids(frame["id"].tolist()), torch.from_numpy(frame["label"].to_numpy(copy=True))
