"""Networks that segment clean images: the independent segmenter that measures, and DDIM-I's that guides."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DModel
from torch import Tensor, nn
from torch.nn import functional as F

from ..config.masks import SegmenterConfig
from ..data.mask_set import flip_masks
from ..errors import WeightsError
from ..runtime import Runtime
from ..storage.weights import load_module, read_weights_provenance
from ..supervised import fit, shift


class Segmenter(nn.Module):
    """A diffusers ``UNet2DModel`` used as a plain U-Net: one logit per class and pixel, timestep fixed at 0."""

    def __init__(self, classes: Sequence[str], block_out_channels: Sequence[int], image_size: int) -> None:
        super().__init__()
        self.classes = list(classes)
        self.block_out_channels = list(block_out_channels)
        self.image_size = image_size
        levels = len(self.block_out_channels)
        self.network = UNet2DModel(
            sample_size=image_size,
            out_channels=len(self.classes),
            block_out_channels=tuple(block_out_channels),
            layers_per_block=1,
            down_block_types=("DownBlock2D",) * levels,
            up_block_types=("UpBlock2D",) * levels,
            norm_num_groups=8,
            attention_head_dim=8,
        )

    @property
    def config(self) -> dict[str, Any]:
        """Arguments that build this segmenter."""
        return {
            "classes": self.classes,
            "block_out_channels": self.block_out_channels,
            "image_size": self.image_size,
        }

    def logits(self, images: Tensor) -> Tensor:
        """Return class logits [B, K, H, W] of images [B, 3, H, W], [-1, 1] scale."""
        found: Tensor = self.network(images, 0).sample
        return found

    def forward(self, images: Tensor) -> Tensor:
        """Return class logits [B, K, H, W] of uint8 images [B, 3, H, W], 0..255."""
        return self.logits(images.float() / 127.5 - 1)

    def segment(self, images: Tensor, batch_size: int = 50) -> Tensor:
        """Return the likeliest class of every pixel, uint8 [N, H, W], of uint8 images [N, 3, H, W]."""
        device = next(self.parameters()).device
        with torch.inference_mode():
            found = [self(batch.to(device)).argmax(1).to(torch.uint8).cpu() for batch in images.split(batch_size)]
        return torch.cat(found)


def train_segmenter(
    images: Tensor,
    masks: Tensor,
    classes: Sequence[str],
    flip_pairs: Sequence[tuple[int, int]],
    settings: SegmenterConfig,
    runtime: Runtime,
) -> Segmenter:
    """Train a segmenter by mean pixel cross-entropy on mirrored and shifted images.

    Args:
        images: uint8 [N, 3, H, W], 0..255.
        masks: Class ids, uint8 [N, H, W].
        classes: Names of the class ids.
        flip_pairs: Class ids that a mirror exchanges.
        settings: Width and recipe.
        runtime: Device and precision.
    """
    torch.manual_seed(settings.seed)
    model = Segmenter(classes, settings.block_out_channels, images.shape[-1])

    def augment_pairs(batch: Tensor, wanted: Tensor, stream: torch.Generator) -> tuple[Tensor, Tensor]:
        mirrored = torch.rand(len(batch), generator=stream) < 0.5
        batch, wanted = batch.clone(), wanted.clone()
        batch[mirrored] = batch[mirrored].flip(-1)
        wanted[mirrored] = flip_masks(wanted[mirrored], flip_pairs)
        batch, wanted = shift([batch, wanted], stream, max_shift=4)
        return batch, wanted

    fit(model, images, masks, _cross_entropy, augment_pairs, settings, runtime)
    return model


def load_segmenter(folder: Path, role: str, classes: Sequence[str]) -> Segmenter:
    """Load a segmenter of these classes.

    Raises:
        WeightsError: If it was trained for another role, what guides or tunes never measures, or on other classes.
    """
    found = read_weights_provenance(folder).get("role")
    if found != role:
        raise WeightsError(f"{folder}: this segmenter's role is {found!r}, expected {role!r}: it must not serve here.")
    model = load_module(lambda config: Segmenter(**config), folder)
    if model.classes != list(classes):
        raise WeightsError(
            f"{folder}: finds {', '.join(model.classes)}, expected {', '.join(classes)}. Train it anew: set "
            "segmentation.source to train."
        )
    return model


def _cross_entropy(logits: Tensor, masks: Tensor) -> Tensor:
    return F.cross_entropy(logits, masks.long())
