"""Steering by DDIM-I's image-space classifier: the control of heads that read the denoiser, from the same shots.

It reads x0_hat as an image. Early on that is an inaccurate one, the like of which it has not learned from.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from ..config.sampling import SamplingConfig
from ..diffusion.denoiser import Denoiser, load_denoiser
from ..diffusion.guidance import READS_IMAGE, Guidance, Predictor, guided, unguided
from ..errors import ConfigError
from ..judges import AttributeClassifier
from ..runtime import make_runtime
from ..storage.weights import load_module, weights_digest
from .baselines.ddim_i import METHOD as DDIM_I
from .guidance import Steering
from .sampling import Share, draw_share


class GuidingClassifier(AttributeClassifier):
    """DDIM-I's classifier where it guides: of its one attribute, by images on the scale of the denoiser."""

    def log_prob(self, images: Tensor, value: bool) -> Tensor:
        """Return log p(attribute = value | image), nats, [B], of images [B, 3, H, W], [-1, 1] scale; differentiable."""
        (logit,) = self.network(images).unbind(1)
        return F.logsigmoid(logit if value else -logit)


def sample_clean_image(
    settings: SamplingConfig, denoiser: Path, steering: Steering, share: Share, classifier: Path, device: str = "auto"
) -> None:
    """Draw one shard of samples by DDIM, steered by DDIM-I's image-space classifier; finished work units are kept.

    Args:
        settings: Section sampling, JSON.
        denoiser: Weights folder.
        steering: What the samples are steered towards.
        share: Which of them this job draws.
        classifier: Weights folder of DDIM-I's classifier.
        device: auto, cpu, cuda or cuda:<n>.

    Raises:
        ConfigError: If the method is not one of ``READS_IMAGE``, or a share is wanted.
        WeightsError: If the classifier is of another attribute, or no classifier of DDIM-I.
    """
    runtime = make_runtime(device, settings.precision, settings.cpu_threads, compile=settings.compile)
    network = load_denoiser(denoiser, runtime)
    predict = make_predictor(network, steering, classifier, settings)
    steered = {**steering.about, "classifier": weights_digest(classifier)}
    draw_share(share, network, predict, settings, steered)


def make_predictor(denoiser: Denoiser, steering: Steering, folder: Path, settings: SamplingConfig) -> Predictor:
    """Return the denoiser, steered within ``settings.guidance_interval``; raise as ``sample_clean_image`` does."""
    if steering.method not in READS_IMAGE:
        raise ConfigError(f"--method: found {steering.method!r}, expected {' or '.join(READS_IMAGE)}.")
    if not isinstance(steering.value, bool):
        raise ConfigError(f"--value: found {steering.value}, expected True or False: shares are wanted of heads alone.")
    expected = {"role": DDIM_I, "attribute": steering.attribute}
    classifier, _ = load_module(lambda config: GuidingClassifier(**config), folder, expected)
    guidance = image_guidance(steering.method, denoiser, classifier.to(denoiser.device), steering.value)
    plain, prediction_type = unguided(denoiser), denoiser.schedule.prediction_type
    return guided(guidance, steering.guidance_scale, prediction_type, plain, settings.guidance_interval)


def image_guidance(method: str, denoiser: Denoiser, classifier: GuidingClassifier, value: bool) -> Guidance:
    """Return the guidance of ``clean_image``, or of ``clean_image_direct``, towards an attribute's value."""

    def log_likelihood(images: Sequence[Tensor], _timestep: int) -> Tensor:
        # In float32, as DDIM-I decides: bfloat16 gradients of its strided convolutions on few pixels do not repeat.
        with torch.autocast(denoiser.device.type, enabled=False):
            return classifier.log_prob(images[0].float(), value)

    return READS_IMAGE[method](denoiser, log_likelihood)
