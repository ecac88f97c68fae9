"""The few image-mask pairs: drawn once, read by every method that learns from them."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd
import torch

from ..data import shots as few
from ..data.image_set import load_image_set
from ..data.mask_set import flip_masks, load_masks
from ..seeds import generator
from ..storage.rows import Rows, in_memory
from ..storage.tables import write_csv
from ..storage.tensors import pixel_digest


@dataclass(frozen=True)
class Pairs:
    """Image-mask pairs.

    Attributes:
        images: uint8 [N, 3, H, W], 0..255; of a large split, in a file.
        masks: Class ids, uint8 [N, H, W]; likewise.
        classes: Names of the class ids.
        flip_pairs: Class ids of left and right that a mirror exchanges.
    """

    images: Rows
    masks: Rows
    classes: list[str]
    flip_pairs: list[tuple[int, int]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.images)

    @property
    def digest(self) -> str:
        """SHA-256 of their pixels and class ids."""
        return pixel_digest(self.images, self.masks)

    def mirrored(self) -> "Pairs":
        """Return the pairs, which are few, and behind them their mirror images."""
        images, masks = in_memory(self.images), in_memory(self.masks)
        flipped = flip_masks(masks, self.flip_pairs)
        return replace(self, images=torch.cat([images, images.flip(-1)]), masks=torch.cat([masks, flipped]))

    def brightened(self, seed: int) -> "Pairs":
        """Return the pairs, which are few, and behind each its copy of another brightness: times 0.5 to 1.5.

        Args:
            seed: Of the factors, one of each pair.
        """
        images, masks = in_memory(self.images), in_memory(self.masks)
        factors = 0.5 + torch.rand(len(images), 1, 1, 1, generator=generator("pair brightness", seed))
        changed = (images * factors).round().clamp(0, 255).to(torch.uint8)
        both = torch.stack([images, changed], dim=1).flatten(0, 1)
        return replace(self, images=both, masks=masks.repeat_interleave(2, dim=0))


@dataclass(frozen=True, kw_only=True)
class PairFiles:
    """Where pairs are read from.

    Attributes:
        images: Images of the pool or split, parquet.
        masks: Their masks, parquet.
        flip_pairs: Class ids of left and right that a mirror exchanges, one pair behind the other.
        pairs: The chosen ones, CSV: id; without it, every image that has a mask.
    """

    images: Path
    masks: Path
    flip_pairs: list[tuple[int, int]] = field(default_factory=list)
    pairs: Path | None = None

    def load(self) -> Pairs:
        """Read the pairs.

        Raises:
            CorruptFileError: If a file is damaged.
            DataError: If the CSV has other columns, or names an id without an image or a mask.
        """
        images, masks = load_image_set(self.images), load_masks(self.masks)
        images, masks = few.read_pairs(self.pairs, images, masks) if self.pairs else few.join_pairs(images, masks)
        return Pairs(images.images, masks.masks, masks.classes, self.flip_pairs)


@dataclass(frozen=True, kw_only=True)
class GuideFiles(PairFiles):
    """Where a guide that reads the denoiser learns from.

    Attributes:
        denoiser: Weights folder of the denoiser.
    """

    denoiser: Path


def draw_pairs(masks: Path, shots: int, seed: int, output: Path) -> None:
    """Draw the few image-mask pairs from their pool; fewer pairs are a prefix of more.

    Args:
        masks: Masks of the pool, parquet.
        shots: Number of pairs.
        seed: Which pairs.
        output: CSV to write: id.
    """
    write_csv(output, pd.DataFrame({"id": few.draw_pairs(load_masks(masks), shots, seed)}))
