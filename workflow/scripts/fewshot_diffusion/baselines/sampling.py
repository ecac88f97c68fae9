"""Samples of generative baselines: latents of the prior first, then images of those that are wanted."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from ..config.sampling import SamplingConfig
from ..data.image_set import load_image_set
from ..diffusion.denoiser import Denoiser, load_denoiser
from ..diffusion.guidance import unguided
from ..diffusion.samples import SampleSet, save_samples, write_timing
from ..diffusion.sampling import WorkUnit, finish_unit, plan_units
from ..images import to_uint8
from ..progress import Progress
from ..runtime import Runtime, make_runtime
from ..storage.checkpoints import CheckpointFolder
from ..storage.files import About
from ..storage.rows import Rows
from ..storage.tensors import read_tensors, write_tensors
from ..storage.weights import weights_digest
from .base import LatentModel
from .models import load_baseline
from .training import over_images


@dataclass(frozen=True)
class Latents:
    """Latents of a prior.

    Attributes:
        values: float32 [N, D], as of ``LatentModel.encode``.
        seeds: int64 [N], ascending.
        forwards_per_sample: What one cost, in forward passes of the denoiser, counted in FLOPs.
    """

    values: Tensor
    seeds: Tensor
    forwards_per_sample: float


@dataclass(frozen=True)
class BaselineFiles:
    """A trained baseline, and what its costs are counted in.

    Attributes:
        weights: Its weights folder.
        denoiser: Weights folder of the denoiser.
    """

    weights: Path
    denoiser: Path

    def load(self, baseline: str, runtime: Runtime) -> tuple[LatentModel, Denoiser]:
        """Return both, frozen and placed; raise ``WeightsError`` if the weights are of another baseline."""
        return runtime.place(load_baseline(baseline, self.weights)), load_denoiser(self.denoiser, runtime)


@dataclass(frozen=True)
class BaselineWeights:
    """A trained baseline.

    Attributes:
        baseline: Its name.
        weights: Its weights folder.
    """

    baseline: str
    weights: Path

    def load(self, runtime: Runtime) -> LatentModel:
        """Return it, frozen and placed; raise ``WeightsError`` if the weights are of another baseline."""
        return runtime.place(load_baseline(self.baseline, self.weights))


def draw_baseline_latents(
    settings: SamplingConfig, baseline: str, files: BaselineFiles, units: int, output: Path, device: str = "auto"
) -> None:
    """Draw the latents that samples are chosen from, from ``settings.first_seed`` on; nothing is decoded.

    Args:
        settings: Section sampling, JSON.
        baseline: Name of the baseline.
        files: The model.
        units: Work units.
        output: Latents to write, safetensors; their seconds go beside them, ``.timing.json``.
        device: auto, cpu, cuda or cuda:<n>.
    """
    runtime = make_runtime(device, settings.precision, settings.cpu_threads)
    model, denoiser = files.load(baseline, runtime)
    started, found = time.perf_counter(), []
    plan = plan_units(settings.first_seed, units, settings.unit_size)
    for unit in Progress(plan, desc="latents", unit="unit"):
        for part in unit.parts(settings.micro_batch):
            found.append(_drawn(model, part.seeds, settings, runtime))
    seconds = time.perf_counter() - started
    seeds = torch.tensor([seed for unit in plan for seed in unit.seeds])
    forwards = in_forwards(lambda: _drawn(model, range(1), settings, runtime), denoiser)
    about = {
        "baseline": baseline,
        "weights": weights_digest(files.weights),
        "settings": settings.model_dump(mode="json", exclude={"first_seed"}),
        "precision": str(runtime.dtype),
        "forwards_per_sample": forwards,
    }
    write_tensors(output, {"latents": torch.cat(found), "seeds": seeds}, about)
    write_timing(output.with_suffix(".timing.json"), seconds, len(seeds))


def load_latents(path: Path, expected: About) -> Latents:
    """Read latents that ``draw_baseline_latents`` wrote.

    Raises:
        CorruptFileError: If the file is damaged, or of another model than expected.
    """
    tensors, about = read_tensors(path, "latents", "seeds", expected=expected)
    return Latents(tensors["latents"], tensors["seeds"], float(about["forwards_per_sample"]))


def decode_units(
    latents: Latents,
    units: Sequence[WorkUnit],
    model: LatentModel,
    settings: SamplingConfig,
    runtime: Runtime,
    checkpoints: CheckpointFolder,
) -> tuple[Tensor, float]:
    """Decode latents, keeping each work unit in ``checkpoints`` as soon as it is done; finished ones are not redone.

    Args:
        latents: All that are decoded, by whatever job.
        units: This job's: their ``seeds`` are positions in ``latents``.
        model: Frozen.
        settings: Steps, eta, spacing, clipping.
        runtime: Device and precision.
        checkpoints: Finished units; its identity covers everything that an image depends on.

    Returns:
        Images, uint8 [B, 3, H, W], and the seconds that they took.
    """
    images, seconds = [torch.empty(0, 3, model.image_size, model.image_size, dtype=torch.uint8)], 0.0

    def draw(unit: WorkUnit) -> Tensor:
        parts = unit.parts(settings.micro_batch)
        return torch.cat([_decoded(model, latents, part.seeds, settings, runtime) for part in parts])

    for unit in Progress(units, desc="decoding", unit="unit"):
        drawn, took = finish_unit(unit, partial(draw, unit), checkpoints)
        images.append(drawn)
        seconds += took
    return torch.cat(images), seconds


def reconstruct_images(
    settings: SamplingConfig, files: BaselineWeights, images: Path, number: int, output: Path, device: str = "auto"
) -> None:
    """Send the first images of a split through a baseline's latent.

    Args:
        settings: Section sampling, JSON.
        files: The model.
        images: Images of the split, parquet.
        number: How many of them.
        output: Reconstructions to write, parquet; their seeds are positions in the split.
        device: auto, cpu, cuda or cuda:<n>.
    """
    runtime = make_runtime(device, settings.precision, settings.cpu_threads)
    model = files.load(runtime)
    first: Rows = load_image_set(images).images[:number]
    found = to_uint8(over_images(lambda clean: model.reconstruct(clean, settings), first, runtime))
    save_samples(SampleSet(found, torch.arange(len(found)), 0.0), output, {"method": files.baseline})


def in_forwards(run: Callable[[], object], denoiser: Denoiser) -> float:
    """Return the FLOPs of a call in forward passes of the denoiser on one sample."""
    x_t = torch.zeros(1, *denoiser.sample_shape, device=denoiser.device)
    alpha_bar_t = torch.tensor(0.5, device=denoiser.device)
    flops: list[float] = []
    for each in (run, lambda: unguided(denoiser)(x_t, 0, alpha_bar_t)):
        with FlopCounterMode(display=False) as counter:
            each()
        flops.append(counter.get_total_flops())
    return flops[0] / flops[1]


def decode_forwards(model: LatentModel, denoiser: Denoiser, settings: SamplingConfig, runtime: Runtime) -> float:
    """Return what it costs to decode one latent, in forward passes of the denoiser."""
    one = Latents(torch.zeros(1, model.latent_size), torch.zeros(1, dtype=torch.int64), 0.0)
    return in_forwards(lambda: _decoded(model, one, range(1), settings, runtime), denoiser)


def _drawn(model: LatentModel, seeds: Sequence[int], settings: SamplingConfig, runtime: Runtime) -> Tensor:
    with torch.no_grad(), runtime.autocast():
        return model.draw_latents(seeds, settings).float().cpu()


def _decoded(
    model: LatentModel, latents: Latents, positions: range, settings: SamplingConfig, runtime: Runtime
) -> Tensor:
    chosen = slice(positions.start, positions.stop)
    values, seeds = latents.values[chosen].to(runtime.device), latents.seeds[chosen].tolist()
    with torch.no_grad(), runtime.autocast():
        return to_uint8(model.decode(values, seeds, settings))
