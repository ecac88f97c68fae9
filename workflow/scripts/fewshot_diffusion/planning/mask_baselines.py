"""What the jobs of the generative baselines that follow masks cost."""

from collections.abc import Callable
from functools import cache

import torch

from ..config.masks import MasksConfig
from ..masks.baselines.decoder import LatentDecoder
from ..masks.baselines.guidance import LatentGuide
from ..masks.baselines.prior import LatentPrior
from ..runtime import CPU
from .baselines import baseline_costs
from .networks import BACKWARD, counted
from .work import FLOAT, Run, Work

EVERY_STEP, NO_STEP = (0, 0), (1, 1)
"""Intervals with and without timestep 0, whose step is counted."""


def _section(run: Run) -> MasksConfig:
    assert run.config.masks
    return run.config.masks


@cache
def _guide(run: Run, baseline: str) -> LatentGuide:
    """Return an untrained decoder beside its prior."""
    prior = LatentPrior(baseline, baseline_costs(run, baseline).model, CPU)
    size, width = run.config.data.image_size, _section(run).latent_decoder.hidden_channels
    decoder = LatentDecoder(prior.shape, run.config.data.mask_classes, size, width).requires_grad_(False)
    return LatentGuide(prior, decoder)


@cache
def _step(run: Run, baseline: str, interval: tuple[int, int]) -> float:
    """FLOPs of a step of the prior, guided if timestep 0 lies within the interval."""
    guide, size = _guide(run, baseline), run.config.data.image_size
    predict = guide.predictor(torch.zeros(1, size, size, dtype=torch.uint8), 1.0, interval)
    return counted(lambda: predict(torch.zeros(1, *guide.prior.shape), 0, torch.tensor(0.5)))


def extract_latents(run: Run, baseline: str, shots: str) -> Work:
    """Encode the few pairs."""
    costs, number = baseline_costs(run, baseline), int(shots) * (1 + _section(run).latent_decoder.flip)
    return Work(number * costs.encode(), number * FLOAT * costs.model.latent_size)


def train_decoder(run: Run, baseline: str, _shots: str) -> Work:
    """Train a decoder on their latents."""
    settings, guide = _section(run).latent_decoder, _guide(run, baseline)
    with torch.no_grad():
        forward = counted(lambda: guide.decoder(torch.zeros(1, *guide.prior.shape)))
    return Work(settings.updates * settings.batch_size * BACKWARD * forward)


def sample(run: Run, baseline: str, preset: str, _shots: str) -> Work:
    """Draw a set, one sample of each mask and seed."""
    section = _section(run)
    return _drawn(run, baseline, preset, section.masks * section.seeds_per_mask, sweep=False)


def sample_sweep(run: Run, baseline: str, preset: str, _scale: str) -> Work:
    """Draw one scale of the sweep."""
    return _drawn(run, baseline, preset, _section(run).sweep.masks, sweep=True)


def _drawn(run: Run, baseline: str, preset: str, number: int, sweep: bool) -> Work:
    sampling = run.config.mask_sampling(preset, sweep)
    inside = run.guided_steps(sampling)
    guided, plain = _step(run, baseline, EVERY_STEP), _step(run, baseline, NO_STEP)
    flops = inside * guided + (sampling.num_inference_steps - inside) * plain
    decoded = baseline_costs(run, baseline).decode(sampling)
    return Work(number * (flops + decoded), 2 * number * run.image)  # finished work units are kept beside the samples


JOBS: dict[str, Callable[..., Work]] = {
    "extract_mask_latents": extract_latents,
    "train_mask_decoder": train_decoder,
    "sample_mask_baseline": sample,
    "sample_mask_baseline_sweep": sample_sweep,
}
