"""Steering towards an attribute's value, or a share of it, by an exact or a readout head."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ..diffusion.denoiser import Denoiser
from ..diffusion.guidance import READS_ESTIMATE, Guidance, ReadoutGuidance
from .heads import AttributeHead


@dataclass(frozen=True)
class Steering:
    """What a sample set is steered towards, and how.

    Attributes:
        method: unguided; exact, direct or readout, by a head; steering, by a direction; or distribution.
        attribute: Wanted attribute; empty for unguided samples, as is all that follows.
        value: Wanted value: True or False; of a distribution the share of every work unit that has the attribute.
        guidance_scale: lambda on the log-likelihood of each sample; of a direction, how often it is added.
    """

    method: str = "unguided"
    attribute: str = ""
    value: bool | float = True
    guidance_scale: float = 0.0

    @property
    def about(self) -> dict[str, Any]:
        """What a file of such samples says of itself."""
        return dict(vars(self)) if self.attribute else {"method": self.method}


def assigned(logit: Tensor, share: float) -> Tensor:
    """Return which samples of a batch shall have an attribute where a share of them is wanted, bool [B].

    It is the round(share B) that a head finds nearest to it: of all ways to reach the share, the one that pushes least.

    Args:
        logit: The head's, of each sample, [B].
        share: Wanted share, 0..1.
    """
    rank = logit.argsort(descending=True).argsort()
    return rank < round(share * len(logit))


def wanted_log_prob(head: AttributeHead, maps: Sequence[Tensor], timestep: int, value: bool | float) -> Tensor:
    """Return log p(attribute = value | activations) of each sample, nats, [B]; of a share, with the value assigned it.

    Args:
        head: The head.
        maps: Activations at its taps, each [B, C, h, w].
        timestep: Timestep label that they were computed with.
        value: Wanted value; a fraction: the share of the batch that shall have the attribute.
    """
    if not isinstance(value, float):
        return head.log_prob(maps, timestep, value)
    logit = head(maps, timestep)
    return F.logsigmoid(torch.where(assigned(logit.detach(), value), logit, -logit))


def attribute_guidance(mode: str, denoiser: Denoiser, head: AttributeHead, value: bool | float) -> Guidance:
    """Return the guidance in a mode, exact, direct or readout, towards an attribute's value or a share of the batch."""

    def log_likelihood(maps: Sequence[Tensor], timestep: int) -> Tensor:
        return wanted_log_prob(head, maps, timestep, value)

    if mode in READS_ESTIMATE:
        return READS_ESTIMATE[mode](denoiser, log_likelihood, head.taps, head.timesteps[0])
    return ReadoutGuidance(denoiser, log_likelihood, head.taps)
