"""DDIM sampling in fixed work units: sample i is a function of (settings, seed i) alone."""

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial

import torch
from diffusers import DDIMScheduler
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from ..config.sampling import SamplingConfig
from ..progress import Progress
from ..seeds import SampleNoise
from ..storage.checkpoints import CheckpointFolder
from ..storage.files import corrupt, read_json, write_json
from ..storage.tensors import read_tensors, write_tensors
from .denoiser import Denoiser
from .finite import FiniteSteps
from .guidance import Predictor, unguided
from .samples import SampleSet, seed_range
from .schedule import make_scheduler


@dataclass(frozen=True)
class WorkUnit:
    """Samples that are drawn together, in one batch, whatever the number of jobs.

    Attributes:
        index: Position among the units of a sample set.
        seeds: Seeds of its samples.
    """

    index: int
    seeds: range

    def parts(self, micro_batch: int | None) -> list["WorkUnit"]:
        """Return the unit in parts of at most so many samples, which fit into memory; None: in one.

        A sample is a function of its own seed, so that parts change the rounding of sums over a batch and no more.
        """
        size = micro_batch or max(1, len(self.seeds))
        return [WorkUnit(self.index, self.seeds[start : start + size]) for start in range(0, len(self.seeds), size)]


def sample_ddim(
    predict: Predictor,
    scheduler: DDIMScheduler,
    noise: SampleNoise,
    num_inference_steps: int,
    eta: float,
    plain: Predictor | None = None,
) -> Tensor:
    """Draw one batch by DDIM.

    Args:
        predict: The denoiser, guided or not.
        scheduler: Schedule, prediction type and clipping.
        noise: The batch's own noise: the start, and one draw per step if eta > 0.
        num_inference_steps: Steps.
        eta: 0 is deterministic; 1 has the posterior variance of the subsequence (Song et al. 2021, eq. 16).
        plain: The denoiser without guidance, to tell what is to blame for values that are not finite.

    Returns:
        Clean images, [B, C, H, W], [-1, 1] scale up to the last step's error.

    Raises:
        SamplingError: If a sample is not finite.
    """
    scheduler.set_timesteps(num_inference_steps)
    x_t, finite = noise.draw(), FiniteSteps()
    alphas_cumprod = scheduler.alphas_cumprod.to(x_t)  # at once: in the loop nothing comes from the host
    for timestep in scheduler.timesteps.tolist():
        given = x_t
        output = predict(x_t, timestep, alphas_cumprod[timestep])
        variance_noise = noise.draw() if eta > 0 else None
        # A clipped clean estimate needs the noise that belongs to it: with the unclipped noise a guided step
        # would run against its own guidance wherever the estimate is clipped.
        x_t = scheduler.step(
            output,
            timestep,
            x_t,
            eta=eta,
            use_clipped_model_output=scheduler.config.clip_sample,
            variance_noise=variance_noise,
        ).prev_sample
        finite.note(timestep, given, output, x_t)  # the output, too: a clipped estimate hides infinity
    finite.require(noise.seeds, lambda x_t, t: (plain or predict)(x_t, t, alphas_cumprod[t]))
    return x_t


def plan_units(first_seed: int, units: int, unit_size: int) -> list[WorkUnit]:
    """Return the work units of a sample set; more units extend it, they change none."""
    starts = range(first_seed, first_seed + units * unit_size, unit_size)
    return [WorkUnit(i, range(start, start + unit_size)) for i, start in enumerate(starts)]


