"""Steering a baseline's latents towards masks: the same equation as for pixels, with the latent in their place."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from ...baselines.training import over_images
from ...diffusion.guidance import Predictor, guided
from ...diffusion.schedule import pred_original_sample
from ...storage.weights import weights_digest
from ..heads import mask_log_likelihood
from .decoder import LatentDecoder, load_latent_decoder
from .latents import DecoderKey
from .prior import LatentPrior


@dataclass(frozen=True)
class DecodedMaskGuidance:
    """p(mask | z_t) ~ p(mask | z0_hat(z_t)) by a decoder of latents; z0_hat is read as it is, not clipped.

    Attributes:
        prior: Draws the latents.
        decoder: Reads them.
        masks: Wanted class ids of the batch, uint8 [B, H, W].
    """

    prior: LatentPrior
    decoder: LatentDecoder
    masks: Tensor

    def __call__(self, x_t: Tensor, timestep: int, alpha_bar_t: Tensor) -> tuple[Tensor, Tensor]:
        """Return the prior's raw output, [B, *shape], and mean log p over pixels, nats [B], attached to ``x_t``."""
        output = self.prior.predict(x_t, timestep)
        z0_hat = pred_original_sample(output, x_t, alpha_bar_t, self.prior.prediction_type)
        return output, mask_log_likelihood(self.decoder(z0_hat), self.masks)


@dataclass(frozen=True)
class LatentGuide:
    """A decoder of latents beside the prior that it steers."""

    prior: LatentPrior
    decoder: LatentDecoder

    @classmethod
    def load(cls, prior: LatentPrior, weights: Path, guide: Path, shots: int, classes: Sequence[str]) -> Self:
        """Load the decoder that the few pairs trained.

        Args:
            prior: Of the baseline.
            weights: Weights folder of the baseline.
            guide: Weights folder of the decoder.
            shots: Number of pairs.
            classes: Names of the class ids.

        Raises:
            WeightsError: If the decoder reads another model's latents, or is of other pairs or classes.
        """
        decoder = load_latent_decoder(guide, DecoderKey(prior.baseline, shots), weights_digest(weights), classes)
        return cls(prior, decoder.to(prior.runtime.device))

    def predictor(self, masks: Tensor, guidance_scale: float, interval: tuple[int, int]) -> Predictor:
        """Return the predictor of a batch that follows its masks, uint8 [B, H, W], within an interval of timesteps.

        eps_guided = eps - guidance_scale * sqrt(1 - alpha_bar_t) * grad_{z_t} log p(mask | z0_hat(z_t))

        Source: Graikos et al. 2023, "Approach", third equation, on latents.
        """
        guidance = DecodedMaskGuidance(self.prior, self.decoder, masks.to(self.prior.runtime.device))
        return guided(guidance, guidance_scale, self.prior.prediction_type, self.prior.plain, interval)

    def segment(self, images: Tensor) -> Tensor:
        """Return what the decoder finds in the latents of images, uint8 [N, 3, H, W]: class ids, uint8 [N, H, W]."""
        model = self.prior.model
        return over_images(lambda clean: self.decoder(model.encode(clean)).argmax(1), images, self.prior.runtime).to(
            torch.uint8
        )
