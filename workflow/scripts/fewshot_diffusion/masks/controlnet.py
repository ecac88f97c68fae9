"""ControlNet for pixel U-Nets: a trainable copy of the encoder that adds to the frozen denoiser's skips.

It copies and enters the network itself, where all else goes through ``Denoiser``: denoisers of latents have one of
their own (``latent_controlnet``), which is trained and used by the same functions.

Source: Zhang et al. 2023, "Adding Conditional Control to Text-to-Image Diffusion Models".
"""

from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import torch
from diffusers import UNet2DModel
from torch import Tensor, nn
from torch.nn import functional as F

from ..config.denoiser import DenoiserTrainingConfig
from ..diffusion.denoiser import Denoiser, PixelDenoiser, load_denoiser
from ..diffusion.guidance import Predictor
from ..diffusion.training import DenoiserTraining, EncodedTraining, run_training, training_identity
from ..diffusion.unets import unet_of_config
from ..errors import ConfigError
from ..residence import settle, take
from ..runtime import make_runtime
from ..storage.checkpoints import CheckpointFolder
from ..storage.rows import in_memory
from ..storage.weights import load_module, save_module
from .pairs import GuideFiles, Pairs

if TYPE_CHECKING:
    from .latent_controlnet import LatentControlNet

AnyControlNet: TypeAlias = "ControlNet | LatentControlNet"

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

    @classmethod
    def beside(cls, denoiser: Denoiser, classes: Sequence[str]) -> Self:
        """Return a ControlNet of the denoiser's shape; raise ``ConfigError`` if its encoder cannot be copied."""
        return cls(dict(_network(denoiser).config), classes)

    def copy_encoder(self, denoiser: Denoiser) -> None:
        """Start from the denoiser's own encoder."""
        unet = _network(denoiser)
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


def controlnet_beside(denoiser: Denoiser, classes: Sequence[str]) -> AnyControlNet:
    """Return an untrained ControlNet of the denoiser's kind and shape; raise ``ConfigError`` if there is none."""
    if isinstance(denoiser, PixelDenoiser):
        return ControlNet.beside(denoiser, classes)
    from .latent_controlnet import LatentControlNet  # pixels need none of it

    return LatentControlNet.beside(denoiser, classes)


def controlled(
    denoiser: Denoiser,
    controlnet: AnyControlNet,
    x_t: Tensor,
    timesteps: Tensor,
    masks: Tensor,
    prompt_alone: bool = False,
) -> Tensor:
    """Return the denoiser's raw output with the ControlNet's residuals added to its skips, [B, C, H, W].

    With ``prompt_alone`` a denoiser of latents leaves classifier-free guidance out, as trainings do.
    """
    if not isinstance(controlnet, ControlNet):
        return controlnet.controlled(denoiser, x_t, timesteps, masks, prompt_alone)
    unet, residuals = _network(denoiser), controlnet(x_t, timesteps, masks)
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
) -> AnyControlNet:
    """Train a ControlNet on image-mask pairs by the denoiser's own loss; the denoiser stays frozen. Resumable.

    Args:
        denoiser: Frozen denoiser.
        pairs: What it learns from; every pair is also seen mirrored, with its mask.
        settings: Recipe; ``num_images`` counts images seen.
        checkpoints: State of this training.

    Raises:
        ConfigError: If the denoiser's network is of a kind whose encoder cannot be copied.
    """
    torch.manual_seed(settings.seed)
    controlnet = controlnet_beside(denoiser, pairs.classes)
    controlnet.copy_encoder(denoiser)
    seen = pairs.mirrored()
    masks = settle(seen.masks, denoiser.device)

    def predict(x_t: Tensor, timesteps: Tensor, index: Tensor) -> Tensor:
        return controlled(denoiser, controlnet, x_t, timesteps, take(masks, index), prompt_alone=True)

    of_pixels = isinstance(denoiser, PixelDenoiser)
    kind = DenoiserTraining if of_pixels else EncodedTraining
    examples = seen.images if of_pixels else denoiser.encode(in_memory(seen.images)).cpu()
    run_training(kind(controlnet, predict, settings, denoiser.schedule, denoiser.runtime), examples, checkpoints)
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
    controlnet = fit_controlnet(denoiser, pairs, settings, state)
    save_module(controlnet, controlnet.config, output, about)


def load_controlnet(folder: Path, denoiser_digest: str, classes: Sequence[str], shots: int) -> AnyControlNet:
    """Load a ControlNet for use with the denoiser of this digest.

    Raises:
        WeightsError: If it was trained beside another denoiser, on other classes, or on another number of pairs.
    """
    expected = {"denoiser": denoiser_digest, "classes": list(classes), "shots": shots}
    return load_module(_of_config, folder, expected=expected)[0]


def _of_config(config: dict[str, Any]) -> AnyControlNet:
    if "controlnet" not in config:
        return ControlNet(**config)
    from .latent_controlnet import LatentControlNet

    return LatentControlNet(**config)


def controlled_predictor(denoiser: Denoiser, controlnet: AnyControlNet, masks: Tensor) -> Predictor:
    """Return the predictor of a batch that is to show these masks, uint8 [B, H, W]; it needs no gradient."""

    def predict(x_t: Tensor, timestep: int, alpha_bar_t: Tensor) -> Tensor:
        timesteps = torch.full((len(x_t),), timestep, device=x_t.device)
        with torch.no_grad(), denoiser.runtime.autocast():
            output = controlled(denoiser, controlnet, x_t, timesteps, masks)
        return output.to(x_t.dtype)

    return predict


def _network(denoiser: Denoiser) -> UNet2DModel:
    if not isinstance(denoiser, PixelDenoiser):
        raise ConfigError(f"controlnet: found a {type(denoiser).__name__}, expected a denoiser of pixels.")
    return denoiser.unet


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