def share_units(units: Sequence[WorkUnit], shard: int, shards: int) -> list[WorkUnit]:
    """Return the contiguous share of job ``shard`` (0-based) of ``shards``."""
    return list(units[len(units) * shard // shards : len(units) * (shard + 1) // shards])


def draw_units(
    units: Sequence[WorkUnit],
    predictor_of: Callable[[WorkUnit], Predictor],
    denoiser: Denoiser,
    settings: SamplingConfig,
    checkpoints: CheckpointFolder,
) -> tuple[SampleSet, float]:
    """Draw work units, keeping each in ``checkpoints`` as soon as it is done; finished ones are not redone.

    Args:
        units: What to draw.
        predictor_of: The predictor of a unit: it may depend on what the unit's samples are to show.
        denoiser: Frozen denoiser.
        settings: Steps, eta, clipping.
        checkpoints: Finished units; its identity covers everything that a sample depends on but its seed.

    Returns:
        The samples in unit order, and the seconds that their drawing took, resumed units included.

    Raises:
        CheckpointError: If a unit in ``checkpoints`` was written by another sampling.
        SamplingError: If a sample is not finite.
    """
    scheduler = make_scheduler(denoiser.schedule, settings.clip_sample, settings.timestep_spacing)
    plain = unguided(denoiser)

    steps, eta = settings.num_inference_steps, settings.eta

    def draw(unit: WorkUnit) -> Tensor:
        found = []
        for part in unit.parts(settings.micro_batch):
            noise = SampleNoise(part.seeds, denoiser.sample_shape, denoiser.device, ahead=1 + steps * (eta > 0))
            x_0 = sample_ddim(predictor_of(part), scheduler, noise, steps, eta, plain)
            found.append(denoiser.decode(x_0))
        return torch.cat(found)

    images = [torch.empty(0, 3, *[denoiser.image_size] * 2, dtype=torch.uint8)]
    seconds = 0.0
    for unit in Progress(units, desc="sampling", unit="unit"):
        drawn, took = finish_unit(unit, partial(draw, unit), checkpoints)
        images.append(drawn)
        seconds += took
    seeds = torch.tensor([seed for unit in units for seed in unit.seeds], dtype=torch.int64)
    scheduler.set_timesteps(steps)
    one = predictor_of(WorkUnit(0, units[0].seeds[:1] if units else range(1)))
    forwards = sum(count_forwards(one, denoiser, t) for t in scheduler.timesteps.tolist())
    return SampleSet(torch.cat(images), seeds, forwards), seconds


def finish_unit(unit: WorkUnit, draw: Callable[[], Tensor], checkpoints: CheckpointFolder) -> tuple[Tensor, float]:
    """Return a unit's images, uint8 [B, 3, H, W], and the seconds they took: from ``checkpoints`` if they are there.

    Args:
        unit: The samples.
        draw: Draws their images, uint8 [B, 3, H, W].
        checkpoints: Finished units.

    Raises:
        CheckpointError: If the unit in ``checkpoints`` was written by another sampling.
        CorruptFileError: If it is damaged, or holds other samples.
    """
    path = checkpoints.path / f"unit-{unit.seeds.start:08d}.safetensors"
    timing = path.with_suffix(".json")
    if not (path.is_file() and timing.is_file()):
        started = time.perf_counter()
        images = draw()
        write_json(timing, {"seconds": time.perf_counter() - started})
        about = {"identity": checkpoints.identity}
        write_tensors(path, {"images": images, "seeds": torch.tensor(unit.seeds)}, about)
    tensors, about = read_tensors(path, "images", "seeds")
    checkpoints.require_own(path, about)
    if tensors["seeds"].tolist() != list(unit.seeds):
        raise corrupt(path, f"holds seeds {seed_range(tensors['seeds'])}, expected those from {unit.seeds.start} on")
    return tensors["images"], float(read_json(timing)["seconds"])


def count_forwards(predict: Predictor, denoiser: Denoiser, timestep: int = 500) -> float:
    """Return the FLOPs of one step in units of one forward pass of the denoiser, counted without a compiler."""
    x_t = SampleNoise([0], denoiser.sample_shape, denoiser.device).draw()
    alpha_bar_t = torch.tensor(0.5, device=denoiser.device)
    flops: list[float] = []
    for predictor in (predict, unguided(denoiser)):
        eager = torch.compiler.set_stance("force_eager") if denoiser.runtime.compiler else nullcontext()
        with eager, FlopCounterMode(display=False) as counter:
            predictor(x_t, timestep, alpha_bar_t)
        flops.append(counter.get_total_flops())
    return flops[0] / flops[1]
