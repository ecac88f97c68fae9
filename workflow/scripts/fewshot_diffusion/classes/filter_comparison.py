"""What a filter is worth: right on real images, and what it would keep of everything that was drawn, by threshold."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from ..data.class_set import ClassSet
from ..data.image_set import load_image_set
from ..diffusion.denoiser import load_denoiser
from ..errors import DataError
from ..metrics.intervals import Interval, wilson_interval
from ..runtime import make_runtime
from ..storage.tables import write_csv
from .classifier import ClassClassifier, load_class_judge
from .filter import RejectionHead, load_filter, score
from .filter_report import ReportModels
from .generated_set import GeneratedSet, is_accepted, load_generated

FILTER_COLUMNS = [
    "data_set", "tap", "timesteps", "split", "n_real", "accuracy", "accuracy_low", "accuracy_high",
    "threshold", "n_drawn", "n_kept", "share_kept", "share_low", "share_high", "judge_accuracy", "ci_low", "ci_high",
]  # fmt: skip
NOTHING = Interval(float("nan"), float("nan"), float("nan"))
"""The share of no samples: empty cells of the CSV."""


@dataclass(frozen=True)
class FilteredImages:
    """What a filter is asked about.

    Attributes:
        data_set: Its name.
        split: Name of the held-out split.
        held_out: Real labelled images that no filter has seen, parquet.
        generated: Shards of generated images, whatever filtered them, parquet.
    """

    data_set: str
    split: str
    held_out: Path
    generated: list[Path]


def measure_class_filter(
    thresholds: list[float], images: FilteredImages, models: ReportModels, output: Path, device: str = "auto"
) -> None:
    """Measure how often a filter is right on real images, and what it would keep of every sample that was drawn.

    Args:
        thresholds: A sample is kept if p(class) is at least that.
        images: Generated and real images.
        models: Filter and judge.
        output: CSV to write, a row for each threshold.
        device: auto, cpu, cuda or cuda:<n>.

    Raises:
        CorruptFileError: If a shard is damaged or was filtered by another denoiser's activations.
        DataError: If filter, judge, real and generated images do not know the same classes.
    """
    runtime = make_runtime(device, "auto", cpu_threads=1)
    denoiser, real = load_denoiser(models.denoiser, runtime), load_image_set(images.held_out).class_set()
    (head, _), judge = load_filter(models.filter, denoiser), load_class_judge(models.judge, runtime)
    generated = load_generated(images.generated, {"denoiser": denoiser.digest})
    _require_same_classes(generated, head, judge, real)
    log_prob = score(denoiser, head, generated.images)[torch.arange(len(generated.labels)), generated.labels]
    about = {
        "data_set": images.data_set,
        "split": images.split,
        "tap": head.settings["tap"],
        "timesteps": " ".join(map(str, head.settings["timesteps"])),
        **_accuracy(score(denoiser, head, real.images), real.labels),
    }
    write_csv(output, kept_rows(generated, log_prob, judge, thresholds).assign(**about)[FILTER_COLUMNS])


def kept_rows(
    generated: GeneratedSet, log_prob: Tensor, judge: ClassClassifier, thresholds: Sequence[float]
) -> pd.DataFrame:
    """Return a row per threshold: the share that is kept, and the judge's accuracy among it, with Wilson's intervals.

    Args:
        generated: Every sample that was drawn, kept or not.
        log_prob: What the filter gives the class of each, nats, [N].
        judge: It took no part in drawing or filtering.
        thresholds: Probabilities; 0 keeps all.
    """
    right, rows = judge.predict(generated.images) == generated.labels, []
    for threshold in thresholds:
        kept = is_accepted(log_prob, threshold)
        number, drawn = int(kept.sum()), len(kept)
        share = wilson_interval(number, drawn)
        judged = wilson_interval(int(right[kept].sum()), number) if number else NOTHING
        rows.append(
            {
                "threshold": threshold, "n_drawn": drawn, "n_kept": number,
                "share_kept": share.value, "share_low": share.low, "share_high": share.high,
                "judge_accuracy": judged.value, "ci_low": judged.low, "ci_high": judged.high,
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def _accuracy(log_prob: Tensor, labels: Tensor) -> dict[str, Any]:
    """Return how often the first choice is right, over images, not over classes."""
    found = wilson_interval(int((log_prob.argmax(1) == labels).sum()), len(labels))
    return {
        "n_real": len(labels), "accuracy": found.value, "accuracy_low": found.low, "accuracy_high": found.high,
    }  # fmt: skip


def _require_same_classes(generated: GeneratedSet, head: RejectionHead, judge: ClassClassifier, real: ClassSet) -> None:
    for name, known in (("the filter", head), ("the judge", judge), ("the real images", real)):
        if known.classes != generated.classes:
            raise DataError(f"{name}: found the classes {known.classes[:3]}..., expected {generated.classes[:3]}...")
