"""What the filter does: acceptance per class, an independent judge's opinion, and the filter's calibration."""

from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from ..data.class_set import ClassSet
from ..diffusion.denoiser import Denoiser
from ..errors import DataError
from ..runtime import Runtime
from .classifier import accuracy, load_class_judge
from .filter import RejectionHead, score
from .generation import GeneratedSet

ACCEPTANCE_COLUMNS = [
    "data_set", "class", "threshold", "n_drawn", "n_accepted", "acceptance_rate", "judge_accuracy_accepted",
    "judge_accuracy_rejected", "judge_accuracy_real",
]  # fmt: skip


CALIBRATION_COLUMNS = ["data_set", "split", "confidence_low", "confidence_high", "n", "confidence", "accuracy"]


BINS = 10


def acceptance_rows(
    data_set: str, generated: GeneratedSet, test: ClassSet, judge: Path, threshold: float, runtime: Runtime
) -> pd.DataFrame:
    """Return one row per class, and one named ``all``: how much was kept, and what an independent judge says of it.

    Args:
        data_set: Its name.
        generated: Every sample that was drawn.
        test: Held-out real images: the ceiling is the judge's accuracy on them; in ``all``, the mean of the classes.
        judge: Weights folder of the judge; it took no part in drawing or filtering.
        threshold: Of the filter.
        runtime: Device and precision.

    Raises:
        DataError: If the judge knows other classes.
    """
    model = load_class_judge(judge).to(runtime.device)
    if model.classes != generated.classes:
        raise DataError(f"{judge}: knows the classes {model.classes[:3]}..., expected {generated.classes[:3]}...")
    right = model.predict(generated.images) == generated.labels
    real_predicted = model.predict(test.images)
    real_right, real_accuracy = real_predicted == test.labels, accuracy(real_predicted, test.labels, len(test.classes))
    rows = []
    everything = torch.ones_like(right)
    for label, name in [*enumerate(generated.classes), (None, "all")]:
        mine = everything if label is None else generated.labels == label
        real = torch.ones_like(real_right) if label is None else test.labels == label
        kept = mine & generated.accepted
        rows.append(
            {
                "data_set": data_set,
                "class": name,
                "threshold": threshold,
                "n_drawn": int(mine.sum()),
                "n_accepted": int(kept.sum()),
                "acceptance_rate": float(kept.sum() / mine.sum()),
                "judge_accuracy_accepted": _share(right, kept),
                "judge_accuracy_rejected": _share(right, mine & ~generated.accepted),
                "judge_accuracy_real": _share(real_right, real) if label is not None else real_accuracy,
            }
        )
    return pd.DataFrame(rows).reindex(columns=ACCEPTANCE_COLUMNS)


def calibration_rows(
    data_set: str, denoiser: Denoiser, head: RejectionHead, test: ClassSet, runtime: Runtime
) -> pd.DataFrame:
    """Return the filter's reliability on held-out real images: accuracy within bins of its highest probability.

    The last row, from 0 to 1, holds all images: its accuracy is the filter's own, over images, not over classes.
    """
    confidence, predicted = score(denoiser, head, test.images, runtime).exp().max(1)
    right = predicted == test.labels
    edges = [(k / BINS, (k + 1) / BINS) for k in range(BINS)] + [(0.0, 1.0)]
    rows = []
    for low, high in edges:
        inside = (confidence > low) & (confidence <= high)
        rows.append(
            {
                "data_set": data_set,
                "split": "class_test",
                "confidence_low": low,
                "confidence_high": high,
                "n": int(inside.sum()),
                "confidence": _share(confidence, inside),
                "accuracy": _share(right, inside),
            }
        )
    return pd.DataFrame(rows).reindex(columns=CALIBRATION_COLUMNS)


def _share(values: Tensor, where: Tensor) -> float:
    return float(values[where].double().mean())  # NaN, an empty cell of the CSV, where there are none
