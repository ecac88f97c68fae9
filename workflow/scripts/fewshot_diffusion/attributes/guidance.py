"""Steering towards an attribute's value, or a share of it, by an exact or a readout head."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..diffusion.denoiser import Denoiser
from ..diffusion.guidance import ExactGuidance, Guidance, ReadoutGuidance
from .heads import AttributeHead

STEEPNESS = 4.0
"""What a logit is multiplied by before its probability counts towards a share: samples that a head is undecided about
would each add half a sample, and a batch of them would do where half was wanted."""


@dataclass(frozen=True)
class Steering:
    """What a sample set is steered towards, and how.

    Attributes:
        method: unguided; exact or readout, the mode of the head; steering, by a direction; or distribution.
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


def share_divergence(probability: Tensor, share: float) -> Tensor:
    """Return how far a batch is from showing an attribute in a wanted share, nats, scalar; 0 where the mean is right.

    KL(share || p) = share log(share / p) + (1 - share) log((1 - share) / (1 - p)), p the mean of the probabilities

    Args:
        probability: p(attribute) of each sample of the batch, [B].
        share: Wanted share, 0..1.

    Source: after Parihar et al. 2024, "Balancing Act: Distribution-Guided Debiasing in Diffusion Models", with the
    Kullback-Leibler divergence of two Bernoulli distributions.
    """
    mean = probability.mean().clamp(1e-6, 1 - 1e-6)
    wanted = torch.tensor([share, 1 - share], dtype=mean.dtype, device=mean.device)
    found = torch.stack([mean, 1 - mean])
    return (torch.xlogy(wanted, wanted) - wanted * found.log()).sum()


def wanted_log_prob(head: AttributeHead, maps: Sequence[Tensor], timestep: int, value: bool | float) -> Tensor:
    """Return log p(attribute = value | activations) of each sample, nats, [B]; of a share, minus the divergence each.

    -B KL(share || p) is the sum over the batch: what a sample feels does not depend on the batch's size. The
    probabilities are sigmoid(STEEPNESS logit): near to a count of the samples that the head decides for.

    Args:
        head: The head.
        maps: Activations at its taps, each [B, C, h, w].
        timestep: Timestep label that they were computed with.
        value: Wanted value; a fraction: the share of the batch that shall have the attribute.
    """
    if not isinstance(value, float):
        return head.log_prob(maps, timestep, value)
    divergence = share_divergence((STEEPNESS * head(maps, timestep)).sigmoid(), value)
    return -divergence.expand(len(maps[0]))


def attribute_guidance(mode: str, denoiser: Denoiser, head: AttributeHead, value: bool | float) -> Guidance:
    """Return the guidance towards an attribute's value, or a share of the batch, by an exact or a readout head."""

    def log_likelihood(maps: Sequence[Tensor], timestep: int) -> Tensor:
        return wanted_log_prob(head, maps, timestep, value)

    if mode == "exact":
        return ExactGuidance(denoiser, log_likelihood, head.taps, head.timesteps[0])
    return ReadoutGuidance(denoiser, log_likelihood, head.taps)
