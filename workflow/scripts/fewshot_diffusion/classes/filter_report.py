"""What the filter does: acceptance per class, an independent judge's opinion, and the filter's calibration."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from ..data.class_set import ClassSet
from ..data.image_set import load_image_set
from ..diffusion.denoiser import Denoiser, load_denoiser
from ..errors import DataError
from ..runtime import make_runtime
from ..storage.tables import write_csv
from ..storage.weights import weights_digest
from .classifier import ClassClassifier, accuracy, load_class_judge
from .filter import RejectionHead, load_filter, score
from .generated_set import GeneratedSet, load_generated

ACCEPTANCE_COLUMNS = [
    "data_set", "class", "threshold", "n_drawn", "n_accepted", "acceptance_rate", "judge_accuracy_accepted",
    "judge_accuracy_rejected", "judge_accuracy_real",
]  # fmt: skip
CALIBRATION_COLUMNS = ["data_set", "split", "confidence_low", "confidence_high", "n", "confidence", "accuracy"]
BINS = 10


@dataclass(frozen=True)
class ReportedImages:
    """What is reported on.

    Attributes:
        data_set: Its name.
        generated: Shards of generated images, parquet.
        test: Held-out real labelled images, parquet.
        threshold: Of the filter.
    """

    data_set: str
    generated: list[Path]
    test: Path
    threshold: float


@dataclass(frozen=True)
class ReportModels:
    """What is reported on, and what judges it.

    Attributes:
        denoiser: Weights folder of the unconditional denoiser.
        filter: Weights folder of the filter's head.
        judge: Weights folder of the independent judge.
    """

    denoiser: Path
    filter: Path
    judge: Path


def evaluate_filter(
    images: ReportedImages, models: ReportModels, acceptance: Path, calibration: Path, device: str = "auto"
) -> None:
    """Measure the filter: acceptance per class beside an independent judge, and its calibration on real images.

    Args:
        images: Generated and real images.
        models: Filter and judge.
        acceptance: CSV to write.
        calibration: CSV to write.
        device: auto, cpu, cuda or cuda:<n>.

    Raises:
        CorruptFileError: If a shard was filtered by another head or threshold, or read by another denoiser.
        DataError: If the judge or the test images know other classes.
    """
    runtime = make_runtime(device, "auto", cpu_threads=1)
    denoiser, test = load_denoiser(models.denoiser, runtime), load_image_set(images.test).class_set()
    head, _ = load_filter(models.filter, denoiser)
    filtered_by = {"denoiser": denoiser.digest, "filter": weights_digest(models.filter), "threshold": images.threshold}
    generated = load_generated(images.generated, filtered_by)
    kept = acceptance_rows(generated, test, load_class_judge(models.judge, runtime))
    kept = kept.assign(data_set=images.data_set, threshold=images.threshold)
    reliability = calibration_rows(denoiser, head, test).assign(data_set=images.data_set, split="class_test")
    write_csv(acceptance, kept[ACCEPTANCE_COLUMNS])
    write_csv(calibration, reliability[CALIBRATION_COLUMNS])


def acceptance_rows(generated: GeneratedSet, test: ClassSet, judge: ClassClassifier) -> pd.DataFrame:
    """Return one row per class, and one named ``all``: how much was kept, and what an independent judge says of it.

    Args:
        generated: Every sample that was drawn.
        test: Held-out real images: the ceiling is the judge's accuracy on them; in ``all``, the mean of the classes.
        judge: It took no part in drawing or filtering.

    Raises:
        DataError: If they do not know the same classes.
    """
    for name, classes in (("the judge", judge.classes), ("the test images", test.classes)):
        if classes != generated.classes:
            raise DataError(f"{name}: found the classes {classes[:3]}..., expected {generated.classes[:3]}...")
    right = judge.predict(generated.images) == generated.labels
    predicted = judge.predict(test.images)
    rows = []
    for label, name in enumerate(generated.classes):
        real = _share(predicted == label, test.labels == label)
        rows.append({"class": name, **_kept(generated, right, generated.labels == label), "judge_accuracy_real": real})
    real = accuracy(predicted, test.labels, len(test.classes))
    rows.append({"class": "all", **_kept(generated, right, torch.ones_like(right)), "judge_accuracy_real": real})
    return pd.DataFrame(rows)


def _kept(generated: GeneratedSet, right: Tensor, mine: Tensor) -> dict[str, float]:
    kept = mine & generated.accepted
    return {
        "n_drawn": int(mine.sum()),
        "n_accepted": int(kept.sum()),
        "acceptance_rate": float(kept.sum() / mine.sum()),
        "judge_accuracy_accepted": _share(right, kept),
        "judge_accuracy_rejected": _share(right, mine & ~generated.accepted),
    }


def calibration_rows(denoiser: Denoiser, head: RejectionHead, test: ClassSet) -> pd.DataFrame:
    """Return the filter's reliability on held-out real images: accuracy within bins of its highest probability.

    The last row, from 0 to 1, holds all images: its accuracy is the filter's own, over images, not over classes.
    """
    confidence, predicted = score(denoiser, head, test.images).exp().max(1)
    right = predicted == test.labels
    rows = []
    for low, high in [*((k / BINS, (k + 1) / BINS) for k in range(BINS)), (0.0, 1.0)]:
        inside = (confidence > low) & (confidence <= high)
        bounds = {"confidence_low": low, "confidence_high": high, "n": int(inside.sum())}
        rows.append({**bounds, "confidence": _share(confidence, inside), "accuracy": _share(right, inside)})
    return pd.DataFrame(rows)


def _share(values: Tensor, where: Tensor) -> float:
    return float(values[where].double().mean())  # NaN, an empty cell of the CSV, where there are none
