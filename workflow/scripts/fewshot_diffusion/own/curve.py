"""What labels are worth: accuracy against their number, cross-validated on the shots alone, and what follows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from ..attributes.features import ShotFeatures
from ..attributes.heads import fit_logistic
from ..config.attributes import AttributeHeadConfig
from ..metrics.intervals import Interval
from ..progress import Progress
from ..seeds import generator
from .shots import balanced

TOLERANCE = 0.02
"""A gain that nobody would label for: two points of accuracy, or of mIoU."""

REPEATS = 4
"""Times that all images are dealt to folds, and fewer labels drawn, anew."""

REPLICATES = 1000
LEAST = 2
"""Labels of each kind that the smallest head learns from."""


@dataclass(frozen=True)
class Advice:
    """What a learning curve says.

    Attributes:
        verdict: rises: more labels are worth it; flat: they are not; open: these labels do not tell.
        text: The same for people, with the numbers.
    """

    verdict: Literal["rises", "flat", "open"]
    text: str


@dataclass(frozen=True)
class Curve:
    """A measure against the number of labels that a head learned from.

    Attributes:
        measure: accuracy (balanced: the mean over both kinds), or mIoU.
        unit: labels, or pairs.
        numbers: Of labels, ascending, each about twice the one before.
        values: The measure at each.
        replicates: float64 [P, R]: the same bootstrap samples of the images at each, so that differences are paired.
        chance: What guessing reaches, where that is known.
    """

    measure: str
    unit: str
    numbers: Sequence[int]
    values: Sequence[float]
    replicates: Tensor
    chance: float | None = None

    def at(self, position: int) -> Interval:
        """Return the measure with its 95 % interval over images."""
        return percentile_interval(self.values[position], self.replicates[position])

    def gain(self, position: int) -> Interval:
        """Return how much better it is with all labels than at a position, with the interval of the difference."""
        last = self.replicates[-1] - self.replicates[position]
        return percentile_interval(self.values[-1] - self.values[position], last)

    def rows(self) -> list[dict[str, Any]]:
        """Return a row per number of labels."""
        found = [(number, self.at(i)) for i, number in enumerate(self.numbers)]
        return [
            {"measure": self.measure, "unit": self.unit, "number": number, "value": one.value, "ci_low": one.low,
             "ci_high": one.high} for number, one in found
        ]  # fmt: skip

    def advice(self) -> Advice:
        """Return what the curve says of more labels: by the gain from half of them to all, and its interval."""
        last, unit, best = self.numbers[-1], self.unit, self.at(-1)
        said = f"{self.measure} {best.value:.2f} ({best.low:.2f} to {best.high:.2f}) with {last} {unit}"
        if self.chance is not None and best.low <= self.chance:
            return Advice("open", f"{said}: no better than chance, look at the labels, or at other taps")
        if 1 - best.value <= TOLERANCE:
            return Advice("flat", f"{said}: hardly anything is left to gain")
        if len(self.numbers) < 2:
            return Advice("open", f"{said}: too few for a curve")
        half, gain = self.numbers[-2], self.gain(-2)
        since = f"{gain.value:+.2f} ({gain.low:+.2f} to {gain.high:+.2f}) since {half}"
        if gain.high <= TOLERANCE:
            return Advice("flat", f"{said}, {since}: flat beyond {self.numbers[self._level()]}")
        if gain.low > 0:
            return Advice("rises", f"{said}, {since}: still rises, {last} more {unit} are worth it")
        return Advice("open", f"{said}, {since}: whether more {unit} help, these do not tell")

    def _level(self) -> int:
        """Return the first position from which on all labels are worth no more than ``TOLERANCE``."""
        rising = [i for i in range(len(self.numbers) - 1) if self.gain(i).high > TOLERANCE]
        return rising[-1] + 1 if rising else 0


def learning_curve(shots: ShotFeatures, l2: float, settings: AttributeHeadConfig) -> Curve:
    """Measure heads that learned from ever fewer shots on the folds that they have not seen.

    Images are dealt to folds anew in each of ``REPEATS`` rounds, and fewer labels are part of more. Nothing passes
    through the denoiser: activations are cached.

    Args:
        shots: Cached head inputs of all shots.
        l2: Penalty of the head that learned from all of them.
        settings: Folds and iterations.
    """
    ids, labels = _images(shots)
    numbers = halvings(len(ids) - -(-len(ids) // settings.folds), labels)
    hits = torch.zeros(len(numbers), len(ids), dtype=torch.float64)
    for repeat in Progress(range(REPEATS), desc="learning curve", unit="round"):
        stream = generator("learning curve", repeat)
        fold_of = _dealt(labels, settings.folds, stream)
        for fold in range(settings.folds):
            tested = (fold_of == fold).nonzero().flatten()
            learned = (fold_of != fold).nonzero().flatten()
            learned = learned[torch.randperm(len(learned), generator=stream)]
            for i, number in enumerate(numbers):
                chosen = ids[_first(learned, labels, number)]
                hits[i, tested] += _hits(shots, chosen, ids[tested], l2, settings) / REPEATS
    return Curve("accuracy", "labels", numbers, *_balanced(hits, labels), chance=0.5)


def halvings(most: int, labels: Tensor) -> list[int]:
    """Return the numbers of labels of a curve: all, half of them, and so on, while each kind has ``LEAST``."""
    rarer = min(int(labels.sum()), int((~labels).sum())) / len(labels)
    found = [most]
    while (number := found[-1] // 2) * rarer >= LEAST:
        found.append(number)
    return found[::-1]


def bootstrapped(measure: Callable[[Tensor], float], strata: Tensor, seed: int = 0) -> Tensor:
    """Return a measure of bootstrap samples of images, drawn within strata, float64 [R].

    Args:
        measure: Positions of images, int64 [N] -> its value.
        strata: Kind of each image, [N].
        seed: The same images are drawn for the same one.
    """
    stream = generator("curve bootstrap", seed)
    parts = [(strata == kind).nonzero().flatten() for kind in strata.unique()]
    found = []
    for _ in range(REPLICATES):
        drawn = [part[torch.randint(len(part), (len(part),), generator=stream)] for part in parts]
        found.append(measure(torch.cat(drawn)))
    return torch.tensor(found, dtype=torch.float64)


def percentile_interval(value: float, replicates: Tensor) -> Interval:
    """Return a value with the 95 % interval of its bootstrap replicates, float64 [R]; it holds the value."""
    low, high = replicates.quantile(torch.tensor([0.025, 0.975], dtype=replicates.dtype)).tolist()
    return Interval(value, min(low, value), max(high, value))


def _balanced(hits: Tensor, labels: Tensor) -> tuple[list[float], Tensor]:
    """Return the balanced accuracy of each row of hits [P, N], and its replicates [P, R]."""

    def measured(row: Tensor) -> Callable[[Tensor], float]:
        return lambda drawn: balanced(row[drawn], labels[drawn])

    everything = torch.arange(len(labels))
    values = [measured(row)(everything) for row in hits]
    return values, torch.stack([bootstrapped(measured(row), labels) for row in hits])


def _images(shots: ShotFeatures) -> tuple[Tensor, Tensor]:
    """Return the ids of the shots, ascending, and their labels."""
    ids, position = shots.groups.unique(return_inverse=True)
    labels = torch.zeros(len(ids), dtype=torch.bool)
    labels[position] = shots.labels
    return ids, labels


def _dealt(labels: Tensor, folds: int, stream: torch.Generator) -> Tensor:
    """Assign images to folds at random, each kind dealt out evenly, int64 [N]."""
    fold_of = torch.empty(len(labels), dtype=torch.int64)
    for label in (True, False):
        images = (labels == label).nonzero().flatten()
        order = torch.randperm(len(images), generator=stream)
        fold_of[images[order]] = torch.arange(len(images)) % folds
    return fold_of


def _first(images: Tensor, labels: Tensor, number: int) -> Tensor:
    """Return the first images of each kind, in the proportion of all, ``number`` together or all that there are."""
    having, lacking = images[labels[images]], images[~labels[images]]
    positive = min(max(LEAST, round(number * len(having) / len(images))), number - LEAST)
    return torch.cat([having[:positive], lacking[: number - positive]])


def _hits(shots: ShotFeatures, learned: Tensor, tested: Tensor, l2: float, settings: AttributeHeadConfig) -> Tensor:
    """Return how often a head is right on each tested image, over its rows and noise levels, float64 [len(tested)]."""
    train, test = torch.isin(shots.groups, learned), torch.isin(shots.groups, tested)
    right = []
    for inputs in shots.inputs:
        weight, bias = fit_logistic(inputs[train], shots.labels[train], l2, settings.max_iterations)
        right.append(((inputs[test] @ weight + bias) > 0) == shots.labels[test])
    told, groups = torch.stack(right).double().mean(0), shots.groups[test]
    return torch.stack([told[groups == image].mean() for image in tested])
