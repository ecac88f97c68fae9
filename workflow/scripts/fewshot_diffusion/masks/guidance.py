"""Steering towards masks: the same guidance as for attributes, with one likelihood per sample's own mask."""

from collections.abc import Callable, Sequence
from pathlib import Path

from torch import Tensor

from ..data.mask_set import MaskSet
from ..diffusion.denoiser import Denoiser
from ..diffusion.guidance import (
    CleanImageGuidance,
    ExactGuidance,
    Guidance,
    Predictor,
    ReadoutGuidance,
    guided,
    unguided,
)
from ..diffusion.sampling import WorkUnit
from ..runtime import Runtime
from .controlnet import controlnet_predictors, load_controlnet
from .heads import SegmentationHead, load_segmentation_head, mask_log_likelihood
from .segmenter import Segmenter, load_segmenter


def mask_guidance(mode: str, denoiser: Denoiser, head: SegmentationHead, masks: Tensor, runtime: Runtime) -> Guidance:
    """Return the guidance of a batch towards its masks, by an exact or a readout head.

    The log-likelihood is the *mean* over the pixels of each sample, as in the paper's code: lambda on the sum
    would be smaller by the number of pixels.

    Args:
        mode: ``exact`` or ``readout``.
        denoiser: Frozen denoiser.
        head: Head of that mode.
        masks: Wanted class ids of each sample of the batch, uint8 [B, H, W].
        runtime: Device and precision.
    """

    def log_likelihood(maps: Sequence[Tensor], timestep: int) -> Tensor:
        return mask_log_likelihood(head(maps, timestep), masks)

    if mode == "exact":
        return ExactGuidance(denoiser, log_likelihood, head.modules_tapped, head.timesteps[0], runtime)
    return ReadoutGuidance(denoiser, log_likelihood, head.modules_tapped, runtime)


def clean_image_guidance(denoiser: Denoiser, segmenter: Segmenter, masks: Tensor, runtime: Runtime) -> Guidance:
    """Return the guidance of a batch towards masks by a segmenter of clean images; lambda as in ``mask_guidance``."""

    def log_likelihood(maps: Sequence[Tensor], _timestep: int) -> Tensor:
        return mask_log_likelihood(segmenter.logits(maps[0]).float(), masks)

    return CleanImageGuidance(denoiser, log_likelihood, runtime)


def load_guide(method: str, guide: Path, denoiser: Denoiser, classes: Sequence[str]) -> SegmentationHead | Segmenter:
    """Load what a method steers by: the head of ``exact`` or ``readout``, the segmenter of ``clean_image``."""
    if method == "clean_image":
        return load_segmenter(guide, "guides", classes)
    return load_segmentation_head(guide, denoiser.digest)


def mask_predictors(
    method: str,
    denoiser: Denoiser,
    guide: Path | None,
    wanted: MaskSet,
    guidance_scale: float,
    interval: tuple[int, int],
    runtime: Runtime,
) -> Callable[[WorkUnit], Predictor]:
    """Return the guided predictor of each work unit: the sample with seed i follows mask i modulo their number.

    Args:
        method: ``exact``, ``readout``, ``clean_image``; ``controlnet``, which needs no gradient; ``unguided``.
        denoiser: Frozen denoiser.
        guide: Weights folder of the head, segmenter or ControlNet; None for ``unguided``.
        wanted: The M wanted masks.
        guidance_scale: lambda on the mean pixel log-likelihood of each sample.
        interval: First and last guided timestep.
        runtime: Device and precision.
    """
    plain = unguided(denoiser, runtime)
    if guide is None:
        return lambda _unit: plain
    if method == "controlnet":
        controlnet = load_controlnet(guide, denoiser.digest).to(runtime.device)
        return controlnet_predictors(denoiser, controlnet, wanted.masks, runtime)
    loaded = load_guide(method, guide, denoiser, wanted.classes).to(runtime.device)

    def predictor_of(unit: WorkUnit) -> Predictor:
        masks = wanted.masks[[seed % len(wanted) for seed in unit.seeds]].to(runtime.device)
        if isinstance(loaded, Segmenter):
            guidance = clean_image_guidance(denoiser, loaded, masks, runtime)
        else:
            guidance = mask_guidance(method, denoiser, loaded, masks, runtime)
        return guided(guidance, guidance_scale, denoiser.schedule.prediction_type, plain, interval)

    return predictor_of
