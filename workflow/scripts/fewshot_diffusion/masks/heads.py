"""Few-shot mask head: p(class of each pixel | activations) from a handful of image-mask pairs."""

from collections.abc import Sequence
from itertools import chain, pairwise
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..config.masks import MaskHeadConfig
from ..data.mask_set import masks_at
from ..diffusion.features import FeatureTap, levels_around
from ..progress import Progress
from ..residence import settle, take, to_device
from ..runtime import CPU, Runtime, make_runtime
from ..seeds import generator
from ..storage.weights import load_module, save_module
from .features import MaskFeatures, load_mask_features
from .row import GuideKey

Upsampling = Literal["nearest", "bilinear"]


class MaskHead(nn.Module):
    """1x1 convolutions on upsampled, concatenated activations: in - hidden - hidden - hidden - classes, ReLU.

    ``hidden_channels`` is the width of these three layers, or the widths of as many as it names.

    The first convolution runs on each activation before it is upsampled and the results are summed, which
    equals convolving the concatenation: a 1x1 convolution and an interpolation commute. A readout head knows
    the noise level by a bias of the first layer per level, interpolated linearly in t.

    Source: Graikos et al. 2023, released configuration (widths, three hidden layers, nearest upsampling).
    """

    def __init__(
        self,
        taps: Sequence[FeatureTap | dict[str, Any]],
        classes: Sequence[str],
        timesteps: Sequence[int],
        image_size: int,
        upsampling: Upsampling = "nearest",
        hidden_channels: int | Sequence[int] = 64,
    ) -> None:
        super().__init__()
        self.taps = [tap if isinstance(tap, FeatureTap) else FeatureTap(**tap) for tap in taps]
        self.classes = list(classes)
        self.timesteps = list(timesteps)
        self.image_size = image_size
        self.upsampling = upsampling
        self.hidden_channels = hidden_channels if isinstance(hidden_channels, int) else list(hidden_channels)
        widths = [hidden_channels] * 3 if isinstance(hidden_channels, int) else list(hidden_channels)
        self.first = nn.ModuleList(nn.Conv2d(tap.num_chs, widths[0], 1, bias=False) for tap in self.taps)
        self.level_bias = nn.Parameter(torch.zeros(len(timesteps), widths[0]))
        layers = [(nn.ReLU(), nn.Conv2d(*sides, 1)) for sides in pairwise([*widths, len(classes)])]
        self.rest = nn.Sequential(*chain(*layers))
        # Scales of the activations, set from the shots: what is learned does not depend on a tap's units.
        self.scales = nn.Parameter(torch.ones(len(self.taps)), requires_grad=False)

    @property
    def config(self) -> dict[str, Any]:
        """Arguments that build this head."""
        return {
            "taps": [vars(tap) for tap in self.taps],
            "classes": self.classes,
            "timesteps": self.timesteps,
            "image_size": self.image_size,
            "upsampling": self.upsampling,
            "hidden_channels": self.hidden_channels,
        }

    @property
    def modules_tapped(self) -> list[str]:
        """Names of the tapped modules, in order."""
        return [tap.module for tap in self.taps]

    def forward(self, maps: Sequence[Tensor], timestep: int) -> Tensor:
        """Return class logits.

        Args:
            maps: Activations at ``self.taps``, each [B, num_chs, h, w].
            timestep: Timestep label that the activations were computed with.

        Returns:
            float32 [B, K, H, W].
        """
        lower, upper, share = levels_around(self.timesteps, timestep)
        hidden = torch.lerp(self.level_bias[lower], self.level_bias[upper], share).view(1, -1, 1, 1)
        for activation, convolution, scale in zip(maps, self.first, self.scales, strict=True):
            hidden = hidden + self._upsample(convolution(activation.float() / scale))
        logits: Tensor = self.rest(hidden)
        return logits

    def _upsample(self, maps: Tensor) -> Tensor:
        size = (self.image_size, self.image_size)
        if self.upsampling == "nearest":
            return F.interpolate(maps, size=size, mode="nearest")
        return F.interpolate(maps, size=size, mode="bilinear", align_corners=False)


