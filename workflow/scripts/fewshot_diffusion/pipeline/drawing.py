"""Noise and steps of a pipeline's samples: as diffusers draws them, or as the rules do, from one seed a sample."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import DDIMScheduler, DiffusionPipeline
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor

from ..diffusion.denoiser import Denoiser
from ..diffusion.guidance import Predictor, guided, unguided, within
from ..diffusion.sampling import sample_ddim
from ..errors import ConfigError
from ..seeds import SampleNoise
from .heads import STEERING
from .steering import Term, direction_of, guidance_of


class PlainDDIM(DDIMScheduler):
    """DDIM as diffusers' DDIMPipeline uses it: where an estimate is clipped, the noise of the step stays as it was."""

    def step(self, *args: Any, use_clipped_model_output: bool = False, **options: Any) -> Any:
        """Take a step; ``use_clipped_model_output`` is passed over."""
        return super().step(*args, use_clipped_model_output=False, **options)


class GeneratorNoise:
    """Noise in the order in which diffusers' pipelines draw it."""

    def __init__(self, generator: Any, positions: range, shape: tuple[int, ...], device: torch.device) -> None:
        self.seeds = positions
        self._generator, self._shape, self._device = generator, (len(positions), *shape), device

    def draw(self) -> Tensor:
        """Return the next noise tensor, [B, *shape], unit variance."""
        noise: Tensor = randn_tensor(self._shape, self._generator, self._device, torch.float32)
        return noise


@dataclass(frozen=True)
class Drawing:
    """How samples are drawn.

    Attributes:
        num_inference_steps: DDIM steps.
        eta: 0 is deterministic; 1 has the posterior variance.
        guidance_scale: lambda; 0 leaves the denoiser alone.
        interval: First and last guided timestep.
        seeds: One for each sample, as in the rules; None: noise comes from ``generator``.
        generator: As diffusers' pipelines take it: one, one for each sample, or none.
    """

    num_inference_steps: int
    eta: float
    guidance_scale: float
    interval: tuple[int, int]
    seeds: Sequence[int] | None = None
    generator: Any = None

    def batches(self, number: int, size: int | None) -> list[range]:
        """Return the positions of the samples of each batch."""
        size = size or max(1, number)
        return [range(start, min(start + size, number)) for start in range(0, number, size)]

    def draw(
        self, denoiser: Denoiser, scheduler: DDIMScheduler, terms: Sequence[Term], batch: range, told: Callable[[], Any]
    ) -> Tensor:
        """Return samples x_0, [B, C, H, W].

        Args:
            denoiser: Frozen denoiser.
            scheduler: Schedule, spacing and clipping.
            terms: What is wanted; none at a scale of 0.
            batch: Positions of the samples.
            told: Called at every step.
        """
        plain = unguided(denoiser)
        predict = self._predictor(denoiser, terms, batch, plain) if terms else plain

        def step(x_t: Tensor, timestep: int, alpha_bar_t: Tensor) -> Tensor:
            told()
            return predict(x_t, timestep, alpha_bar_t)

        kind = DDIMScheduler if terms or self.seeds is not None else PlainDDIM
        own = kind.from_config(scheduler.config)
        noise = self._noise(denoiser, batch)
        return sample_ddim(step, own, noise, self.num_inference_steps, self.eta, plain)

    def _predictor(self, denoiser: Denoiser, terms: Sequence[Term], batch: range, plain: Predictor) -> Predictor:
        if terms[0].fitted.mode == STEERING:
            return within(direction_of(denoiser, terms, self.guidance_scale), plain, self.interval)
        guidance = guidance_of(denoiser, terms, batch.start)
        return guided(guidance, self.guidance_scale, denoiser.schedule.prediction_type, plain, self.interval)

    def _noise(self, denoiser: Denoiser, batch: range) -> Any:
        shape, device = denoiser.sample_shape, denoiser.device
        if self.seeds is not None:
            return SampleNoise([self.seeds[i] for i in batch], shape, device)
        one_each = isinstance(self.generator, list)
        generator = self.generator[batch.start : batch.stop] if one_each else self.generator
        return GeneratorNoise(generator, batch, shape, device)


def usual_interval(num_train_timesteps: int) -> tuple[int, int]:
    """Return the first and last guided timestep where none are given, as configured for 1,000 of them."""
    return num_train_timesteps // 10, round(0.95 * num_train_timesteps)


def require_number(number: int | None, seeds: Sequence[int] | None, generator: Any, terms: Sequence[Term]) -> int:
    """Return how many samples are drawn: as many as are asked for, or as there are seeds, generators or masks.

    Raises:
        ConfigError: If these are of different numbers.
    """
    given = {"num_images": number, "seeds": None if seeds is None else len(seeds)}
    given["generator"] = len(generator) if isinstance(generator, list) else None
    named = {key: value for key, value in given.items() if value is not None}
    if len(set(named.values())) > 1:
        raise ConfigError(f"Found {', '.join(f'{key} for {value}' for key, value in named.items())} samples.")
    return next(iter(named.values()), max((len(term.masks) for term in terms if term.masks is not None), default=1))


def as_output(images: Tensor, output_type: str) -> Any:
    """Return images [B, 3, H, W], [-1, 1] scale, as diffusers' pipelines do: pil, np [B, H, W, 3] or pt, 0..1.

    Raises:
        ConfigError: If ``output_type`` is another.
    """
    found = (images / 2 + 0.5).clamp(0, 1)
    if output_type == "pt":
        return found
    if output_type not in ("pil", "np"):
        raise ConfigError(f"output_type: found {output_type!r}, expected pil, np or pt.")
    array = found.cpu().permute(0, 2, 3, 1).numpy()
    return array if output_type == "np" else DiffusionPipeline.numpy_to_pil(array)
