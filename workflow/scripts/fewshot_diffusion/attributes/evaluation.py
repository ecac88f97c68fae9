"""Rows of the tables: distances of each method to the wanted class, and the judge's shares."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import nan
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from ..config.attributes import TargetConfig
from ..config.evaluation import EvaluationConfig
from ..data.image_set import load_attributes
from ..diffusion.samples import seed_range
from ..errors import DataError
from ..metrics.descriptions import Description, load_description
from ..metrics.intervals import Bootstrapped, Interval, difference_interval, wilson_interval
from ..metrics.measures import prepare_measures
from ..metrics.notes import few_note, joined, judge_note
from ..progress import Progress
from ..storage.files import corrupt
from ..storage.tables import write_csv

TABLE_COLUMNS = [
    "data_set", "attribute", "method", "metric", "value", "ci_low", "ci_high", "floor", "minus_unguided",
    "minus_unguided_low", "minus_unguided_high", "paired", "n", "seeds", "judge_accuracy", "judge_real",
    "forwards_per_sample", "seconds_per_sample", "training_images", "published", "kind", "note",
]  # fmt: skip


JUDGE_COLUMNS = [
    "data_set", "attribute", "method", "judge_accuracy", "ci_low", "ci_high", "judge_real", "n", "seeds",
    "acceptance_rate", "kind", "note",
]  # fmt: skip


@dataclass(frozen=True)
class Described:
    """Where the images of one class are described.

    Attributes:
        descriptions: Folder: <method>/<class>.safetensors.
        real: Folder: reference.safetensors, controls.safetensors.
        methods: Methods to compare, in the table's order.
        reference: Images of the split reference, parquet: its attributes.
        controls: Images of the split controls, parquet: its attributes.
        training_images: Images that each method's generative model saw in training, in the order of methods; 0: none,
            or nobody knows.
    """

    descriptions: Path
    real: Path
    methods: list[str]
    reference: Path
    controls: Path
    training_images: list[int] = field(default_factory=list)

    def candidates(self, target: TargetConfig) -> list[Description]:
        """Return the images that stand for a class by each method.

        Raises:
            CorruptFileError: If a file is damaged, or of another method, class or guidance_scale.
        """
        scales = target.guidance_scale.model_dump()
        found = []
        for method in self.methods:
            value = target.wanted(method)
            expected: dict[str, Any] = {"method": method, "attribute": target.attribute, "value": value}
            if method in scales:
                expected["guidance_scale"] = scales[method]
            found.append(load_description(self.descriptions / method / f"{target.name}.safetensors", expected))
        return found

    def real_class(self, target: TargetConfig) -> "RealClass":
        """Return the real images of a class.

        Raises:
            CorruptFileError: If a file is damaged, or describes other images than those of its split.
        """
        reference, shown = labelled(self.real / "reference.safetensors", self.reference, target)
        controls, held_out = labelled(self.real / "controls.safetensors", self.controls, target)
        accuracy = balanced_accuracy(controls.judged(target.attribute, True), held_out == target.value)
        return RealClass(reference.select(shown), controls.select(held_out), accuracy)


@dataclass(frozen=True)
class RealClass:
    """Real images of the wanted class.

    Attributes:
        reference: What distances are measured to.
        held_out: Images of other ids: the floor of every distance, and the judge's own share.
        judge_accuracy: The judge's balanced accuracy on images with and without the attribute, of those ids, 0..1.
    """

    reference: Description
    held_out: Description
    judge_accuracy: float


def evaluate_attributes(
    settings: EvaluationConfig, target: TargetConfig, data_set: str, files: Described, distances: Path, shares: Path
) -> None:
    """Compare all methods with one class: distances, and the judge's shares.

    Args:
        settings: Section evaluation, JSON.
        target: The row, JSON.
        data_set: Name of the data set.
        files: Where the images are described.
        distances: CSV to write: a row per method and metric.
        shares: CSV to write: a row per method.
    """
    candidates, real = files.candidates(target), files.real_class(target)
    seen = {
        method: n for method, n in zip(files.methods, files.training_images, strict=bool(files.training_images)) if n
    }
    rows = distance_rows(data_set, target, candidates, real, settings)
    write_csv(distances, rows.assign(training_images=rows["method"].map(seen).astype("Int64")))
    write_csv(shares, share_rows(data_set, target, candidates, real, settings))


def distance_rows(
    data_set: str, target: TargetConfig, candidates: Sequence[Description], real: RealClass, settings: EvaluationConfig
) -> pd.DataFrame:
    """Return every metric of every candidate against the class, under every extractor.

    A metric takes ``settings.samples`` images, or all where a filter left fewer: then ``n`` says so.
    ``floor`` is the metric of as many held-out real images of the class, ``minus_unguided`` the metric less that of
    unguided samples, where these are among the candidates.

    Raises:
        DataError: If there are fewer held-out real images of the class than that.
    """
    rows = []
    chosen = [candidate.first(settings.samples) for candidate in candidates]
    for extractor, reference in real.reference.features.items():
        measured = prepare_measures(reference, extractor, settings)
        floors: dict[int, dict[str, Bootstrapped]] = {}
        found = [measured(images.features[extractor]) for images in Progress(chosen, desc=extractor, unit="method")]
        unguided = next((pair for pair in zip(chosen, found, strict=True) if pair[0].method == "unguided"), None)
        for images, distances in zip(chosen, found, strict=True):
            n = len(images)
            if n not in floors:
                floors[n] = measured(held_out(real, target, n).features[extractor])
            for name, distance in distances.items():
                shared = {"data_set": data_set, "attribute": target.label, **about_images(images, target)}
                beside = difference(images, distance, unguided[0], unguided[1][name]) if unguided else {}
                said = {"floor": floors[n][name].value, **_reservations(real, n, settings)}
                rows.append({**shared, "metric": name, **_interval(distance, "value"), **beside, **said})
    return pd.DataFrame(rows).reindex(columns=TABLE_COLUMNS)


def difference(
    images: Description, distance: Bootstrapped, unguided: Description, distance_unguided: Bootstrapped
) -> dict[str, object]:
    """Return what a row says of its distance less that of unguided samples; of themselves, and of no images, nothing.

    Samples of the same seeds begin as the same noise: their distances are resampled together, and what the denoiser
    alone does cancels.

    Args:
        images: The row's images.
        distance: Their distance.
        unguided: Unguided samples.
        distance_unguided: Their distance.
    """
    if images is unguided or not (distance.replicates and distance_unguided.replicates):
        return {}
    paired = torch.equal(images.ids, unguided.ids)
    found = difference_interval(distance, distance_unguided, paired)
    bounds = {"minus_unguided_low": found.low, "minus_unguided_high": found.high}
    return {"minus_unguided": found.value, **bounds, "paired": paired}


def held_out(real: RealClass, target: TargetConfig, n: int) -> Description:
    """Return ``n`` held-out real images of the class.

    Raises:
        DataError: If there are fewer.
    """
    if len(real.held_out) < n:
        raise DataError(
            f"{target.label}: the floor takes {n} held-out real images of the class, the controls have "
            f"{len(real.held_out)}. Raise data.splits.controls or lower evaluation.samples."
        )
    return real.held_out.first(n)


def share_rows(
    data_set: str, target: TargetConfig, candidates: Sequence[Description], real: RealClass, settings: EvaluationConfig
) -> pd.DataFrame:
    """Return the judge's share of the wanted class: of every candidate, and of held-out real images (``real``)."""
    rows = []
    for chosen in [real.held_out, *(candidate.first(settings.samples) for candidate in candidates)]:
        hits = int(chosen.judged(target.attribute, target.value).sum())
        interval = wilson_interval(hits, len(chosen)) if len(chosen) else Interval(nan, nan, nan)
        rows.append(
            {
                "data_set": data_set,
                "attribute": target.label,
                "method": chosen.method,
                **_interval(interval, "judge_accuracy"),
                "n": len(chosen),
                "seeds": _seeds_of(chosen),
                "acceptance_rate": chosen.cost.acceptance_rate,
                **_reservations(real, len(chosen), settings),
            }
        )
    return pd.DataFrame(rows).reindex(columns=JUDGE_COLUMNS)


