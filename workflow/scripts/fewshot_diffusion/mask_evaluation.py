"""Rows of the mask tables: agreement with the wanted masks, diversity, distance to real images, cost."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from .config.evaluation import EvaluationConfig
from .config.segmentation import SegmentationConfig
from .datasets import load_image_set
from .datasets.masks import MaskSet, load_masks
from .denoisers import Denoiser, load_denoiser
from .descriptions import load_description
from .errors import DataError
from .evaluation import seed_range
from .extractors import extract_features, make_extractor
from .features import extract
from .mask_guidance import load_guide
from .mask_metrics import agreement, confusion, diversity, miou
from .metrics import kernel_distance
from .runtime import Runtime
from .samples import SampleSet, load_samples
from .schedule import add_noise, make_scheduler
from .seeds import generator
from .segmentation_heads import SegmentationHead
from .segmenters import Segmenter, load_segmenter

MASK_COLUMNS = [
    "data_set", "shots", "method", "preset", "n", "seeds", "guidance_scale", "miou", "ci_low", "ci_high", "miou_real",
    "pixel_accuracy", "diversity", "kernel_distance", "extractor", "forwards_per_sample",
]  # fmt: skip
MASK_SWEEP_COLUMNS = [
    "data_set", "method", "preset", "guidance_scale", "tuning_miou", "own_miou", "n", "seeds", "chosen",
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


def mask_sweep_rows(
    labels: Mapping[str, object],
    *,
    samples: Mapping[float, SampleSet],
    masks: Path,
    denoiser: Path,
    guide: Path,
    segmenter: Path,
    settings: SegmentationConfig,
    runtime: Runtime,
) -> pd.DataFrame:
    """Return one method's sweep: mIoU by the tuning segmenter and, beside it, by the guide itself.

    Guidance that is too strong shows as an own score that still rises while the tuning score falls.
    """
    wanted = load_masks(masks)
    model = load_segmenter(segmenter, "tuning_judge", wanted.classes).to(runtime.device)
    frozen = load_denoiser(denoiser, runtime)
    own = load_guide(str(labels["method"]), guide, frozen, wanted.classes).to(runtime.device)
    noised = labels["method"] == "readout"  # its head knows noised images only
    rows = []
    for scale, drawn in sorted(samples.items()):
        shown = wanted.masks[: settings.tuning_masks][[int(seed) % settings.tuning_masks for seed in drawn.seeds]]
        opinion = _own_opinion(own, frozen, drawn.images, noised)
        rows.append(
            {
                **labels,
                "guidance_scale": scale,
                "tuning_miou": miou(confusion(shown, model.segment(drawn.images), len(wanted.classes))),
                "own_miou": miou(confusion(shown, opinion, len(wanted.classes))),
                "n": len(drawn.seeds),
                "seeds": seed_range(drawn.seeds),
            }
        )
    frame = pd.DataFrame(rows)
    enough = frame["tuning_miou"] >= frame["tuning_miou"].max() - settings.tolerance
    frame["chosen"] = frame["guidance_scale"] == frame.loc[enough, "guidance_scale"].min()
    return frame.reindex(columns=MASK_SWEEP_COLUMNS)


def _own_opinion(guide: SegmentationHead | Segmenter, denoiser: Denoiser, images: Tensor, noised: bool) -> Tensor:
    if isinstance(guide, Segmenter):
        return guide.segment(images)
    found = []
    timestep = guide.timesteps[0]
    for k, batch in enumerate(images.split(50)):
        samples = batch.float() / 127.5 - 1
        if noised:
            noise = torch.randn(samples.shape, generator=generator("own opinion", k))
            samples = add_noise(samples, noise, make_scheduler(denoiser.schedule).alphas_cumprod[timestep])
        with torch.no_grad():
            maps = extract(denoiser.unet, samples.to(denoiser.unet.device), timestep, guide.modules_tapped)
            found.append(guide(maps, timestep).argmax(1).to(torch.uint8).cpu())
    return torch.cat(found)


def _features_behind(path: Path, wanted: int, extractor: str, settings: EvaluationConfig) -> Tensor:
    return load_description(path).features[extractor][wanted : wanted + settings.kernel_subset]
