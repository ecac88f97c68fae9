"""Steering towards masks: the same guidance as for attributes, with one likelihood per sample's own mask.

The log-likelihood is the *mean* over the pixels of each sample, as in the paper's code: lambda on the sum would be
smaller by the number of pixels.

A new method that follows a gradient is a class with ``load``, ``scored`` and ``segment``, and a line in ``GUIDES``.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal, Protocol, Self

import torch
from torch import Tensor

from ..config.base import learned_as
from ..data.mask_set import MaskSet, masks_at
from ..diffusion.denoiser import Denoiser
from ..diffusion.guidance import (
    CleanImageDirectGuidance,
    CleanImageGuidance,
    DirectGuidance,
    ExactGuidance,
    Guidance,
    LogLikelihood,
    Predictor,
    ReadoutGuidance,
    guided,
    unguided,
)
from ..diffusion.sampling import WorkUnit
from ..errors import WeightsError
from .controlnet import controlled_predictor, load_controlnet
from .features import noised_to
from .heads import MaskHead, load_mask_head, mask_log_likelihood
from .row import MaskRow
from .segmenter import Segmenter, load_segmenter

BATCH_SIZE = 50

PredictorOf = Callable[[Tensor], Predictor]
"""Wanted masks of a batch, uint8 [B, H, W] -> its predictor."""

Score = Callable[[Tensor], Tensor]
"""Class logits [B, K, h, w] -> what stands in the place of log p(y | x_t): a likelihood [B], or the logits again."""


@dataclass(frozen=True)
class Steering:
    """What a method steers with: everything but the masks of a batch.

    Attributes:
        row: Method, preset, number of pairs and lambda.
        guide: Weights folder of the head, segmenter or ControlNet; None for ``unguided``.
        denoiser: Frozen denoiser.
        classes: Names of the class ids.
    """

    row: MaskRow
    guide: Path | None
    denoiser: Denoiser
    classes: Sequence[str]

    @property
    def folder(self) -> Path:
        """The guide's weights folder; raise ``WeightsError`` if none was named."""
        if self.guide is None:
            raise WeightsError(
                f"--guide: found none, but {self.row.method} is steered by one. Name its folder, below "
                "`results/DATA/masks/guides` or `results/DATA/masks/controlnets`."
            )
        return self.guide


class MaskGuide(Protocol):
    """What finds masks in samples that are being drawn, and in finished ones.

    Attributes:
        reads: What it looks at while a sample is drawn: ``x0_hat`` or ``x_t``.
    """

    reads: ClassVar[Literal["x0_hat", "x_t"]] = "x0_hat"

    @classmethod
    def load(cls, steering: Steering) -> Self:
        """Load the guide; raise ``WeightsError`` unless it was made for this row and denoiser."""
        ...

    def scored(self, score: Score) -> Guidance:
        """Return the guidance by a score of the class logits that the guide reads off samples being drawn."""
        ...

    def guidance(self, masks: Tensor) -> Guidance:
        """Return the guidance of a batch towards its masks, uint8 [B, H, W]."""
        return self.scored(lambda logits: mask_log_likelihood(logits, masks))

    def segment(self, images: Tensor) -> Tensor:
        """Return what the guide itself finds on images, uint8 [N, 3, H, W]: class ids, uint8 [N, H, W]."""
        ...


@dataclass(frozen=True)
class _HeadGuide(MaskGuide):
    """A head that reads the denoiser's activations."""

    denoiser: Denoiser
    head: MaskHead

    @classmethod
    def load(cls, steering: Steering) -> Self:
        row = replace(steering.row, method=learned_as(steering.row.method))
        head = load_mask_head(steering.folder, row, steering.denoiser.digest, steering.classes)
        return cls(steering.denoiser, head.to(steering.denoiser.device))

    def segment(self, images: Tensor) -> Tensor:
        found = []
        timestep = self.head.timesteps[0]
        for k, batch in enumerate(images.split(self.denoiser.runtime.feature_batch or BATCH_SIZE)):
            with torch.no_grad():
                samples = self._seen(self.denoiser.encode(batch), k)
                maps = self.denoiser.features(samples, timestep, self.head.modules_tapped)
                ids = self.head(maps, timestep).argmax(1).to(torch.uint8)
                found.append(masks_at(ids, self.denoiser.image_size).cpu())
        return torch.cat(found)

    def _seen(self, clean: Tensor, _batch: int) -> Tensor:
        return clean

    def _read(self, score: Score) -> LogLikelihood:
        return lambda maps, timestep: score(self.head(maps, timestep))


