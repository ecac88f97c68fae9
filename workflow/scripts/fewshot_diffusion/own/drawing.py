"""Samples of a model of one's own, steered by its heads: those that the exported pipeline draws for the same seeds."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import DDIMScheduler

from ..config.own import OwnDrawingConfig
from ..data.mask_set import load_masks
from ..diffusion.guidance import guided
from ..diffusion.samples import SampleSet, save_samples
from ..diffusion.sampling import count_forwards
from ..images import stack_pixels
from ..pipeline import FewShotPipeline
from ..pipeline.drawing import usual_interval
from ..pipeline.steering import Term, guidance_of, terms_of
from .model import open_model


@dataclass(frozen=True)
class OwnSubject:
    """What samples shall show.

    Attributes:
        head: Folder of a head; without it, nothing steers.
        masks: Wanted masks, parquet, for a head of masks: sample i shows mask i modulo their number.
    """

    head: Path | None = None
    masks: Path | None = None


def sample_own(
    settings: OwnDrawingConfig, model: Path, number: int, output: Path, subject: OwnSubject, device: str = "auto"
) -> None:
    """Draw samples by the seeds 0, 1, ...

    Args:
        settings: Section own.drawing, JSON.
        model: Folder that diffusers wrote.
        number: How many.
        output: Samples to write, parquet.
        subject: What they shall show.
        device: auto, cpu, cuda or cuda:<n>.
    """
    pipe = open_model(model, [subject.head] if subject.head else [], device)
    name, steps = next(iter(pipe.heads), None), settings.num_inference_steps
    masks = load_masks(subject.masks).pixels if subject.masks else None
    wanted = name if masks is None else None
    (images,) = pipe(
        wanted,
        masks=masks,
        guidance_scale=settings.guidance_scale if name else 0,
        num_inference_steps=steps,
        seeds=range(number),
        batch_size=settings.batch_size,
        return_dict=False,
    )
    pixels = stack_pixels([np.asarray(image).transpose(2, 0, 1) for image in images])
    recipe = settings.model_dump(mode="json")
    about = {"subject": name or "unguided", "denoiser": pipe.denoiser.digest, "settings": recipe}
    cost = forwards_per_sample(pipe, terms_of(pipe.heads, wanted, None, masks=masks) if name else [], steps)
    save_samples(SampleSet(pixels, torch.arange(number), cost), output, about)


def forwards_per_sample(pipe: FewShotPipeline, terms: Sequence[Term], steps: int) -> float:
    """Return what a sample costs, in forward passes of the denoiser, counted in FLOPs.

    Args:
        pipe: The model.
        terms: What is wanted; nothing of unguided samples.
        steps: DDIM steps.
    """
    if not terms:
        return float(steps)
    denoiser, scheduler = pipe.denoiser, DDIMScheduler.from_config(pipe.scheduler.config)
    scheduler.set_timesteps(steps)
    low, high = usual_interval(denoiser.schedule.num_train_timesteps)
    inside: int = sum(low <= timestep <= high for timestep in scheduler.timesteps.tolist())
    step = guided(guidance_of(denoiser, terms, 0), 1.0, denoiser.schedule.prediction_type)
    return steps - inside + inside * count_forwards(step, denoiser)
