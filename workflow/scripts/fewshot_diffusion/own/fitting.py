"""Heads and learning curves from the labels: the denoiser is asked once, all choices are made on what it said."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from ..attributes.features import load_shot_features, save_shot_features
from ..config.attributes import AttributeHeadConfig
from ..config.own import OwnLearningConfig
from ..data.image_set import load_image_set
from ..masks.metrics import miou
from ..pipeline.cached import TapFeatures, joint_taps, tap_features
from ..pipeline.cached_pairs import CachedPairs
from ..pipeline.heads import (
    FittedHead,
    attribute_settings,
    cache_pairs,
    fit_cached,
    fit_cached_masks,
    save_head,
    tap_candidates,
)
from ..storage.files import write_json
from ..storage.tables import write_csv
from .curve import Curve, bootstrapped, learning_curve
from .model import open_model
from .pairs import OwnPairs
from .shots import shots_of


@dataclass(frozen=True)
class OwnHead:
    """Where a head and what is known of it go.

    Attributes:
        head: Folder of the head to write.
        report: What was chosen, how well it does, and what follows, to write, JSON.
        curve: Accuracy against the number of labels, to write, CSV.
    """

    head: Path
    report: Path
    curve: Path

    def write(self, fitted: FittedHead, denoiser: str, curve: Curve, about: dict[str, Any]) -> None:
        """Write all three."""
        advice = curve.advice()
        found = {"name": fitted.name, "mode": fitted.mode, "taps": fitted.taps, **about, **asdict(advice)}
        compared = fitted.report.get("compared", {})
        save_head(fitted, self.head, denoiser)
        write_json(self.report, {**found, "compared": compared})
        write_csv(self.curve, pd.DataFrame(curve.rows()).assign(name=fitted.name))


def extract_own_features(
    settings: OwnLearningConfig, images: Path, model: Path, output: Path, device: str = "auto"
) -> None:
    """Cache what heads may read of every image that some head learns from: one pass for all modules and attributes.

    Args:
        settings: Section own.learning, JSON.
        images: Labelled images, parquet.
        model: Folder that diffusers wrote.
        output: Cache to write, safetensors.
        device: auto, cpu, cuda or cuda:<n>.
    """
    denoiser, labelled = open_model(model, device=device).denoiser, load_image_set(images)
    marks = [
        shots_of(labelled.ids, labelled.mask(name, True), settings.shots) for name in map(str, labelled.attributes)
    ]
    shots = labelled.select(torch.stack(marks).any(0))
    nobody = torch.zeros(len(shots), dtype=torch.bool)  # whose labels are whose is for the heads to know
    taps = joint_taps(tap_candidates(denoiser, settings.taps))
    head = attribute_settings(denoiser, nobody, {"taps": taps, "flip": settings.flip, "positive_shots": 1})
    found = tap_features(denoiser, settings.mode, (shots.pixels, nobody, shots.ids), head)
    widths = list(found.widths.values())  # in the order of the taps, which a header's mapping would not keep
    about = {"denoiser": denoiser.digest, "widths": widths, "settings": head.model_dump(mode="json")}
    save_shot_features(found.shots, output, {**about, "mode": settings.mode})


def fit_own_attribute(
    settings: OwnLearningConfig, attribute: str, title: str, images: Path, features: Path, output: OwnHead
) -> None:
    """Fit the head of one attribute, at the module that predicts its shots best, and its learning curve.

    Args:
        settings: Section own.learning, JSON.
        attribute: Name of the attribute in files.
        title: What people call it.
        images: Labelled images, parquet.
        features: Cached features, safetensors.
        output: What to write.

    Raises:
        CorruptFileError: If the features are of another mode.
        DataError: If they are not finite.
    """
    shots, about = load_shot_features(features, {"mode": settings.mode})
    labelled = load_image_set(images)
    having = labelled.mask(attribute, True)
    chosen = shots_of(labelled.ids, having, settings.shots)
    head = _settings(AttributeHeadConfig.model_validate(about["settings"]), having[chosen])
    widths = dict(zip(head.taps, about["widths"], strict=True))
    cached = TapFeatures(shots, widths).of(labelled.ids[chosen], having[chosen])
    candidates = [[tap] for tap in widths] if settings.taps == "auto" else [list(settings.taps)]
    fitted = fit_cached(title, settings.mode, cached, candidates, head)
    fit = fitted.report["cross_validation"]
    curve = learning_curve(cached.at(fitted.taps), fit["l2"], head)
    said = {"with": int(having[chosen].sum()), "without": int((~having[chosen]).sum()), **fit}
    output.write(fitted, about["denoiser"], curve, said)


def fit_own_masks(
    settings: OwnLearningConfig, images: Path, masks: Path, model: Path, output: OwnHead, device: str = "auto"
) -> None:
    """Fit the head of masks, at the modules by which other pairs' masks are found best, and its learning curve.

    Args:
        settings: Section own.learning, JSON.
        images: Images that have masks, parquet.
        masks: Their masks, parquet.
        model: Folder that diffusers wrote.
        output: What to write.
        device: auto, cpu, cuda or cuda:<n>.
    """
    pipe, pairs = open_model(model, device=device), OwnPairs(images, masks, settings.shots).of_head()
    options = {"taps": settings.taps, "flip": settings.flip}
    cached, candidates = cache_pairs(pipe.denoiser, pairs, settings.mode, options)
    fitted = fit_cached_masks(settings.mode, cached, candidates)
    curve = masks_curve(cached, fitted.taps)
    said = {"pairs": len(pairs), "classes": pairs.classes, **fitted.report["fit"]}
    output.write(fitted, pipe.denoiser.digest, curve, said)


def masks_curve(cached: CachedPairs, taps: Sequence[str]) -> Curve:
    """Measure heads that learned from ever fewer pairs on those that they have not seen, trained shortly.

    Args:
        cached: Activations of all pairs.
        taps: Modules that the heads read.
    """
    numbers = [cached.learned]
    while numbers[-1] >= 4:
        numbers.append(numbers[-1] // 2)
    strata, values, replicates = torch.zeros(cached.number), [], []
    for number in numbers[::-1]:
        found = cached.confusions(taps, number)
        values.append(miou(found))
        replicates.append(bootstrapped(_miou_of(found), strata))
    return Curve("mIoU", "pairs", numbers[::-1], values, torch.stack(replicates))


def _miou_of(confusions: Tensor) -> Callable[[Tensor], float]:
    return lambda drawn: miou(confusions[drawn])


def _settings(settings: AttributeHeadConfig, having: Tensor) -> AttributeHeadConfig:
    """Return the settings that the features were computed with, with what depends on labels."""
    positive, negative = int(having.sum()), int((~having).sum())
    folds = max(2, min(5, positive, negative))
    return settings.model_copy(update={"positive_shots": positive, "negative_shots": negative, "folds": folds})
