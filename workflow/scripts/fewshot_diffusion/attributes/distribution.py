"""The table of distributions: which share of a sample set has an attribute, where a share was wanted of each work unit.

A class prior moves every distance to a class. Here unguided samples and those of a wanted share stand beside each
other, before the same real images: such of which the wanted share has the attribute, and all as they come.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from torch import Tensor

from ..config.attributes import TargetConfig
from ..config.evaluation import EvaluationConfig
from ..errors import DataError
from ..metrics.descriptions import Description
from ..metrics.intervals import Interval, wilson_interval
from ..metrics.measures import prepare_measures
from ..metrics.notes import few_note, joined, judge_note
from ..progress import Progress
from ..storage.tables import write_csv
from .evaluation import Described, about_images, balanced_accuracy, labelled

DISTRIBUTION_COLUMNS = [
    "data_set", "attribute", "method", "wanted_share", "found_share", "share_low", "share_high", "away", "away_low",
    "away_high", "reference", "metric", "value", "ci_low", "ci_high", "floor", "n", "n_reference", "seeds",
    "judge_real", "forwards_per_sample", "seconds_per_sample", "kind", "note",
]  # fmt: skip


@dataclass(frozen=True)
class RealShare:
    """Real images that distances are measured to.

    Attributes:
        name: ``balanced``: of which the wanted share has the attribute; ``all``: as they come.
        reference: The images.
        held_out: As many images of other ids as there are samples, of the same share: the floor of every distance.
    """

    name: str
    reference: Description
    held_out: Description


def evaluate_distribution(
    settings: EvaluationConfig, target: TargetConfig, data_set: str, files: Described, kind: str, output: Path
) -> None:
    """Compare samples of which a share was wanted with unguided ones: the share found, and distances to real images.

    Args:
        settings: Section evaluation, JSON.
        target: The row, JSON; it has a share.
        data_set: Name of the data set.
        files: Where the images are described.
        kind: What the rows are: reproduced or scaled-down.
        output: CSV to write: a row per method, reference and metric.

    Raises:
        CorruptFileError: If a file is damaged, or of other samples or images than expected.
        DataError: If the target has no share, or there are too few real images for it.
    """
    if target.share is None:
        raise DataError(f"{target.label}: found no share, expected one; a row of distributions has it in its target.")
    reference, shown = labelled(files.real / "reference.safetensors", files.reference, target)
    controls, held_out = labelled(files.real / "controls.safetensors", files.controls, target)
    n = settings.samples
    reals = [
        RealShare("balanced", with_share(reference, shown, target), with_share(controls, held_out, target, n)),
        RealShare("all", reference, controls.first(n)),
    ]
    accuracy = balanced_accuracy(controls.judged(target.attribute, True), held_out)
    rows = distribution_rows(target, files.candidates(target), reals, settings)
    notes = [joined(few_note(found, n), judge_note(accuracy)) for found in rows["n"]]
    rows = rows.assign(data_set=data_set, attribute=target.label, judge_real=accuracy, kind=kind, note=notes)
    write_csv(output, rows.reindex(columns=DISTRIBUTION_COLUMNS))


def with_share(images: Description, has_it: Tensor, target: TargetConfig, n: int | None = None) -> Description:
    """Return images of which the target's share has its attribute, the first of each kind.

    Args:
        images: Real images.
        has_it: Which of them have the attribute, bool [N].
        target: The row.
        n: How many; None: as many as there can be.

    Raises:
        DataError: If there are too few.
    """
    share = target.share or 0.0
    kinds = [(has_it, share), (~has_it, 1 - share)]
    most = int(min(int(of_kind.sum()) / part for of_kind, part in kinds) + 1e-9)
    total = most if n is None else n
    if total > most or total < 2:
        raise DataError(
            f"{target.label}: {max(2, total)} real images are needed, a share of {share:g} with {target.attribute}; "
            f"found {most}. Raise data.splits.controls and data.splits.reference, or lower evaluation.samples."
        )
    wanted = round(share * total)
    first = (has_it & (has_it.cumsum(0) <= wanted)) | (~has_it & ((~has_it).cumsum(0) <= total - wanted))
    return images.select(first)


def distribution_rows(
    target: TargetConfig, candidates: Sequence[Description], reals: Sequence[RealShare], settings: EvaluationConfig
) -> pd.DataFrame:
    """Return the share found and every metric of every candidate, against each kind of real images."""
    rows: list[dict[str, Any]] = []
    chosen = [candidate.first(settings.samples) for candidate in candidates]
    about = [{**about_images(one, target), **found_share(one, target)} for one in chosen]
    for real in Progress(reals, desc="references", unit="reference"):
        for extractor, features in real.reference.features.items():
            measured = prepare_measures(features, extractor, settings)
            found = [measured(images.features[extractor]) for images in chosen]
            for name, floor in measured(real.held_out.features[extractor]).items():
                shared = {"reference": real.name, "n_reference": len(real.reference), "metric": name}
                for said, one in zip(about, (numbers[name] for numbers in found), strict=True):
                    bounds = {"value": one.value, "ci_low": one.low, "ci_high": one.high, "floor": floor.value}
                    rows.append({**shared, **said, **bounds})
    return pd.DataFrame(rows)


def found_share(images: Description, target: TargetConfig) -> Mapping[str, float]:
    """Return the share that the judge finds, with its Wilson interval, and how far both are from the wanted one."""
    share = target.share or 0.0
    found = wilson_interval(int(images.judged(target.attribute, True).sum()), len(images))
    off = away(found, share)
    return {
        "wanted_share": share,
        "found_share": found.value,
        "share_low": found.low,
        "share_high": found.high,
        "away": off.value,
        "away_low": off.low,
        "away_high": off.high,
    }


def away(found: Interval, wanted: float) -> Interval:
    """Return how far a share is from the wanted one, and between which distances its interval lies."""
    ends = sorted([abs(found.low - wanted), abs(found.high - wanted)])
    return Interval(abs(found.value - wanted), 0.0 if found.low <= wanted <= found.high else ends[0], ends[1])
