"""Experiment 2 on the page: wanted masks, samples that follow them, and the masks that the judge finds in these."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from ..data.image_set import load_image_set
from ..data.mask_set import MaskSet, load_masks
from ..diffusion.samples import load_samples
from ..errors import DataError
from ..masks.figures import paint_masks
from ..masks.row import GuideKey
from ..metrics.notes import segmenter_note
from ..storage.files import corrupt
from ..storage.tables import read_csv
from ..storage.tensors import pixel_digest, read_tensors
from .parts import Json, Pictures, number, table, with_interval

SEEDS = 2
"""Samples of each mask and method, at most."""


@dataclass(frozen=True, kw_only=True)
class MasksShown:
    """What the page shows of experiment 2; without methods, nothing.

    Attributes:
        followers: Methods, in order.
        pairs: Image-mask pairs that each learned from.
        preset: Name of their preset.
        wanted: How many of the masks were asked for.
        masks: Wanted masks, parquet.
        samples: Samples of each method, parquet; seed i shows mask i modulo their number.
        found: Masks that the judge finds in these, safetensors.
        masks_table: The mask table, CSV.
        masks_real: Real images of the masks, parquet; without it, none are shown.
    """

    followers: list[str] = field(default_factory=list)
    pairs: list[int] = field(default_factory=list)
    preset: str = ""
    wanted: int = 0
    masks: Path = Path()
    samples: list[Path] = field(default_factory=list)
    found: list[Path] = field(default_factory=list)
    masks_table: Path = Path()
    masks_real: Path | None = None

    @property
    def rows(self) -> list[GuideKey]:
        """Rows of the table that are shown."""
        return [GuideKey(method, self.preset, pairs) for method, pairs in zip(self.followers, self.pairs, strict=True)]


def masks_data(shown: MasksShown, pictures: Pictures, limit: int) -> Json:
    """Return what the page says of experiment 2.

    Args:
        shown: What there is.
        pictures: Takes the images.
        limit: Masks, at most.

    Raises:
        CorruptFileError: If a file is damaged, or of another method, preset, number of pairs, or other masks.
        DataError: If there are fewer samples than masks.
    """
    masks = load_masks(shown.masks).first(shown.wanted)
    first = masks.first(limit)
    methods = [
        {"name": row.method, "pairs": row.shots, "samples": _samples(row, samples, found, masks, pictures, limit)}
        for row, samples, found in zip(shown.rows, shown.samples, shown.found, strict=True)
    ]
    rows = read_csv(shown.masks_table, "method", "preset", "shots", "miou", "miou_real")
    return {
        "preset": shown.preset,
        "parts": _legend(masks.classes),
        "masks": pictures.add(paint_masks(first.pixels), lossless=True),
        "ids": first.ids.tolist(),
        "real": _real(shown.masks_real, first, pictures) if shown.masks_real else None,
        "methods": methods,
        "note": segmenter_note(rows["miou_real"].iloc[0]),
        "table": _table(rows, shown.rows),
    }


def _real(path: Path, masks: MaskSet, pictures: Pictures) -> list[int]:
    return pictures.add(load_image_set(path).by_ids(masks.ids.tolist()).pixels)


def _samples(row: GuideKey, samples: Path, found: Path, masks: MaskSet, pictures: Pictures, limit: int) -> list[Json]:
    """Return the first samples of each mask: of each round one list, mask by mask."""
    expected = {**row.key, "masks": pixel_digest(masks.masks)}
    drawn = load_samples([samples], expected=expected)
    seen, _ = read_tensors(found, "masks", "seeds", expected=expected)
    if not torch.equal(seen["seeds"], drawn.seeds):
        raise corrupt(found, f"is of other seeds than {samples}")
    if len(drawn.seeds) < len(masks):
        raise DataError(f"{samples}: found {len(drawn.seeds)} samples, expected one of each of {len(masks)} masks.")
    rounds = []
    for first in range(0, SEEDS * len(masks), len(masks))[: len(drawn.seeds) // len(masks)]:
        part = slice(first, first + min(limit, len(masks)))
        rounds.append(
            {
                "seeds": drawn.seeds[part].tolist(),
                "images": pictures.add(drawn.pixels[part]),
                "found": pictures.add(paint_masks(seen["masks"][part]), lossless=True),
                "agreement": agreement(masks.pixels[: part.stop - first], seen["masks"][part]),
            }
        )
    return rounds


def agreement(wanted: Tensor, found: Tensor) -> list[float]:
    """Return the share of pixels, 0..1, that the judge finds of the wanted class, for each of masks [N, H, W]."""
    return [round(share, 3) for share in (wanted == found).double().mean((1, 2)).tolist()]


def _legend(classes: Sequence[str]) -> list[dict[str, Any]]:
    pixels = paint_masks(torch.arange(len(classes), dtype=torch.uint8).view(-1, 1, 1))[:, :, 0, 0]
    return [
        {"name": name, "colour": "#" + bytes(pixel).hex()} for name, pixel in zip(classes, pixels.tolist(), strict=True)
    ]


def _table(rows: pd.DataFrame, shown: Sequence[GuideKey]) -> Json:
    """Return the shown rows of the mask table: mIoU, and what stands beside it."""
    columns = ["pairs", "lambda", "mIoU", "mIoU of real images", "pixel accuracy", "n", "forward passes a sample"]
    found = []
    for key in shown:
        same = (rows["method"] == key.method) & (rows["preset"] == key.preset) & (rows["shots"] == key.shots)
        for _, row in rows[same].iterrows():
            measured = [with_interval(row, "miou", 3), number(row["miou_real"], 3), number(row["pixel_accuracy"], 3)]
            cost = [number(row["n"]), number(row["forwards_per_sample"], 1)]
            found.append((key.method, [number(key.shots), f"{row['guidance_scale']:g}", *measured, *cost]))
    return table(columns, found)
