"""The curve of labels: the judge's share against how many labelled images a head learned from, draw by draw."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd

from ..config.attributes import LabelCurveConfig
from ..diffusion.samples import load_samples, seed_range
from ..judges import AttributeClassifier, load_judge
from ..metrics.intervals import wilson_interval
from ..progress import Progress
from ..storage.tables import write_csv
from ..storage.weights import weights_digest
from .guidance import Steering
from .sweep import Swept

LABEL_COLUMNS = [
    "data_set", "attribute", "method", "labels", "draw", "judge_accuracy", "ci_low", "ci_high", "n", "seeds",
    "guidance_scale",
]  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class CurveFiles:
    """What is judged, and by whom; numbers of labels outside, draws inside.

    Attributes:
        samples: Samples of each number and draw, parquet.
        heads: Weights that steered them, safetensors, in the same order.
        judge: Weights folder of the judge.
    """

    samples: list[Path]
    heads: list[Path]
    judge: Path


def judge_label_curve(settings: LabelCurveConfig, curve: Swept, files: CurveFiles, output: Path) -> None:
    """Write the judge's share of every number of labels and draw, of one row and method.

    Args:
        settings: Section attributes.labels, JSON.
        curve: Whose it is.
        files: Samples, heads and judge.
        output: CSV to write, a row for each number and draw.

    Raises:
        CorruptFileError: If samples are damaged, or of another class, mode, scale or head.
    """
    judge = load_judge(files.judge, "judge")
    write_csv(output, pd.DataFrame(_rows(settings, curve, files, judge)).reindex(columns=LABEL_COLUMNS))


def _rows(
    settings: LabelCurveConfig, curve: Swept, files: CurveFiles, judge: AttributeClassifier
) -> Iterator[dict[str, Any]]:
    target = curve.target
    scale = float(getattr(target.guidance_scale, curve.mode))
    steering = Steering(curve.mode, target.attribute, target.value, scale)
    points = list(product(settings.numbers, range(settings.draws)))
    for (number, draw), samples, head in zip(
        Progress(points, desc="judging", unit="set"), files.samples, files.heads, strict=True
    ):
        drawn = load_samples([samples], {**steering.about, "head": weights_digest(head.parent)})
        found = (judge.probability(drawn.images, target.attribute) > 0.5) == target.value
        share = wilson_interval(int(found.sum()), len(found))
        yield {
            "data_set": curve.data_set, "attribute": target.label, "method": curve.mode, "labels": number, "draw": draw,
            "judge_accuracy": share.value, "ci_low": share.low, "ci_high": share.high, "n": len(found),
            "seeds": seed_range(drawn.seeds), "guidance_scale": scale,
        }  # fmt: skip