def balanced_accuracy(found: torch.Tensor, true: torch.Tensor) -> float:
    """Return the mean of the shares of true and of false that are found so, both bool [N]; NaN without one of them."""
    shares = torch.stack([(found == true)[true == value].double().mean() for value in (True, False)])
    return float(shares.mean())


def _reservations(real: RealClass, n: int, settings: EvaluationConfig) -> dict[str, object]:
    note = joined(few_note(n, settings.samples), judge_note(real.judge_accuracy))
    return {"judge_real": real.judge_accuracy, "note": note}


def about_images(chosen: Description, target: TargetConfig) -> dict[str, object]:
    """Return what rows say of the images of a method: how many, of which seeds, the judge's share, and their cost."""
    kept = chosen.cost.acceptance_rate or nan
    return {
        "method": chosen.method,
        "n": len(chosen),
        "seeds": _seeds_of(chosen),
        "judge_accuracy": float(chosen.judged(target.attribute, target.value).float().mean()),
        "forwards_per_sample": chosen.cost.forwards_per_sample / kept,
        "seconds_per_sample": chosen.cost.seconds_per_sample / kept,
    }


def _interval(found: Interval, name: str) -> dict[str, float]:
    return {name: found.value, "ci_low": found.low, "ci_high": found.high}


def _seeds_of(chosen: Description) -> str:
    return "" if chosen.method in ("real", "naive") else seed_range(chosen.ids)


def labelled(path: Path, images: Path, target: TargetConfig) -> tuple[Description, torch.Tensor]:
    """Return the images of a split, and which of them are of the class, bool [N].

    Raises:
        CorruptFileError: If the file is damaged, or describes other images.
    """
    described, attributes = load_description(path, {"method": "real"}), load_attributes(images)
    if described.ids.tolist() != attributes.index.tolist():
        raise corrupt(path, f"describes other images than those of {images}")
    return described, torch.from_numpy((attributes[target.attribute] == target.value).to_numpy(copy=True))