class ExactGuide(_HeadGuide):
    """The paper's estimator: the head reads the denoiser's view of x0_hat."""

    kind: ClassVar[type[ExactGuidance]] = ExactGuidance

    def scored(self, score: Score) -> Guidance:
        """Return the guidance by a score of the logits of x0_hat, read at the head's label."""
        (timestep,) = self.head.timesteps
        return self.kind(self.denoiser, self._read(score), self.head.modules_tapped, timestep)


class DirectGuide(ExactGuide):
    """The head of ``exact``, followed without the Jacobian of the pass that predicts the noise."""

    kind = DirectGuidance


class ReadoutGuide(_HeadGuide):
    """The head reads the pass that predicts the noise, and knows the noise level."""

    reads = "x_t"

    def scored(self, score: Score) -> Guidance:
        """Return the guidance by a score of the logits of x_t, read at its own noise level."""
        return ReadoutGuidance(self.denoiser, self._read(score), self.head.modules_tapped)

    def _seen(self, clean: Tensor, batch: int) -> Tensor:
        # It knows noised images only.
        return noised_to(self.denoiser, clean, self.head.timesteps[0], "own opinion", batch)


@dataclass(frozen=True)
class CleanImageGuide(MaskGuide):
    """A segmenter of clean images reads x0_hat itself."""

    kind: ClassVar[type[CleanImageGuidance]] = CleanImageGuidance

    denoiser: Denoiser
    segmenter: Segmenter

    @classmethod
    def load(cls, steering: Steering) -> Self:
        """Load the segmenter that the few pairs trained."""
        pairs = {"shots": steering.row.shots}
        segmenter = load_segmenter(steering.folder, "guides", steering.classes, pairs)
        return cls(steering.denoiser, segmenter.to(steering.denoiser.device))

    def scored(self, score: Score) -> Guidance:
        """Return the guidance by a score of the logits of the image of x0_hat."""
        return self.kind(self.denoiser, lambda maps, _timestep: score(self.segmenter.logits(maps[0]).float()))

    def segment(self, images: Tensor) -> Tensor:
        """Return what the segmenter finds on images, uint8 [N, 3, H, W]: class ids, uint8 [N, H, W]."""
        return self.segmenter.segment(images)


class CleanImageDirectGuide(CleanImageGuide):
    """The segmenter of ``clean_image``, followed without the Jacobian of the denoiser."""

    kind = CleanImageDirectGuidance


GUIDES: dict[str, type[MaskGuide]] = {
    "exact": ExactGuide,
    "readout": ReadoutGuide,
    "clean_image": CleanImageGuide,
    "direct": DirectGuide,
    "clean_image_direct": CleanImageDirectGuide,
}
"""Methods that follow a mask by a gradient."""


def predictors(steering: Steering, wanted: MaskSet, interval: tuple[int, int]) -> Callable[[WorkUnit], Predictor]:
    """Return the predictor of each work unit: the sample with seed i follows mask i modulo their number.

    Args:
        steering: Method, guide and denoiser.
        wanted: The M wanted masks.
        interval: First and last guided timestep.

    Raises:
        WeightsError: If the guide was made for another row, denoiser or classes.
    """
    of_masks = _predictor_of(steering, interval)

    def of_unit(unit: WorkUnit) -> Predictor:
        masks = wanted.pixels[[seed % len(wanted) for seed in unit.seeds]]
        return of_masks(masks.to(steering.denoiser.device))

    return of_unit


def _predictor_of(steering: Steering, interval: tuple[int, int]) -> PredictorOf:
    denoiser, row = steering.denoiser, steering.row
    plain = unguided(denoiser)
    if row.method == "unguided":
        return lambda _masks: plain
    if row.method == "controlnet":
        controlnet = load_controlnet(steering.folder, denoiser.digest, steering.classes, row.shots)
        denoiser.runtime.place(controlnet)
        return lambda masks: controlled_predictor(denoiser, controlnet, masks)
    guide, prediction_type = GUIDES[row.method].load(steering), denoiser.schedule.prediction_type
    return lambda masks: guided(guide.guidance(masks), row.guidance_scale, prediction_type, plain, interval)
