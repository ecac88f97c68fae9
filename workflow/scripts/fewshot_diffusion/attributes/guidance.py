"""Steering towards an attribute's value, by an exact or a readout head."""

from collections.abc import Sequence

from torch import Tensor

from ..diffusion.denoiser import Denoiser
from ..diffusion.guidance import ExactGuidance, Guidance, ReadoutGuidance
from ..runtime import Runtime
from .heads import AttributeHead


def attribute_guidance(mode: str, denoiser: Denoiser, head: AttributeHead, value: bool, runtime: Runtime) -> Guidance:
    """Return the guidance towards an attribute's value, by an exact or a readout head."""

    def log_likelihood(maps: Sequence[Tensor], timestep: int) -> Tensor:
        return head.log_prob(maps, timestep, value)

    if mode == "exact":
        return ExactGuidance(denoiser, log_likelihood, head.taps, head.timesteps[0], runtime)
    return ReadoutGuidance(denoiser, log_likelihood, head.taps, runtime)
