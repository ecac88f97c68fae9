"""Steering: the gradient of a few-shot head's log-likelihood, one small class per mode.

grad log p(x_t | y) = grad log p(x_t) + lambda grad log p(y | x_t); in terms of the predicted noise
eps_guided = eps - lambda sqrt(1 - alpha_bar_t) grad_{x_t} log p(y | x0_hat(x_t)).
Source: Graikos et al. 2023, "Approach".
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from ..errors import GuidanceError
from .denoiser import Denoiser
from .schedule import output_of_epsilon, pred_epsilon, pred_original_sample

Predictor = Callable[[Tensor, int, Tensor], Tensor]
"""(x_t [B, C, H, W], timestep, alpha_bar_t) -> the denoiser's raw output, guided or not."""


LogLikelihood = Callable[[Sequence[Tensor], int], Tensor]
"""(activations, their timestep label) -> log p(y | activations), nats, [B]."""


class Guidance(Protocol):
    """One way to get log p(y | x_t)."""

    def __call__(self, x_t: Tensor, timestep: int, alpha_bar_t: Tensor) -> tuple[Tensor, Tensor]:
        """Return the denoiser's raw output [B, C, H, W] and log p(y | x_t) [B], attached to ``x_t``."""
        ...


@dataclass(frozen=True)
class ExactGuidance:
    """The paper's estimator: p(y | x_t) ~ p(y | x0_hat(x_t)), the head reading the denoiser's view of x0_hat.

    x0_hat is fed back as it is, neither clipped nor noised, with the label that the head was trained at.
    The feature pass ends at the deepest tap; the gradient runs through both passes.
    """

    denoiser: Denoiser
    log_likelihood: LogLikelihood
    taps: Sequence[str]
    feature_timestep: int

    def __call__(self, x_t: Tensor, timestep: int, alpha_bar_t: Tensor) -> tuple[Tensor, Tensor]:
        output, x0_hat = _estimate(self.denoiser, x_t, timestep, alpha_bar_t)
        maps = self.denoiser.features(x0_hat, self.feature_timestep, self.taps)
        return output, self.log_likelihood(maps, self.feature_timestep)


@dataclass(frozen=True)
class ReadoutGuidance:
    """Features of x_t from the pass that predicts the noise; the head knows the noise level.

    Source: Luo et al. 2024, "Readout Guidance" (CVPR), reduced to a linear head.
    """

    denoiser: Denoiser
    log_likelihood: LogLikelihood
    taps: Sequence[str]

    def __call__(self, x_t: Tensor, timestep: int, alpha_bar_t: Tensor) -> tuple[Tensor, Tensor]:
        output, maps = self.denoiser.predict_with_features(x_t, timestep, self.taps)
        return output, self.log_likelihood(maps, timestep)


@dataclass(frozen=True)
class CleanImageGuidance:
    """The control that the paper calls DDIM-I: p(y | x0_hat) by a network that saw clean images only.

    ``log_likelihood`` gets the image of the clean estimate as its one activation, [-1, 1] scale, not clipped.
    """

    denoiser: Denoiser
    log_likelihood: LogLikelihood

    def __call__(self, x_t: Tensor, timestep: int, alpha_bar_t: Tensor) -> tuple[Tensor, Tensor]:
        output, x0_hat = _estimate(self.denoiser, x_t, timestep, alpha_bar_t)
        with self.denoiser.runtime.autocast():
            return output, self.log_likelihood([self.denoiser.to_images(x0_hat)], timestep)


@dataclass(frozen=True)
class DirectGuidance(ExactGuidance):
    """The estimator of ``ExactGuidance`` without the Jacobian of the pass that predicts the noise.

    eps_guided = eps - lambda sqrt(1 - alpha_bar_t) grad_{x0_hat} log p(y | x0_hat)

    The gradient with respect to x0_hat stands where that with respect to x_t stood, as it is: it has no factor
    1 / sqrt(alpha_bar_t), which d x0_hat / d x_t would be if eps did not depend on x_t, and which grows beyond bounds
    towards the first steps. The first pass needs no gradient, the second one ends at the deepest tap.

    Source: He et al. 2024, "Manifold Preserving Guided Diffusion" (ICLR), whose gradient is the same.
    """

    def __call__(self, x_t: Tensor, timestep: int, alpha_bar_t: Tensor) -> tuple[Tensor, Tensor]:
        output, x0_hat = _estimate_alone(self.denoiser, x_t, timestep, alpha_bar_t)
        maps = self.denoiser.features(x0_hat, self.feature_timestep, self.taps)
        return output, self.log_likelihood(maps, self.feature_timestep)


@dataclass(frozen=True)
class CleanImageDirectGuidance(CleanImageGuidance):
    """The control ``CleanImageGuidance`` without the Jacobian of the denoiser; equation and source as above."""

    def __call__(self, x_t: Tensor, timestep: int, alpha_bar_t: Tensor) -> tuple[Tensor, Tensor]:
        output, x0_hat = _estimate_alone(self.denoiser, x_t, timestep, alpha_bar_t)
        with self.denoiser.runtime.autocast():
            return output, self.log_likelihood([self.denoiser.to_images(x0_hat)], timestep)


READS_ESTIMATE: dict[str, type[ExactGuidance]] = {"exact": ExactGuidance, "direct": DirectGuidance}
"""Methods whose head reads the denoiser's view of x0_hat."""

READS_IMAGE: dict[str, type[CleanImageGuidance]] = {
    "clean_image": CleanImageGuidance,
    "clean_image_direct": CleanImageDirectGuidance,
}
"""Methods whose network reads the image of x0_hat."""


