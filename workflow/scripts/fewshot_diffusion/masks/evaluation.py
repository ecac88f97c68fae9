"""Rows of the mask tables: agreement with the wanted masks, diversity, distance to real images, cost."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from ..config.evaluation import EvaluationConfig
from ..data.image_set import load_image_set
from ..data.mask_set import MaskSet, load_masks
from ..diffusion.samples import load_samples, seed_range
from ..errors import DataError
from ..metrics.descriptions import load_description
from ..metrics.distances import kernel_distance
from ..metrics.extractors import extract_features, make_extractor
from ..runtime import Runtime
from .metrics import agreement, confusion, diversity, miou
from .segmenter import Segmenter, load_segmenter

MASK_COLUMNS = [
    "data_set", "shots", "method", "preset", "n", "seeds", "guidance_scale", "miou", "ci_low", "ci_high", "miou_real",
    "pixel_accuracy", "diversity", "kernel_distance", "extractor", "forwards_per_sample",
]  # fmt: skip


def evaluate_masks(
    labels: Mapping[str, object],
    *,
    samples: Sequence[Path],
    masks: Path,
    real: Path,
    shape: tuple[int, int],
    segmenter: Path,
    reference: Path,
    settings: EvaluationConfig,
    runtime: Runtime,
) -> pd.DataFrame:
    """Return the table's row of one sample set.

    Args:
        labels: Values of the columns data_set, shots, method, preset and guidance_scale.
        samples: Shards; the sample with seed i was to show mask i modulo the number of masks.
        masks: Wanted masks.
        real: Real images of the same masks: the segmenter's own mIoU on them is the ceiling.
        shape: (S, M): the first S samples of each of the first M masks are measured.
        segmenter: Weights of the independent segmenter.
        reference: Description of real images whose first M are those of the masks: the kernel distance is to the rest.
        settings: Extractor, replicates and subset.
        runtime: Device and precision.

    Raises:
        DataError: If there are fewer samples or masks than that.
        WeightsError: If the segmenter was trained to guide or to tune.
    """
    drawn = load_samples(samples)
    wanted = load_masks(masks)
    per_mask, number = shape
    n = per_mask * number
    if len(drawn.seeds) < n or len(wanted) < number:
        raise DataError(f"{samples[0]}: found {len(drawn.seeds)} samples, expected {n} of {number} masks.")
    if not torch.equal(drawn.seeds[:n] % number, torch.arange(n) % number):
        raise DataError(f"{samples[0]}: the seeds do not show the masks in their order; draw the samples again.")
    model = load_segmenter(segmenter, "judge", wanted.classes).to(runtime.device)
    images = drawn.images[:n]
    found = model.segment(images).unflatten(0, shape)
    classes = len(wanted.classes)
    held = agreement(wanted.masks[:number].expand(shape[0], -1, -1, -1), found, classes, settings.bootstrap)
    extractor = make_extractor(settings.extractors[0], runtime)
    features = extract_features(images, extractor)
    row = {
        **labels,
        "n": n,
        "seeds": seed_range(drawn.seeds[:n]),
        "miou": held.miou.value,
        "ci_low": held.miou.low,
        "ci_high": held.miou.high,
        "miou_real": real_miou(model, real, wanted, number),
        "pixel_accuracy": held.pixel_accuracy,
        "diversity": diversity(features.unflatten(0, shape)),
        "kernel_distance": kernel_distance(features, _features_behind(reference, number, extractor.name, settings)),
        "extractor": extractor.name,
        "forwards_per_sample": drawn.forwards_per_sample,
    }
    return pd.DataFrame([row]).reindex(columns=MASK_COLUMNS)


def real_miou(segmenter: Segmenter, images: Path, wanted: MaskSet, number: int) -> float:
    """Return a segmenter's mIoU on the real images of the first masks: the most that a sample can be credited with."""
    found = segmenter.segment(load_image_set(images).by_ids(wanted.ids[:number].tolist()).images)
    return miou(confusion(wanted.masks[:number], found, len(wanted.classes)))


def _features_behind(path: Path, wanted: int, extractor: str, settings: EvaluationConfig) -> Tensor:
    return load_description(path).features[extractor][wanted : wanted + settings.kernel_subset]
