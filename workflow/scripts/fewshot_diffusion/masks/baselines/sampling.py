"""Samples of generative baselines that follow masks: latents are steered, then decoded."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from ...baselines.sampling import BaselineFiles, in_forwards
from ...config.sampling import SamplingConfig
from ...data.mask_set import MaskSet, load_masks
from ...diffusion.samples import SampleSet, save_samples, write_timing
from ...diffusion.sampling import WorkUnit, finish_unit, plan_units
from ...images import to_uint8
from ...progress import Progress
from ...runtime import make_runtime
from ...storage.checkpoints import CheckpointFolder
from ...storage.files import fingerprint
from ...storage.tensors import pixel_digest
from ...storage.weights import weights_digest
from ..row import MaskRow
from .guidance import LatentGuide
from .prior import LatentPrior


@dataclass(frozen=True, kw_only=True)
class FollowedMasks:
    """What samples are to show, and what draws them.

    Attributes:
        masks: Wanted masks, parquet: the first ``unit_size`` of the file; sample i shows mask i modulo their number.
        seeds_per_mask: Samples of each mask.
        weights: Weights folder of the baseline.
        guide: Weights folder of the decoder that steers.
        denoiser: Weights folder of the denoiser, in whose passes costs are counted.
    """

    masks: Path
    seeds_per_mask: int
    weights: Path
    guide: Path
    denoiser: Path


def sample_mask_baseline(
    settings: SamplingConfig, row: MaskRow, wanted: FollowedMasks, checkpoints: Path, output: Path, device: str = "auto"
) -> None:
    """Draw samples of a generative baseline that follow wanted masks. Finished work units are kept.

    Args:
        settings: Section sampling with the preset's choices, JSON.
        row: Baseline, preset, number of pairs and lambda.
        wanted: Masks, and what steers.
        checkpoints: Folder of finished work units.
        output: Samples to write, parquet; what they took stands beside them, in .timing.json.
        device: auto, cpu, cuda or cuda:<n>.

    Raises:
        WeightsError: If the decoder was made for another model, number of pairs or classes.
        SamplingError: If a latent is not finite.
    """
    runtime = make_runtime(device, settings.precision, settings.cpu_threads)
    model, denoiser = BaselineFiles(wanted.weights, wanted.denoiser).load(row.method, runtime)
    masks = load_masks(wanted.masks).first(settings.unit_size)
    prior = LatentPrior(row.method, model, runtime)
    guide = LatentGuide.load(prior, wanted.weights, wanted.guide, row.shots, masks.classes)
    about = {
        **vars(row),
        "denoiser": denoiser.digest,
        "weights": weights_digest(wanted.weights),
        "guide": weights_digest(wanted.guide),
        "masks": pixel_digest(masks.masks),
        "settings": settings.model_dump(mode="json", exclude={"first_seed"}),
        "precision": str(runtime.dtype),
    }
    kept = CheckpointFolder(checkpoints, fingerprint(about))
    units = plan_units(settings.first_seed, wanted.seeds_per_mask, settings.unit_size)
    draw = partial(draw_unit, guide=guide, wanted=masks, guidance_scale=row.guidance_scale, settings=settings)
    found = [finish_unit(unit, partial(draw, unit), kept) for unit in Progress(units, desc="sampling", unit="unit")]
    seeds = torch.tensor([seed for unit in units for seed in unit.seeds], dtype=torch.int64)
    forwards = in_forwards(lambda: draw(WorkUnit(0, range(1))), denoiser)
    save_samples(SampleSet(torch.cat([images for images, _ in found]), seeds, forwards), output, about)
    write_timing(output.with_suffix(".timing.json"), sum(seconds for _, seconds in found), len(seeds))


def draw_unit(
    unit: WorkUnit, guide: LatentGuide, wanted: MaskSet, guidance_scale: float, settings: SamplingConfig
) -> Tensor:
    """Return the images of a work unit, uint8 [B, 3, H, W]: the one with seed i follows mask i modulo their number.

    Args:
        unit: Whose seeds.
        guide: Prior and decoder.
        wanted: The M wanted masks.
        guidance_scale: lambda >= 0; 0 draws what the baseline draws anyway.
        settings: Steps, eta, spacing, clipping, interval.
    """
    parts = unit.parts(settings.micro_batch)
    return torch.cat([_drawn(part.seeds, guide, wanted, guidance_scale, settings) for part in parts])


def _drawn(
    seeds: Sequence[int], guide: LatentGuide, wanted: MaskSet, guidance_scale: float, settings: SamplingConfig
) -> Tensor:
    masks = wanted.pixels[[seed % len(wanted) for seed in seeds]]
    predictor = guide.predictor(masks, guidance_scale, settings.guidance_interval)
    latents = guide.prior.draw(seeds, predictor, settings)
    with torch.no_grad(), guide.prior.runtime.autocast():
        return to_uint8(guide.prior.model.decode(latents, seeds, settings))
