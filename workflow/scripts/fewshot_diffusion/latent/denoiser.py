"""A denoiser of latents behind the seam: the coder, the prompt and classifier-free guidance stay in here."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from ..config.denoiser import ScheduleConfig
from ..diffusion.denoiser import Denoiser
from ..diffusion.features import extract, forward_with_features
from ..diffusion.schedule import label_of
from ..errors import WeightsError
from ..images import to_signed
from ..runtime import Runtime
from ..storage.weights import load_module, weights_digest
from .networks import LatentNetwork, images_of, latents_of, reduction_of

CODED = 10  # images that are coded at a time; those of 512 pixels take about a gigabyte each


@dataclass(frozen=True)
class LatentDenoiser(Denoiser):
    """A denoiser of latents, held at one prompt or at none.

    With classifier-free guidance one prediction is two passes in one batch, the negative prompt's and the prompt's, as
    in diffusers' pipelines; activations are the prompt's.

    Attributes:
        network: U-Net, coder and prompt.
    """

    network: LatentNetwork

    @property
    def sample_shape(self) -> tuple[int, int, int]:
        """Shape of one image's latents: (C, h, w)."""
        config = self.network.unet.config
        return (config.in_channels, config.sample_size, config.sample_size)

    @property
    def image_size(self) -> int:
        """Height and width of the images, pixels."""
        return self.sample_shape[-1] * reduction_of(self.network.coder)

    @property
    def usual_taps(self) -> list[str]:
        """Names of the modules that heads usually read."""
        return ["mid_block", *(f"up_blocks.{level}" for level in range(len(self.network.unet.up_blocks)))]

    @property
    def classifier_free_scale(self) -> float:
        """Weight of classifier-free guidance; at 1 the negative prompt is not computed."""
        return float(self.network.text["classifier_free_scale"]) if len(self.network.prompts) else 1.0

    def parameters(self) -> Iterator[nn.Parameter]:
        """Yield all parameters of the U-Net."""
        return iter(self.network.unet.parameters())

    def predict(self, x_t: Tensor, timestep: int | Tensor) -> Tensor:
        """Return the raw output under classifier-free guidance, shape and dtype of ``x_t``.

        output = negative + classifier_free_scale (prompt - negative), for eps and v alike.
        Source: Ho and Salimans 2022, "Classifier-Free Diffusion Guidance", eq. 6.
        """
        inputs, label = self._inputs(x_t, timestep)
        with self.runtime.autocast():
            output: Tensor = self.network.unet(inputs, label, **self._conditions(len(x_t))).sample
        return self.joined(output.to(x_t.dtype))

    def features(self, x: Tensor, timestep: int | Tensor, taps: Sequence[str]) -> list[Tensor]:
        """Return activations of the prompt's pass, which ends at the deepest tap."""
        with self.runtime.autocast():
            return extract(self.network.unet, x, timestep, taps, **self._conditions(len(x), prompt_alone=True))

    def predict_with_features(
        self, x_t: Tensor, timestep: int | Tensor, taps: Sequence[str]
    ) -> tuple[Tensor, list[Tensor]]:
        """Return the raw output under classifier-free guidance, and activations of the prompt's part of the pass."""
        inputs, label = self._inputs(x_t, timestep)
        with self.runtime.autocast():
            conditions = self._conditions(len(x_t))
            output, maps = forward_with_features(self.network.unet, inputs, label, taps, **conditions)
        return self.joined(output.to(x_t.dtype)), [found[-len(x_t) :] for found in maps]

    def encode(self, images: Tensor) -> Tensor:
        """Return the latents of images, uint8 [B, 3, H, W]: the mode, scaled; without gradient."""
        with torch.no_grad():
            parts = [latents_of(self.network.coder, to_signed(part.to(self.device))) for part in images.split(CODED)]
        return torch.cat(parts)

    def to_images(self, x_0: Tensor) -> Tensor:
        """Return the images of latents, [B, 3, H, W], [-1, 1] scale, not clipped, attached to the graph of ``x_0``."""
        return images_of(self.network.coder, x_0)

    def prompts_of(self, batch: int, prompt_alone: bool = False) -> Tensor | None:
        """Return the embeddings that a batch is denoised with, the negative prompt's first; None without a prompt."""
        prompts = self.network.prompts
        if not len(prompts):
            return None
        wanted = prompts[1:] if prompt_alone or self.classifier_free_scale == 1 else prompts
        return wanted.repeat_interleave(batch, dim=0)

    def joined(self, output: Tensor) -> Tensor:
        """Return the output under classifier-free guidance, [B, ...], of both passes, [2 B, ...]; of one, itself."""
        if self.classifier_free_scale == 1:
            return output
        negative, prompted = output.chunk(2)
        return negative + self.classifier_free_scale * (prompted - negative)

    def _conditions(self, batch: int, prompt_alone: bool = False) -> dict[str, Tensor]:
        prompts = self.prompts_of(batch, prompt_alone)
        return {} if prompts is None else {"encoder_hidden_states": prompts}

    def _inputs(self, x_t: Tensor, timestep: int | Tensor) -> tuple[Tensor, Tensor]:
        label = label_of(timestep, x_t)
        if self.classifier_free_scale == 1:
            return x_t, label
        return torch.cat([x_t, x_t]), torch.cat([label, label]) if label.numel() > 1 else label


def load_latent_denoiser(folder: Path, runtime: Runtime) -> LatentDenoiser:
    """Load a denoiser of latents with frozen parameters in eval mode.

    Raises:
        WeightsError: If files are missing, do not fit each other, or do not name their schedule.
        CorruptFileError: If a file is damaged.
    """
    network, about = load_module(LatentNetwork.of_config, folder)
    if "schedule" not in about:
        raise WeightsError(f"{folder}: the weights do not name their schedule; expected those of a denoiser.")
    schedule = ScheduleConfig.model_validate(about["schedule"])
    runtime.place(network.unet)
    return LatentDenoiser(schedule, weights_digest(folder), runtime, network.to(runtime.device))
