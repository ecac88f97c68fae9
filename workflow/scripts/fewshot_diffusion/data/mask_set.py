"""The common product of every data set with masks: part masks of one split."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional as F

from ..errors import DataError
from ..images import decode_masks, encode_masks
from ..storage.files import About
from ..storage.records import read_records, write_records
from ..storage.rows import Rows, gather_rows, in_memory, select_rows
from .image_set import BATCH


@dataclass(frozen=True)
class MaskSet:
    """Part masks.

    Attributes:
        masks: Class ids, uint8 [N, H, W]; of a large split, in a file.
        ids: Identity of each image within its data set, int64 [N].
        classes: Names of the class ids 0, 1, ...
    """

    masks: Rows
    ids: Tensor
    classes: list[str]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def pixels(self) -> Tensor:
        """The masks in memory: of a few, or of a batch."""
        return in_memory(self.masks)

    def first(self, number: int) -> "MaskSet":
        """Return the first masks."""
        return MaskSet(self.masks[:number], self.ids[:number], self.classes)

    def by_ids(self, ids: list[int]) -> "MaskSet":
        """Return the masks with these ids, in this order.

        Raises:
            DataError: If an id has no mask.
        """
        position = {int(id_): i for i, id_ in enumerate(self.ids)}
        missing = [id_ for id_ in ids if id_ not in position]
        if missing:
            raise DataError(f"Image ids {missing[:5]} have no mask in this split ({len(self)} masks).")
        index = torch.tensor([position[id_] for id_ in ids], dtype=torch.int64)
        return MaskSet(select_rows(self.masks, index), self.ids[index], self.classes)


def check_classes(masks: Tensor | np.ndarray[Any, Any], classes: list[str], where: str) -> None:
    """Raise ``DataError`` if a mask holds an id that names no class."""
    found = int(masks.max()) if len(masks) else 0
    if found >= len(classes):
        raise DataError(f"{where}: found class id {found}, expected 0..{len(classes) - 1} ({', '.join(classes)}).")


def save_masks(mask_set: MaskSet, path: Path, about: About) -> None:
    """Write masks as one parquet file: id and mask (grey PNG)."""
    save_mask_batches([mask_set], path, about)


def save_mask_batches(batches: Iterable[MaskSet], path: Path, about: About) -> None:
    """Write masks that come in batches, at least one; coded, all are in memory, since masks are small."""
    frames = []
    for batch in batches:
        frames.append(pd.DataFrame({"id": batch.ids.numpy(), "mask": encode_masks(batch.pixels)}))
    about = {**about, "classes": batch.classes, "size": list(batch.masks.shape[-2:])}
    write_records(path, pd.concat(frames, ignore_index=True), about)


def load_masks(path: Path) -> MaskSet:
    """Read masks that ``save_masks`` wrote.

    Raises:
        CorruptFileError: If the file is damaged.
        DataError: If a mask holds an unknown class.
    """
    frame, about = read_records(path, "id", "mask")
    size, classes = tuple(about["size"]), list(about["classes"])

    def pixels() -> Iterator[Tensor]:
        for start in range(0, max(len(frame), 1), BATCH):
            masks = decode_masks(frame["mask"][start : start + BATCH], size)
            check_classes(masks, classes, str(path))
            yield masks

    return MaskSet(gather_rows(pixels(), path.parent), torch.from_numpy(frame["id"].to_numpy(copy=True)), classes)


def masks_at(masks: Tensor, size: int) -> Tensor:
    """Return class ids [N, H, W] at another size, [N, size, size], each pixel its nearest: no class is new."""
    if masks.shape[-1] == size:
        return masks
    resized = F.interpolate(masks[:, None].float(), size=(size, size), mode="nearest-exact")
    return resized[:, 0].to(masks.dtype)


def flip_masks(masks: Tensor, pairs: Sequence[tuple[int, int]]) -> Tensor:
    """Mirror masks and exchange the class ids of left and right; twice is the identity."""
    flipped = masks.flip(-1)
    swapped = flipped.clone()
    for left, right in pairs:
        swapped.masked_fill_(flipped == left, right).masked_fill_(flipped == right, left)
    return swapped
