"""The rejection filter: a class head on the unconditional denoiser's middle activations of clean images."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..config.classes import FilterConfig
from ..data.class_set import ClassSet
from ..data.shots import ClassShots
from ..diffusion.denoiser import Denoiser, load_denoiser
from ..progress import Progress
from ..residence import settle, take
from ..runtime import Runtime, make_runtime
from ..seeds import generator
from ..storage.files import About
from ..storage.rows import Rows, flatten_rows, in_memory
from ..storage.tensors import open_tensors, pixel_digest, writing_rows
from ..storage.weights import load_module, save_module

BATCH_SIZE = 50

_READS = {"tap", "timesteps", "precision"}  # of the settings: what the features depend on


class RejectionHead(nn.Module):
    """p(class | activations): the released shape, convolutions and pooling on the concatenated maps.

    The maps are L2-normalised per pixel *inside* the head, so that training and use cannot differ.
    """

    def __init__(self, in_channels: int, classes: Sequence[str], settings: dict[str, Any]) -> None:
        """Build the head.

        Args:
            in_channels: Channels of the tap, times the number of timestep labels.
            classes: Names of the K classes.
            settings: ``tap``, ``timesteps``, ``hidden_channels``, ``dropout``, and the ``precision`` of its features.
        """
        super().__init__()
        self.in_channels = in_channels
        self.classes = list(classes)
        self.settings = dict(settings)
        width = int(settings["hidden_channels"])
        self.network = nn.Sequential(
            nn.Conv2d(in_channels, width, 1), nn.ReLU(), nn.GroupNorm(32, width),
            *_convolution(width), nn.MaxPool2d(2),
            *_convolution(width), *_convolution(width), nn.MaxPool2d(2),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(settings["dropout"]), nn.Linear(width, len(self.classes)),
        )  # fmt: skip

    @property
    def config(self) -> dict[str, Any]:
        """Arguments that build this head."""
        return {"in_channels": self.in_channels, "classes": self.classes, "settings": self.settings}

    def forward(self, maps: Tensor) -> Tensor:
        """Return class logits [B, K] of raw activations [B, C, h, w]."""
        logits: Tensor = self.network(F.normalize(maps.float(), dim=1))
        return logits

    def log_prob(self, maps: Tensor) -> Tensor:
        """Return log p(class | activations), nats, [B, K]."""
        log_prob: Tensor = self(maps).log_softmax(1)
        return log_prob


def _convolution(width: int) -> list[nn.Module]:
    return [nn.Conv2d(width, width, 3, padding=1), nn.ReLU(), nn.GroupNorm(32, width)]


@dataclass(frozen=True)
class ClassFeatures:
    """Cached activations of labelled images: computed once, whatever the number of epochs.

    Attributes:
        maps: float16 [2, N, C, h, w]: of the images, and of their mirror images; of many, in their file.
        labels: int64 [N].
        classes: Names of the classes.
    """

    maps: Rows
    labels: Tensor
    classes: list[str]


def extract_class_features(
    settings: FilterConfig, real: ClassShots, denoiser: Path, output: Path, device: str = "auto"
) -> None:
    """Cache the activations that the filter reads, of labelled images and of their mirror images.

    Args:
        settings: Section classes.filter, JSON.
        real: Real labelled images.
        denoiser: Weights folder of the unconditional denoiser.
        output: Cache to write, safetensors.
        device: auto, cpu, cuda or cuda:<n>.
    """
    runtime = make_runtime(device, settings.precision, cpu_threads=1, feature_batch=settings.feature_batch)
    unconditional, shots = load_denoiser(denoiser, runtime), real.read()
    about = {
        "denoiser": unconditional.digest,
        "images": pixel_digest(shots.images, shots.labels),
        **settings.model_dump(mode="json", include=_READS),
    }
    write_class_features(class_maps(unconditional, shots, settings), shots, output, about)


def class_maps(denoiser: Denoiser, real: ClassSet, settings: FilterConfig) -> Iterator[Tensor]:
    """Yield the activations that a head is trained on, batch by batch: of the images, then of their mirror images."""
    size = denoiser.runtime.feature_batch or BATCH_SIZE
    for mirrored in (False, True):
        bar = Progress(real.images.split(size), desc="mirror images" if mirrored else "images", unit="batch")
        for images in bar:
            yield filter_maps(denoiser, images.flip(-1) if mirrored else images, settings.tap, settings.timesteps)


def write_class_features(maps: Iterable[Tensor], real: ClassSet, path: Path, about: About) -> None:
    """Write activations as they come, of which few are in memory at a time.

    Args:
        maps: Parts of [2 N, C, h, w], float16: of the images, then of their mirror images.
        real: The N images.
        path: Cache to write, safetensors.
        about: What they were made with.
    """
    parts = iter(maps)
    first, n = next(parts), len(real)
    shapes = {"maps": (first.dtype, (2, n, *first.shape[1:])), "labels": (real.labels.dtype, (n,))}
    with writing_rows(path, shapes, {**about, "classes": real.classes}) as writer:
        writer.append("labels", real.labels)
        for part in chain([first], parts):
            writer.append("maps", part)


def filter_maps(denoiser: Denoiser, images: Tensor, tap: str, timesteps: Sequence[int]) -> Tensor:
    """Return the activations that the head reads, float16 [N, C, h, w]: the one function of training and of use.

    Args:
        denoiser: Unconditional denoiser.
        images: Clean images, uint8 [N, 3, H, W], 0..255; no noise is added.
        tap: Module; the pass ends there.
        timesteps: Labels that the clean image is shown with; the maps are concatenated over channels.
    """
    found = []
    for batch in images.split(denoiser.runtime.feature_batch or BATCH_SIZE):
        samples = denoiser.encode(batch)
        with torch.no_grad():
            maps = [denoiser.features(samples, timestep, [tap])[0] for timestep in timesteps]
        found.append(torch.cat(maps, dim=1).half().cpu())
    return torch.cat(found)


def load_class_features(path: Path, expected: About | None = None) -> tuple[ClassFeatures, dict[str, Any]]:
    """Read cached activations, and what the file says of itself."""
    tensors, about = open_tensors(path, "maps", "labels", expected=expected)
    return ClassFeatures(tensors["maps"], in_memory(tensors["labels"]), list(about["classes"])), about


def train_class_filter(settings: FilterConfig, features: Path, output: Path, device: str = "auto") -> None:
    """Train the filter's head on cached activations.

    Args:
        settings: Section classes.filter, JSON.
        features: Cached activations, safetensors.
        output: Weights folder to write.
        device: auto, cpu, cuda or cuda:<n>.

    Raises:
        CorruptFileError: If the activations are of another tap, timestep or precision.
    """
    runtime = make_runtime(device, settings.precision, cpu_threads=1)
    cached, about = load_class_features(features, settings.model_dump(mode="json", include=_READS))
    head = fit_filter(cached, settings, runtime)
    recipe = settings.model_dump(mode="json", exclude={"threshold", "max_attempts"})
    save_module(head, head.config, output, {**{key: about[key] for key in ("denoiser", "images")}, "recipe": recipe})


def fit_filter(features: ClassFeatures, settings: FilterConfig, runtime: Runtime) -> RejectionHead:
    """Train a head by cross-entropy on cached activations, Adam with weight decay; each image mirrored half the time.

    Args:
        features: Activations of the real labelled images.
        settings: Shape and recipe.
        runtime: Device.
    """
    torch.manual_seed(settings.seed)
    shape = settings.model_dump(include={"hidden_channels", "dropout", *_READS})
    device, number = runtime.device, len(features.labels)
    head = RejectionHead(features.maps.shape[2], features.classes, shape).to(device).train()
    # Images and their mirror images in one row: position N + i is the mirror image of i.
    maps, labels = (settle(part, device) for part in (flatten_rows(features.maps), features.labels))
    optimizer = torch.optim.Adam(head.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    batches = max(1, number // settings.batch_size)
    for epoch in Progress(range(settings.epochs), desc="training RejectionHead", unit="epoch"):
        stream = generator(f"rejection head {settings.seed}", epoch, device)
        mirrored = torch.randint(2, (number,), generator=stream, device=device)
        for index in torch.randperm(number, generator=stream, device=device).tensor_split(batches):
            seen = take(maps, mirrored[index] * number + index)
            loss = F.cross_entropy(head(seen), take(labels, index))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
    return head.requires_grad_(False).eval()


def load_filter(folder: Path, denoiser: Denoiser) -> tuple[RejectionHead, dict[str, Any]]:
    """Load a head, and what its weights say of themselves, for use with the unconditional denoiser, on its device.

    Raises:
        WeightsError: If the head was trained on another denoiser's activations.
    """
    head, about = load_module(lambda config: RejectionHead(**config), folder, expected={"denoiser": denoiser.digest})
    return head.to(denoiser.device), about


def score(denoiser: Denoiser, head: RejectionHead, images: Rows) -> Tensor:
    """Return log p(class | image), nats, float32 [N, K], of uint8 images [N, 3, H, W]."""
    # The features in the precision that the head was trained with, whatever the sampler's.
    reader, found = denoiser.in_precision(head.settings["precision"]), []
    for part in images.split(reader.runtime.feature_batch or BATCH_SIZE):
        maps = filter_maps(reader, part, head.settings["tap"], head.settings["timesteps"])
        with torch.inference_mode():
            found.append(head.log_prob(maps.to(denoiser.device)).cpu())
    return torch.cat(found)
