"""Image-mask pairs of one's own: which of them the head learns from, which its judge, and which neither."""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from ..data.mask_set import load_masks, save_masks
from ..masks.pairs import PairFiles, Pairs
from ..storage.rows import select_rows
from .shots import JUDGED_WITH


@dataclass(frozen=True)
class OwnPairs:
    """Image-mask pairs in the order of their hashed names: the first are the head's, those beyond are held out.

    Attributes:
        images: Images that have masks, parquet.
        masks: Their masks, parquet.
        shots: Pairs that the head learns from, at most.
    """

    images: Path
    masks: Path
    shots: int

    def of_head(self) -> Pairs:
        """Return the pairs that the head learns from."""
        pairs = self._all()
        return _at(pairs, torch.arange(len(pairs))[: self.shots])

    def of_segmenter(self) -> Pairs:
        """Return the pairs that train the segmenter: those held out, but for one in ``JUDGED_WITH``."""
        pairs = self._all()
        held_out = torch.arange(len(pairs))[self.shots :]
        return _at(pairs, held_out[~torch.isin(held_out, self.tried(len(pairs)))])

    def of_nobody(self) -> Pairs:
        """Return the pairs that neither learns from: they try the segmenter, and samples follow their masks."""
        pairs = self._all()
        return _at(pairs, self.tried(len(pairs)))

    def tried(self, number: int) -> Tensor:
        """Return the positions of these among ``number`` pairs, int64 [M]."""
        return torch.arange(number)[self.shots :: JUDGED_WITH]

    def _all(self) -> Pairs:
        return PairFiles(images=self.images, masks=self.masks).load()


def select_own_masks(pairs: OwnPairs, output: Path) -> None:
    """Write the wanted masks: those of the pairs that neither the head nor the segmenter learns from.

    Args:
        pairs: All pairs.
        output: Masks to write, parquet.
    """
    masks = load_masks(pairs.masks)
    chosen = masks.by_ids(masks.ids[pairs.tried(len(masks))].tolist())
    save_masks(chosen, output, {"shots": pairs.shots})


def _at(pairs: Pairs, positions: Tensor) -> Pairs:
    images, masks = select_rows(pairs.images, positions), select_rows(pairs.masks, positions)
    return replace(pairs, images=images, masks=masks)
