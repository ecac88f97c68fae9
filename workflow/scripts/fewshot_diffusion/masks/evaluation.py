"""Rows of the mask table: agreement with the wanted masks, diversity, distance to real images, cost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import nan
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from ..config.evaluation import EvaluationConfig
from ..data.image_set import load_image_set
from ..data.mask_set import MaskSet, load_masks
from ..diffusion.samples import SampleSet, load_samples, seed_range
from ..errors import DataError
from ..metrics.descriptions import load_description
from ..metrics.distances import kernel_distance
from ..metrics.extractors import extract_features, make_extractor
from ..metrics.notes import segmenter_note
from ..runtime import Runtime, make_runtime
from ..storage.files import corrupt
from ..storage.tables import read_csv, write_csv
from ..storage.tensors import pixel_digest
from .metrics import agreement, confusion, diversity, miou
from .row import MaskRow
from .segmenter import Segmenter, load_segmenter

MASK_COLUMNS = [
    "shots", "method", "preset", "n", "seeds", "guidance_scale", "miou", "ci_low", "ci_high", "miou_real",
    "pixel_accuracy", "diversity", "kernel_distance", "floor", "extractor", "forwards_per_sample", "note",
]  # fmt: skip

Shape = tuple[int, int]
"""(S, M): samples of each mask, wanted masks."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What is measured, and against what.

    Attributes:
        samples: Samples, parquet: the one with seed i was to show mask i modulo their number.
        masks: Wanted masks, parquet.
        real: Real images of the same masks, parquet: the segmenter's own mIoU on them is the ceiling.
        segmenter: Weights folder of the independent segmenter.
        reference: Description of those real images: the kernel distance is to the ones behind the wanted masks.
    """

    samples: Path
    masks: Path
    real: Path
    segmenter: Path
    reference: Path


def evaluate_masks(
    settings: EvaluationConfig, row: MaskRow, files: Measured, shape: Shape, output: Path, device: str = "auto"
) -> None:
    """Measure one sample set against its wanted masks.

    Args:
        settings: Section evaluation, JSON.
        row: Method, preset, number of pairs and lambda.
        files: Samples, masks, segmenter and reference.
        shape: Samples of each mask, and wanted masks.
        output: CSV row to write.
        device: auto, cpu, cuda or cuda:<n>.

    Raises:
        CorruptFileError: If the samples are of another row, or were to show other masks.
        DataError: If there are fewer samples or masks than that, or the reference is of other images.
        WeightsError: If the segmenter was trained to guide or to tune.
    """
    runtime = make_runtime(device, "float32", cpu_threads=1, feature_batch=settings.feature_batch)
    wanted = load_masks(files.masks).first(shape[1])
    drawn = load_samples([files.samples], expected={**vars(row), "masks": pixel_digest(wanted.masks)})
    segmenter = load_segmenter(files.segmenter, "judge", wanted.classes).to(runtime.device)
    images = _shown(drawn, shape, files.samples)
    ceiling = real_miou(segmenter, files.real, wanted)
    measured = {
        **vars(row),
        **_agreement(segmenter, images, wanted, shape, settings),
        "miou_real": ceiling,
        "note": segmenter_note(ceiling),
        **_distances(images, _real_features(files.reference, wanted, settings), shape, settings, runtime),
        "n": len(images),
        "seeds": seed_range(drawn.seeds[: len(images)]),
        "forwards_per_sample": drawn.forwards_per_sample,
    }
    write_csv(output, pd.DataFrame([measured]).reindex(columns=MASK_COLUMNS))


def real_miou(segmenter: Segmenter, images: Path, wanted: MaskSet) -> float:
    """Return a segmenter's mIoU on the real images of masks: the most that a sample can be credited with."""
    found = segmenter.segment(load_image_set(images).by_ids(wanted.ids.tolist()).images)
    return miou(confusion(wanted.pixels, found, len(wanted.classes)))


def make_masks_table(data_set: str, parts: Sequence[Path], output: Path) -> None:
    """Join rows of one table.

    Args:
        data_set: Its name.
        parts: CSV files of the same columns, in the table's order.
        output: CSV to write.
    """
    table = pd.concat([read_csv(path) for path in parts], ignore_index=True)
    table.insert(0, "data_set", data_set)
    write_csv(output, table)


def _shown(drawn: SampleSet, shape: Shape, path: Path) -> Tensor:
    """Return the first S samples of each of M masks, uint8 [S * M, 3, H, W]."""
    per_mask, number = shape
    n = per_mask * number
    if len(drawn.seeds) < n:
        raise DataError(f"{path}: found {len(drawn.seeds)} samples, expected {n} of {number} masks.")
    if not torch.equal(drawn.seeds[:n] % number, torch.arange(n) % number):
        raise DataError(f"{path}: the seeds do not show the masks in their order; draw the samples again.")
    return drawn.images[:n]


def _agreement(
    segmenter: Segmenter, images: Tensor, wanted: MaskSet, shape: Shape, settings: EvaluationConfig
) -> dict[str, float]:
    found = segmenter.segment(images).unflatten(0, shape)
    held = agreement(wanted.pixels.expand_as(found), found, len(wanted.classes), settings.bootstrap)
    return {
        "miou": held.miou.value,
        "ci_low": held.miou.low,
        "ci_high": held.miou.high,
        "pixel_accuracy": held.pixel_accuracy,
    }


def _distances(
    images: Tensor, real: Mapping[str, Tensor], shape: Shape, settings: EvaluationConfig, runtime: Runtime
) -> dict[str, float | str]:
    """Return diversity and the kernel distance to the real images behind those of the masks; their own: floor."""
    extractor = make_extractor(settings.extractors[0], runtime)
    features, (of_masks, reference) = extract_features(images, extractor), _apart(real[extractor.name], shape, settings)
    return {
        "diversity": diversity(features.unflatten(0, shape)),
        "kernel_distance": kernel_distance(features, reference),
        "floor": kernel_distance(of_masks, reference) if len(of_masks) > 1 else nan,
        "extractor": extractor.name,
    }


def _apart(features: Tensor, shape: Shape, settings: EvaluationConfig) -> tuple[Tensor, Tensor]:
    return features[: shape[1]], features[shape[1] : shape[1] + settings.kernel_subset]


def _real_features(path: Path, wanted: MaskSet, settings: EvaluationConfig) -> Mapping[str, Tensor]:
    """Return features of real images, the first of which are those of the wanted masks: extractor -> [M, D]."""
    described = load_description(path, expected={"method": "real"})
    number = len(wanted)
    if described.ids[:number].tolist() != wanted.ids.tolist():
        raise corrupt(path, "describes other images than those of the wanted masks")
    return {name: rows[: number + settings.kernel_subset] for name, rows in described.features.items()}
