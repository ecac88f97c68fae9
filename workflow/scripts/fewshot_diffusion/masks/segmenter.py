"""Networks that segment clean images: the independent segmenters that measure and tune, and the one that guides."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from diffusers import UNet2DModel
from torch import Tensor, nn
from torch.nn import functional as F

from ..config.masks import SegmenterConfig
from ..data.mask_set import flip_masks
from ..diffusion.schedule import label_of
from ..images import to_signed
from ..runtime import Runtime, make_runtime
from ..storage.files import About
from ..storage.rows import Rows
from ..storage.weights import load_module, save_module
from ..supervised import fit, shift
from .pairs import PairFiles, Pairs

Role = Literal["judge", "tuning_judge", "guides"]


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
        found: Tensor = self.network(images, label_of(0, images)).sample
        return found

    def forward(self, images: Tensor) -> Tensor:
        """Return class logits [B, K, H, W] of uint8 images [B, 3, H, W], 0..255."""
        return self.logits(to_signed(images))

    def segment(self, images: Rows, batch_size: int = 50) -> Tensor:
        """Return the likeliest class of every pixel, uint8 [N, H, W], of uint8 images [N, 3, H, W]."""
        device = next(self.parameters()).device
        with torch.inference_mode():
            found = [self(batch.to(device)).argmax(1).to(torch.uint8).cpu() for batch in images.split(batch_size)]
        return torch.cat(found)


def fit_segmenter(pairs: Pairs, settings: SegmenterConfig, runtime: Runtime, flip: bool = True) -> Segmenter:
    """Train a segmenter by mean pixel cross-entropy on mirrored and shifted images.

    Args:
        pairs: Images and their masks; half of each batch is mirrored, sides exchanged.
        settings: Width and recipe.
        runtime: Device and precision.
        flip: Whether any is mirrored; false where sides matter and are not known.
    """
    torch.manual_seed(settings.seed)
    model = Segmenter(pairs.classes, settings.block_out_channels, pairs.images.shape[-1])

    def augment(images: Tensor, masks: Tensor, stream: torch.Generator) -> tuple[Tensor, Tensor]:
        if flip:
            mirrored = (torch.rand(len(images), generator=stream, device=stream.device) < 0.5).view(-1, 1, 1)
            images = torch.where(mirrored[:, None], images.flip(-1), images)
            masks = torch.where(mirrored, flip_masks(masks, pairs.flip_pairs), masks)
        images, masks = shift([images, masks], stream, max_shift=4)
        return images, masks

    fit(model, (pairs.images, pairs.masks), _cross_entropy, augment, settings, runtime)
    return model


def train_segmenter(
    settings: SegmenterConfig, role: Role, files: PairFiles, output: Path, device: str = "auto"
) -> None:
    """Train a segmenter of clean images: on a split of its own, or on the few pairs.

    Args:
        settings: Section masks.segmenter or masks.clean_image, JSON.
        role: What it may do: measure (judge), tune (tuning_judge) or guide (guides).
        files: What it is trained on.
        output: Weights folder to write.
        device: auto, cpu, cuda or cuda:<n>.
    """
    runtime = make_runtime(device, settings.precision, cpu_threads=1)
    pairs = files.load()
    model = fit_segmenter(pairs, settings, runtime)
    recipe = {**settings.model_dump(mode="json"), "flip_pairs": pairs.flip_pairs}
    about = {"role": role, "classes": pairs.classes, "recipe": recipe, "images": pairs.digest}
    few = {"shots": len(pairs)} if files.pairs else {}
    save_module(model, model.config, output, {**about, **few})


def load_segmenter(folder: Path, role: Role, classes: Sequence[str], expected: About | None = None) -> Segmenter:
    """Load a segmenter of these classes.

    Args:
        folder: Weights folder.
        role: What it is to do here.
        classes: Names of the class ids.
        expected: What else it must say of itself.

    Raises:
        WeightsError: If it was trained for another role, what guides or tunes never measures, or on other classes.
    """
    expected = {"role": role, "classes": list(classes), **(expected or {})}
    return load_module(lambda config: Segmenter(**config), folder, expected=expected)[0]


def _cross_entropy(logits: Tensor, masks: Tensor) -> Tensor:
    return F.cross_entropy(logits, masks.long())