def guide_eps(eps: Tensor, log_prob: Tensor, x_t: Tensor, alpha_bar_t: Tensor, guidance_scale: float) -> Tensor:
    """Shift the predicted noise along the gradient of a learned likelihood.

    eps_guided = eps - guidance_scale * sqrt(1 - alpha_bar_t) * grad_{x_t} log p(y | x0_hat(x_t))

    Args:
        eps: Noise predicted by the unconditional denoiser, [B, C, H, W], unit variance.
        log_prob: log p(y | x0_hat) of each sample, nats, [B], attached to the graph of ``x_t``.
        x_t: Noisy images, [B, C, H, W], requires grad.
        alpha_bar_t: Cumulative product of alphas at t, scalar in (0, 1].
        guidance_scale: lambda >= 0; 0 returns ``eps`` unchanged.

    Returns:
        Guided noise, shape and dtype of ``eps``, detached.

    Raises:
        GuidanceError: If ``log_prob`` does not depend on ``x_t``.

    Source: Graikos et al. 2023, "Approach", third equation.
    """
    if guidance_scale == 0:
        return eps.detach()
    gradient = likelihood_gradient(log_prob, x_t)
    return eps.detach() - guidance_scale * (1 - alpha_bar_t).sqrt() * gradient


def likelihood_gradient(log_prob: Tensor, x_t: Tensor) -> Tensor:
    """Return grad_{x_t} of each sample's log_prob, [B, C, H, W]; summed, so that batch mates do not matter.

    Raises:
        GuidanceError: If ``log_prob`` does not depend on ``x_t``.
    """
    if not log_prob.requires_grad:
        raise GuidanceError("log_prob does not depend on x_t: x_t needs requires_grad, and no pass may be detached.")
    with torch.enable_grad():  # whatever the caller's mode
        total = log_prob.sum()
    (gradient,) = torch.autograd.grad(total, x_t, allow_unused=True)
    if gradient is None:
        raise GuidanceError("log_prob does not depend on x_t: the features come from another pass.")
    return gradient


def unguided(denoiser: Denoiser) -> Predictor:
    """Return the plain denoiser as a predictor."""

    def predict(x_t: Tensor, timestep: int, alpha_bar_t: Tensor) -> Tensor:
        with torch.no_grad():
            return denoiser.predict(x_t, timestep)

    return predict


def guided(
    guidance: Guidance,
    guidance_scale: float,
    prediction_type: str,
    plain: Predictor | None = None,
    interval: tuple[int, int] | None = None,
) -> Predictor:
    """Return a predictor that shifts the denoiser's output along the likelihood's gradient.

    At ``guidance_scale`` 0 the output is the denoiser's own, bit for bit.

    Args:
        guidance: How log p(y | x_t) is computed.
        guidance_scale: lambda >= 0.
        prediction_type: ``epsilon``, ``v_prediction`` or ``sample``.
        plain: Predictor of the timesteps outside the interval; None guides every step.
        interval: First and last guided timestep (Kynkaanniemi et al. 2024); None guides every step. Near the end of
            the schedule x_t holds no image, and 1 / sqrt(alpha_bar_t) amplifies whatever the gradient says.
    """

    def predict(x_t: Tensor, timestep: int, alpha_bar_t: Tensor) -> Tensor:
        if plain is not None and interval is not None and not interval[0] <= timestep <= interval[1]:
            return plain(x_t, timestep, alpha_bar_t)
        with torch.enable_grad():
            # A view, not the leaf itself: torch's FLOP counter cannot hook a leaf.
            x_t = x_t.detach().requires_grad_().view_as(x_t)
            output, log_prob = guidance(x_t, timestep, alpha_bar_t)
        if guidance_scale == 0:
            return output.detach()
        eps = pred_epsilon(output, x_t, alpha_bar_t, prediction_type)
        eps_guided = guide_eps(eps, log_prob, x_t, alpha_bar_t, guidance_scale)
        with torch.no_grad():
            return output_of_epsilon(eps_guided, x_t, alpha_bar_t, prediction_type)

    return predict


def within(predict: Predictor, plain: Predictor, interval: tuple[int, int]) -> Predictor:
    """Return a predictor that is ``predict`` from the first to the last timestep of an interval, else ``plain``."""

    def chosen(x_t: Tensor, timestep: int, alpha_bar_t: Tensor) -> Tensor:
        inside = interval[0] <= timestep <= interval[1]
        return (predict if inside else plain)(x_t, timestep, alpha_bar_t)

    return chosen


def _estimate(denoiser: Denoiser, x_t: Tensor, timestep: int, alpha_bar_t: Tensor) -> tuple[Tensor, Tensor]:
    """Return the raw output and the clean estimate x0_hat, both attached to ``x_t``."""
    # The clean estimate in the precision of x_t: 1 / sqrt(alpha_bar_t) amplifies rounding.
    output = denoiser.predict(x_t, timestep)
    return output, pred_original_sample(output, x_t, alpha_bar_t, denoiser.schedule.prediction_type)


def _estimate_alone(denoiser: Denoiser, x_t: Tensor, timestep: int, alpha_bar_t: Tensor) -> tuple[Tensor, Tensor]:
    """Return the raw output, detached, and x0_hat, on which the gradient with respect to ``x_t`` is that to x0_hat."""
    with torch.no_grad():
        output, x0_hat = _estimate(denoiser, x_t, timestep, alpha_bar_t)
    return output, x0_hat + (x_t - x_t.detach())  # plus zero, whose derivative is one
