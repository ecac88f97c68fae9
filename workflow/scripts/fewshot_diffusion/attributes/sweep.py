"""Choosing guidance_scale: a sweep on its own seeds, judged by its own judge."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from torch import Tensor

from ..config.attributes import AttributeSweepConfig, TargetConfig
from ..diffusion.samples import SampleSet, load_samples, seed_range
from ..judges import AttributeClassifier, load_judge
from ..metrics.intervals import wilson_interval
from ..storage.tables import write_csv
from .guidance import Steering

SWEEP_COLUMNS = [
    "data_set", "attribute", "mode", "guidance_scale", "tuning_judge_accuracy", "ci_low", "ci_high",
    "contrast", "n", "seeds", "chosen",
]  # fmt: skip


@dataclass(frozen=True)
class Swept:
    """What was swept.

    Attributes:
        data_set: Name of the data set.
        target: The row, JSON.
        mode: How the samples were steered: exact, readout, steering or distribution.
    """

    data_set: str
    target: TargetConfig
    mode: str


def choose_attribute_scale(
    settings: AttributeSweepConfig, swept: Swept, judge: Path, samples: list[Path], output: Path
) -> None:
    """Score one class's sweep over guidance_scale by the tuning judge and choose a scale.

    Args:
        settings: Section attributes.sweep, JSON.
        swept: What was swept.
        judge: Weights folder of the tuning judge.
        samples: One shard per scale, in the order of the mode's scales in ``settings``.
        output: CSV to write.

    Raises:
        CorruptFileError: If a shard is damaged, or of another class, mode or scale.
    """
    drawn, wanted = {}, swept.target.wanted(swept.mode)
    for scale, path in zip(settings.scales_of(swept.mode).values(), samples, strict=True):
        steering = Steering(swept.mode, swept.target.attribute, wanted, scale)
        drawn[scale] = load_samples([path], steering.about)
    write_csv(output, sweep_rows(swept, drawn, load_judge(judge, "tuning_judge"), settings))


def sweep_rows(
    swept: Swept, samples: Mapping[float, SampleSet], judge: AttributeClassifier, settings: AttributeSweepConfig
) -> pd.DataFrame:
    """Return the tuning judge's share of the wanted class at every scale, and which scale is chosen.

    ``contrast`` is the mean standard deviation of a sample's pixels (0..255): guidance that is too strong
    pulls colours to grey, which no classifier notices.
    """
    target, rows = swept.target, []
    for scale, drawn in sorted(samples.items()):
        wanted = (judge.probability(drawn.images, target.attribute) > 0.5) == target.value
        interval = wilson_interval(int(wanted.sum()), len(wanted))
        rows.append(
            {
                "data_set": swept.data_set,
                "attribute": target.label,
                "mode": swept.mode,
                "guidance_scale": scale,
                "tuning_judge_accuracy": interval.value,
                "ci_low": interval.low,
                "ci_high": interval.high,
                "contrast": contrast(drawn.pixels),
                "n": len(wanted),
                "seeds": seed_range(drawn.seeds),
            }
        )
    frame = pd.DataFrame(rows)
    wanted_value = target.wanted(swept.mode)
    share = wanted_value if isinstance(wanted_value, float) else 1.0
    frame["chosen"] = frame["guidance_scale"] == choose_scale(frame, settings.tolerance, share)
    return frame.reindex(columns=SWEEP_COLUMNS)


def choose_scale(frame: pd.DataFrame, tolerance: float, share: float = 1.0) -> float:
    """Return the smallest scale whose share is within ``tolerance`` of the best: strong enough, no stronger.

    Args:
        frame: A row for each scale, ``SWEEP_COLUMNS``.
        tolerance: How far from the best share is good enough, 0..1.
        share: Which share is the best: of a class all, of a distribution the one that is wanted.
    """
    away = (frame["tuning_judge_accuracy"] - share).abs()
    enough = away <= away.min() + tolerance + 1e-9  # what is as far as the tolerance is enough, whatever the rounding
    return float(frame.loc[enough, "guidance_scale"].min())


def contrast(images: Tensor) -> float:
    """Return the mean over images of the standard deviation of their pixels, 0..255."""
    return float(images.float().flatten(1).std(dim=1).mean())
