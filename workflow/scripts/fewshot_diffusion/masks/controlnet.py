"""ControlNet for pixel U-Nets: a trainable copy of the encoder that adds to the frozen denoiser's skips.

Source: Zhang et al. 2023, "Adding Conditional Control to Text-to-Image Diffusion Models".
"""

from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DModel
from torch import Tensor, nn
from torch.nn import functional as F

from ..config.denoiser import DenoiserTrainingConfig
from ..diffusion.denoiser import Denoiser, load_denoiser
from ..diffusion.guidance import Predictor
from ..diffusion.training import DenoiserTraining, run_training, training_identity
from ..diffusion.unets import unet_of_config
from ..errors import ConfigError
from ..residence import settle, take
from ..runtime import Runtime, make_runtime
from ..storage.checkpoints import CheckpointFolder
from ..storage.weights import load_module, save_module
from .pairs import GuideFiles, Pairs

HINT_CHANNELS = 32


class ControlNet(nn.Module):
    """Encoder copy, hint encoder and one zero-initialised convolution per skip: at step 0 it changes nothing.

    The wanted mask, one channel per class, is encoded and added to the copy's first activation.
    """

    def __init__(self, unet_config: dict[str, Any], classes: Sequence[str]) -> None:
        """Build a ControlNet for the denoiser with this ``config.json``; its encoder is still random."""
        super().__init__()
        self.unet_config = dict(unet_config)
        self.classes = list(classes)
        unet = unet_of_config(unet_config)
        _require_plain(unet)
        self.conv_in = unet.conv_in
        self.time_proj = unet.time_proj
        self.time_embedding = unet.time_embedding
        self.down_blocks = unet.down_blocks
        self.mid_block = unet.mid_block
        first = unet.conv_in.out_channels
        self.hint = nn.Sequential(
            nn.Conv2d(len(self.classes), HINT_CHANNELS, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(HINT_CHANNELS, HINT_CHANNELS, 3, padding=1),
            nn.SiLU(),
            _zero(nn.Conv2d(HINT_CHANNELS, first, 3, padding=1)),
        )
        self.zeros = nn.ModuleList(_zero(nn.Conv2d(number, number, 1)) for number in _skip_channels(unet))

    @property
    def config(self) -> dict[str, Any]:
        """Arguments that build this ControlNet."""
        return {"unet_config": self.unet_config, "classes": self.classes}

    def copy_encoder(self, unet: UNet2DModel) -> None:
        """Start from the denoiser's own encoder."""
        for name in ("conv_in", "time_embedding", "down_blocks", "mid_block"):
            getattr(self, name).load_state_dict(deepcopy(getattr(unet, name).state_dict()))

    def forward(self, x_t: Tensor, timesteps: Tensor, masks: Tensor) -> list[Tensor]:
        """Return what is added to each skip, in the encoder's order, and last to the middle block's output.

        Args:
            x_t: Noisy images, [B, C, H, W].
            timesteps: int64 [B].
            masks: Wanted class ids, uint8 [B, H, W].
        """
        hint = F.one_hot(masks.long(), len(self.classes)).permute(0, 3, 1, 2).to(x_t.dtype)
        embedding = self.time_embedding(self.time_proj(timesteps).to(x_t.dtype))
        sample, skips = _encode(self, self.conv_in(x_t) + self.hint(hint), embedding)
        return [zero(found) for zero, found in zip(self.zeros, [*skips, sample], strict=True)]


def controlled(unet: UNet2DModel, controlnet: ControlNet, x_t: Tensor, timesteps: Tensor, masks: Tensor) -> Tensor:
    """Return the denoiser's raw output with the ControlNet's residuals added to its skips, [B, C, H, W]."""
    residuals = controlnet(x_t, timesteps, masks)
    embedding = unet.time_embedding(unet.time_proj(timesteps).to(x_t.dtype))
    sample, skips = _encode(unet, unet.conv_in(x_t), embedding)
    sample = sample + residuals[-1]
    waiting = [skip + residual for skip, residual in zip(skips, residuals[:-1], strict=True)]
    for block in unet.up_blocks:
        number = len(block.resnets)
        sample = block(sample, tuple(waiting[-number:]), embedding)
        waiting = waiting[:-number]
    output: Tensor = unet.conv_out(unet.conv_act(unet.conv_norm_out(sample)))
    return output


def fit_controlnet(
    denoiser: Denoiser,
    pairs: Pairs,
    settings: DenoiserTrainingConfig,
    checkpoints: CheckpointFolder,
    runtime: Runtime,
) -> ControlNet:
    """Train a ControlNet on image-mask pairs by the denoiser's own loss; the denoiser stays frozen. Resumable.

    Args:
        denoiser: Frozen denoiser.
        pairs: What it learns from; every pair is also seen mirrored, with its mask.
        settings: Recipe; ``num_images`` counts images seen.
        checkpoints: State of this training.
        runtime: Device and precision.
    """
    torch.manual_seed(settings.seed)
    controlnet = ControlNet(dict(denoiser.unet.config), pairs.classes)
    controlnet.copy_encoder(denoiser.unet)
    seen = pairs.mirrored()
    masks = settle(seen.masks, runtime.device)

    def predict(x_t: Tensor, timesteps: Tensor, index: Tensor) -> Tensor:
        return controlled(denoiser.unet, controlnet, x_t, timesteps, take(masks, index))

    training = DenoiserTraining(controlnet, predict, settings, denoiser.schedule, runtime)
    run_training(training, seen.images, checkpoints)
    return controlnet.requires_grad_(False).eval()


def train_controlnet(
    settings: DenoiserTrainingConfig, files: GuideFiles, checkpoints: Path, output: Path, device: str = "auto"
) -> None:
    """Train a ControlNet on the few image-mask pairs; the same command starts, resumes and repeats.

    Args:
        settings: Section masks.controlnet, JSON.
        files: Denoiser and pairs.
        checkpoints: Folder that holds the states of all trainings.
        output: Weights folder to write.
        device: auto, cpu, cuda or cuda:<n>.
    """
    runtime = make_runtime(device, settings.precision, settings.cpu_threads, compile=settings.compile)
    denoiser, pairs = load_denoiser(files.denoiser, runtime), files.load()
    about = {
        "denoiser": denoiser.digest,
        "classes": pairs.classes,
        "shots": len(pairs),
        "recipe": {**settings.model_dump(mode="json"), "flip_pairs": pairs.flip_pairs},
        "images": pairs.digest,
    }
    state = CheckpointFolder(checkpoints, training_identity(about, runtime))
    controlnet = fit_controlnet(denoiser, pairs, settings, state, runtime)
    save_module(controlnet, controlnet.config, output, about)


def load_controlnet(folder: Path, denoiser_digest: str, classes: Sequence[str], shots: int) -> ControlNet:
    """Load a ControlNet for use with the denoiser of this digest.

    Raises:
        WeightsError: If it was trained beside another denoiser, on other classes, or on another number of pairs.
    """
    expected = {"denoiser": denoiser_digest, "classes": list(classes), "shots": shots}
    return load_module(lambda config: ControlNet(**config), folder, expected=expected)[0]


def controlled_predictor(denoiser: Denoiser, controlnet: ControlNet, masks: Tensor, runtime: Runtime) -> Predictor:
    """Return the predictor of a batch that is to show these masks, uint8 [B, H, W]; it needs no gradient."""

    def predict(x_t: Tensor, timestep: int, alpha_bar_t: Tensor) -> Tensor:
        timesteps = torch.full((len(x_t),), timestep, device=x_t.device)
        with torch.no_grad(), runtime.autocast():
            output = controlled(denoiser.unet, controlnet, x_t, timesteps, masks)
        return output.to(x_t.dtype)

    return predict


def _encode(part: Any, sample: Tensor, embedding: Tensor) -> tuple[Tensor, list[Tensor]]:
    skips = [sample]
    for block in part.down_blocks:
        sample, found = block(hidden_states=sample, temb=embedding)
        skips += found
    return part.mid_block(sample, embedding), skips


def _skip_channels(unet: UNet2DModel) -> list[int]:
    widths = list(unet.config.block_out_channels)
    of_blocks: list[int] = []
    for width, block in zip(widths, unet.down_blocks, strict=True):
        of_blocks += [width] * (len(block.resnets) + (block.downsamplers is not None))
    return [widths[0], *of_blocks, widths[-1]]


def _zero(convolution: nn.Conv2d) -> nn.Conv2d:
    nn.init.zeros_(convolution.weight)
    if convolution.bias is not None:
        nn.init.zeros_(convolution.bias)
    return convolution


def _require_plain(unet: UNet2DModel) -> None:
    plain = {"DownBlock2D", "AttnDownBlock2D", "UpBlock2D", "AttnUpBlock2D"}
    blocks = {*unet.config.down_block_types, *unet.config.up_block_types}
    odd = unet.config.time_embedding_type != "positional" or unet.config.center_input_sample
    if not blocks <= plain or odd or unet.mid_block is None or unet.class_embedding is not None:
        raise ConfigError(
            f"controlnet: the denoiser has blocks {', '.join(sorted(blocks))} and a "
            f"{unet.config.time_embedding_type} time embedding; expected only {', '.join(sorted(plain))}, positional, "
            "with a middle block and without classes."
        )
