"""Steering towards an attribute's value, by an exact or a readout head."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ..diffusion.denoiser import Denoiser
from ..diffusion.guidance import ExactGuidance, Guidance, ReadoutGuidance
from .heads import AttributeHead


@dataclass(frozen=True)
class Steering:
    """What a sample set is steered towards, and how.

    Attributes:
        method: unguided, or the mode of the head: exact or readout.
        attribute: Wanted attribute; empty for unguided samples, as is all that follows.
        value: Wanted value: True or False.
        guidance_scale: lambda on the log-likelihood of each sample.
    """

    method: str = "unguided"
    attribute: str = ""
    value: bool = True
    guidance_scale: float = 0.0

    @property
    def about(self) -> dict[str, Any]:
        """What a file of such samples says of itself."""
        return dict(vars(self)) if self.attribute else {"method": self.method}


def attribute_guidance(mode: str, denoiser: Denoiser, head: AttributeHead, value: bool) -> Guidance:
    """Return the guidance towards an attribute's value, by an exact or a readout head."""

    def log_likelihood(maps: Sequence[Tensor], timestep: int) -> Tensor:
        return head.log_prob(maps, timestep, value)

    if mode == "exact":
        return ExactGuidance(denoiser, log_likelihood, head.taps, head.timesteps[0])
    return ReadoutGuidance(denoiser, log_likelihood, head.taps)
