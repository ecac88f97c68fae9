"""Choosing guidance_scale: a sweep on its own seeds, judged by its own judge."""

from collections.abc import Mapping

import pandas as pd
from torch import Tensor

from ..config.attributes import TargetConfig, TuningConfig
from ..diffusion.samples import SampleSet, seed_range
from ..judges import AttributeClassifier
from ..metrics.intervals import wilson_interval

SWEEP_COLUMNS = [
    "data_set", "attribute", "mode", "guidance_scale", "tuning_judge_accuracy", "ci_low", "ci_high",
    "contrast", "n", "seeds", "chosen",
]  # fmt: skip


def sweep_rows(
    data_set: str,
    target: TargetConfig,
    mode: str,
    samples: Mapping[float, SampleSet],
    judge: AttributeClassifier,
    settings: TuningConfig,
) -> pd.DataFrame:
    """Return the tuning judge's share of the wanted class at every scale, and which scale is chosen.

    ``contrast`` is the mean standard deviation of a sample's pixels (0..255): guidance that is too strong
    pulls colours to grey, which no classifier notices.
    """
    rows = []
    for scale, drawn in sorted(samples.items()):
        wanted = (judge.probability(drawn.images, target.attribute) > 0.5) == target.value
        interval = wilson_interval(int(wanted.sum()), len(wanted))
        rows.append(
            {
                "data_set": data_set,
                "attribute": target.label,
                "mode": mode,
                "guidance_scale": scale,
                "tuning_judge_accuracy": interval.value,
                "ci_low": interval.low,
                "ci_high": interval.high,
                "contrast": contrast(drawn.images),
                "n": len(wanted),
                "seeds": seed_range(drawn.seeds),
            }
        )
    frame = pd.DataFrame(rows)
    frame["chosen"] = frame["guidance_scale"] == choose_scale(frame, settings.tolerance)
    return frame.reindex(columns=SWEEP_COLUMNS)


def choose_scale(frame: pd.DataFrame, tolerance: float) -> float:
    """Return the smallest scale whose share is within ``tolerance`` of the best: strong enough, no stronger."""
    enough = frame["tuning_judge_accuracy"] >= frame["tuning_judge_accuracy"].max() - tolerance
    return float(frame.loc[enough, "guidance_scale"].min())


def contrast(images: Tensor) -> float:
    """Return the mean over images of the standard deviation of their pixels, 0..255."""
    return float(images.float().flatten(1).std(dim=1).mean())