def mask_log_likelihood(logits: Tensor, masks: Tensor) -> Tensor:
    """Return the mean over pixels of log p(mask | logits) of each sample, nats, [B].

    Args:
        logits: [B, K, h, w].
        masks: Wanted class ids, uint8 or int64 [B, H, W]; they are brought to the size of the logits.
    """
    wanted = masks_at(masks, logits.shape[-1])
    return -F.cross_entropy(logits, wanted.long(), reduction="none").mean((1, 2))


def fit_mask_head(
    features: MaskFeatures, upsampling: Upsampling, settings: MaskHeadConfig, runtime: Runtime = CPU
) -> tuple[MaskHead, dict[str, float]]:
    """Train a head by mean pixel cross-entropy, Adam with a cosine decay, on cached activations.

    Args:
        features: Cached activations of the pairs.
        upsampling: How activations are brought to the image's size.
        settings: Width and recipe.
        runtime: Device.

    Returns:
        The head, on the CPU, and its last training loss (nats) and pixel accuracy (0..1).
    """
    torch.manual_seed(settings.seed)
    size = features.masks.shape[-1]
    head = MaskHead(features.taps, features.classes, features.timesteps, size, upsampling, settings.hidden_channels)
    for i, part in enumerate(features.maps):
        head.scales.data[i] = part.float().std().clamp_min(1e-6)
    head.to(runtime.device)
    maps, masks = [settle(part, runtime.device) for part in features.maps], settle(features.masks, runtime.device)
    levels, rows = _draws(len(features.timesteps), len(features.masks), settings)
    rows = to_device(rows, runtime.device)
    learned = [parameter for parameter in head.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(learned, lr=settings.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.updates)
    for update in Progress(range(settings.updates), desc="training head", unit="update"):
        level, wanted = levels[update], take(masks, rows[update]).long()
        logits = head([take(part[level], rows[update]) for part in maps], features.timesteps[level])
        loss = F.cross_entropy(logits, wanted)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
    report = {"loss": float(loss.detach()), "pixel_accuracy": float((logits.argmax(1) == wanted).float().mean())}
    return head.requires_grad_(False).eval().cpu(), report


def train_mask_head(
    settings: MaskHeadConfig, upsampling: Upsampling, row: GuideKey, features: Path, output: Path, device: str = "auto"
) -> None:
    """Train the mask head on the cached activations of the few pairs.

    Args:
        settings: Section masks.head, JSON.
        upsampling: Of the activations.
        row: Method, preset and number of pairs.
        features: Cached activations, safetensors.
        output: Weights folder to write.
        device: auto, cpu, cuda or cuda:<n>.
    """
    runtime = make_runtime(device, "float32", cpu_threads=1)
    cached, denoiser = load_mask_features(features, row.key)
    head, report = fit_mask_head(cached, upsampling, settings, runtime)
    recipe = settings.model_dump(mode="json")
    about = {**row.key, "denoiser": denoiser, "classes": head.classes, "recipe": recipe, "report": report}
    save_module(head, head.config, output, about)


def load_mask_head(folder: Path, row: GuideKey, denoiser_digest: str, classes: Sequence[str]) -> MaskHead:
    """Load a head for use with the denoiser of this digest.

    Raises:
        WeightsError: If it was trained on another denoiser's activations, on other classes, or for another row.
    """
    expected = {**row.key, "denoiser": denoiser_digest, "classes": list(classes)}
    return load_module(lambda config: MaskHead(**config), folder, expected=expected)[0]


def _draws(number_of_levels: int, number_of_rows: int, settings: MaskHeadConfig) -> tuple[list[int], Tensor]:
    """Return the noise level of every update, and its rows, int64 [U, B]: all before the first, on the host."""
    levels, rows = [], []
    for update in range(settings.updates):
        stream = generator(f"segmentation head {settings.seed}", update)
        levels.append(int(torch.randint(number_of_levels, (), generator=stream)))
        drawn = torch.randint(number_of_rows, (settings.batch_size,), generator=stream)
        if settings.brightness:  # every second row is the one before it, brighter or darker
            changed = torch.rand(settings.batch_size, generator=stream) < settings.brightness
            drawn = drawn - drawn % 2 + changed.long()
        rows.append(drawn)
    return levels, torch.stack(rows)
