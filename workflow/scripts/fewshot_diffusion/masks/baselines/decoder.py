"""Few-shot mask decoder: p(class of each pixel | latent of a generative baseline) from a handful of pairs.

The paper's comparison: whatever a latent that was learnt without labels has not kept of an image, no decoder finds.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...config.masks import LatentDecoderConfig
from ...progress import Progress
from ...residence import to_device
from ...runtime import CPU, Runtime, make_runtime
from ...seeds import generator
from ...storage.weights import load_module, save_module
from .latents import DecoderKey, PairLatents, load_pair_latents

SEED_SIDE = 4
"""Cells a side of the map that a latent without places is unfolded to."""


class LatentDecoder(nn.Module):
    """Latents to class logits of every pixel: a map of the latent, and a 3x3 convolution after each doubling, SiLU.

    A latent that is a map stays where it is; one that is a vector is unfolded to ``SEED_SIDE`` squared cells.
    """

    def __init__(
        self, latent_shape: Sequence[int], classes: Sequence[str], image_size: int, hidden_channels: int
    ) -> None:
        super().__init__()
        self.latent_shape, self.classes = list(latent_shape), list(classes)
        self.image_size, self.hidden_channels = image_size, hidden_channels
        if len(latent_shape) == 1:
            unfold = nn.Linear(latent_shape[0], hidden_channels * SEED_SIDE**2)
            self.first: nn.Module = nn.Sequential(unfold, nn.Unflatten(1, (hidden_channels, SEED_SIDE, SEED_SIDE)))
        else:
            self.first = nn.Conv2d(latent_shape[0], hidden_channels, 3, padding=1)
        self.sides = _doubled(SEED_SIDE if len(latent_shape) == 1 else latent_shape[-1], image_size)
        self.convolutions = nn.ModuleList(nn.Conv2d(hidden_channels, hidden_channels, 3, padding=1) for _ in self.sides)
        self.last = nn.Conv2d(hidden_channels, len(classes), 1)

    @property
    def config(self) -> dict[str, Any]:
        """Arguments that build this decoder."""
        return {
            "latent_shape": self.latent_shape,
            "classes": self.classes,
            "image_size": self.image_size,
            "hidden_channels": self.hidden_channels,
        }

    def forward(self, latents: Tensor) -> Tensor:
        """Return class logits, float32 [B, K, H, W], of normalised latents, [B, *latent_shape] or flat."""
        hidden = F.silu(self.first(latents.float().reshape(-1, *self.latent_shape)))
        for side, convolution in zip(self.sides, self.convolutions, strict=True):
            hidden = F.silu(convolution(F.interpolate(hidden, size=(side, side), mode="nearest")))
        logits: Tensor = self.last(hidden)
        return logits


def fit_latent_decoder(
    latents: PairLatents, settings: LatentDecoderConfig, runtime: Runtime = CPU
) -> tuple[LatentDecoder, dict[str, float]]:
    """Train a decoder by mean pixel cross-entropy, AdamW with a cosine decay, on the latents of the pairs.

    Args:
        latents: Cached latents of the pairs, and their masks.
        settings: Width and recipe.
        runtime: Device.

    Returns:
        The decoder, on the CPU, and its last training loss (nats) and pixel accuracy (0..1).
    """
    torch.manual_seed(settings.seed)
    size = latents.masks.shape[-1]
    decoder = LatentDecoder(latents.shape, latents.classes, size, settings.hidden_channels).to(runtime.device)
    values, masks = latents.values.to(runtime.device), latents.masks.to(runtime.device)
    optimizer = torch.optim.AdamW(decoder.parameters(), settings.learning_rate, weight_decay=settings.weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.updates)
    for update in Progress(range(settings.updates), desc="training decoder", unit="update"):
        stream = generator(f"latent decoder {settings.seed}", update)
        rows = to_device(torch.randint(len(values), (settings.batch_size,), generator=stream), runtime.device)
        noise = to_device(torch.randn(settings.batch_size, values.shape[1], generator=stream), runtime.device)
        logits, wanted = decoder(values[rows] + settings.noise * noise), masks[rows].long()
        loss = F.cross_entropy(logits, wanted)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
    report = {"loss": float(loss.detach()), "pixel_accuracy": float((logits.argmax(1) == wanted).float().mean())}
    return decoder.requires_grad_(False).eval().cpu(), report


def train_mask_decoder(
    settings: LatentDecoderConfig, which: DecoderKey, latents: Path, output: Path, device: str = "auto"
) -> None:
    """Train the mask decoder of a generative baseline on the cached latents of the few pairs.

    Args:
        settings: Section masks.latent_decoder, JSON.
        which: Baseline and number of pairs.
        latents: Cached latents, safetensors.
        output: Weights folder to write.
        device: auto, cpu, cuda or cuda:<n>.

    Raises:
        CorruptFileError: If the latents are damaged, or of another baseline or number of pairs.
    """
    runtime = make_runtime(device, "float32", cpu_threads=1)
    cached, weights = load_pair_latents(latents, which.key)
    decoder, report = fit_latent_decoder(cached, settings, runtime)
    recipe = settings.model_dump(mode="json")
    about = {**which.key, "weights": weights, "classes": decoder.classes, "recipe": recipe, "report": report}
    save_module(decoder, decoder.config, output, about)


def load_latent_decoder(folder: Path, which: DecoderKey, weights: str, classes: Sequence[str]) -> LatentDecoder:
    """Load a decoder of the model whose weights have this digest, frozen.

    Raises:
        WeightsError: If it reads another model's latents, or is of another number of pairs or other classes.
    """
    expected = {**which.key, "weights": weights, "classes": list(classes)}
    return load_module(lambda config: LatentDecoder(**config), folder, expected=expected)[0]


def _doubled(side: int, image_size: int) -> list[int]:
    """Return the sides that a map is brought to, one after another, the last of which is the image's."""
    sides = []
    while side < image_size:
        side = min(2 * side, image_size)
        sides.append(side)
    return sides
