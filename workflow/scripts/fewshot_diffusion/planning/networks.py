"""FLOPs of what a run does with its networks, for one image, counted on torch's meta device: no weights, no data.

A multiplication and an addition are two FLOPs, as vendors count them. What is counted is the code that runs: the same
guidance, heads and classifiers.
"""

from collections.abc import Callable, Sequence
from functools import cache, cached_property
from typing import Any

import torch
import torchvision
from efficientnet_lite_pytorch import EfficientNet
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models import mobilenet_v2

from ..attributes.clean_image import GuidingClassifier, image_guidance
from ..config.masks import MaskTapsConfig
from ..diffusion.denoiser import Denoiser
from ..diffusion.features import FeatureTap
from ..diffusion.guidance import READS_ESTIMATE, READS_IMAGE, Guidance, ReadoutGuidance, guided
from ..masks.controlnet import controlled, controlnet_beside
from ..masks.heads import MaskHead, mask_log_likelihood
from ..masks.segmenter import Segmenter
from ..metrics.extractors import (
    IMAGENET_SIZE,
    INCEPTION_SIZE,
    EfficientNetLite0Extractor,
    InceptionExtractor,
    build_fid_network,
)
from ..metrics.semantic import SemanticExtractor

BACKWARD = 3.0
"""A training pass in forward passes where it is not counted: gradients of activations and of weights cost one each."""


def counted(run: Callable[[], object]) -> float:
    """Return the FLOPs of a call."""
    with FlopCounterMode(display=False) as counter:
        run()
    return float(counter.get_total_flops())


def built(make: Callable[[], nn.Module]) -> Any:
    """Return a frozen network without weights."""
    with torch.device("meta"):
        return make().requires_grad_(False).eval()


class DenoiserCosts:
    """FLOPs of a denoiser, for one image, in everything that a run does with it."""

    def __init__(self, denoiser: Denoiser) -> None:
        """Take a frozen denoiser whose parameters are on the meta device; it runs in float32."""
        self.denoiser = denoiser

    @property
    def image_size(self) -> int:
        """Height and width of its images, pixels."""
        return self.denoiser.image_size

    @property
    def parameters(self) -> int:
        """How many numbers the denoiser has learnt."""
        return sum(parameter.numel() for parameter in self.denoiser.parameters())

    @property
    def last_timestep(self) -> int:
        """The noisiest one."""
        return self.denoiser.schedule.num_train_timesteps - 1

    @cached_property
    def forward(self) -> float:
        """One pass."""
        return counted(lambda: self.denoiser.predict(self._image(), self._timesteps()))

    @cached_property
    def training(self) -> float:
        """One pass and the gradient of all parameters."""
        learnt = list(self.denoiser.parameters())
        for parameter in learnt:
            parameter.requires_grad_(True)
        found = counted(lambda: self.denoiser.predict(self._image(), self._timesteps()).sum().backward())
        for parameter in learnt:
            parameter.requires_grad_(False)
        return found

    @cache  # noqa: B019  one plan has one or three of them
    def to_taps(self, taps: tuple[str, ...]) -> float:
        """A pass that ends at the deepest of some modules."""
        return counted(lambda: self.denoiser.features(self._image(), 0, taps))

    @cache  # noqa: B019
    def described(self, taps: tuple[str, ...]) -> list[FeatureTap]:
        """Return what the modules put out."""
        return self.denoiser.describe_taps(taps)

    @cache  # noqa: B019
    def step_to_attribute(self, mode: str, taps: tuple[str, ...]) -> float:
        """A step that an attribute's head, whose own products are too few to count, or DDIM-I's classifier guides."""
        if mode in READS_IMAGE:
            classifier = built(lambda: GuidingClassifier(["any"]))
            return self._step(image_guidance(mode, self.denoiser, classifier, True))

        def likelihood(maps: Sequence[Tensor], _timestep: int) -> Tensor:
            return torch.stack([found.float().mean((1, 2, 3)) for found in maps]).sum(0)

        if mode in READS_ESTIMATE:
            return self._step(READS_ESTIMATE[mode](self.denoiser, likelihood, taps, 0))
        return self._step(ReadoutGuidance(self.denoiser, likelihood, taps))

    def step_to_mask(self, method: str, preset: MaskTapsConfig, guide: MaskHead | Segmenter) -> float:
        """A step that a mask head, or a segmenter of clean images, guides."""
        masks = torch.zeros(1, self.image_size, self.image_size, dtype=torch.uint8, device="meta")

        def likelihood(maps: Sequence[Tensor], timestep: int) -> Tensor:
            logits = guide(maps, timestep) if isinstance(guide, MaskHead) else guide.logits(maps[0])
            return mask_log_likelihood(logits, masks)

        if method in READS_IMAGE:
            return self._step(READS_IMAGE[method](self.denoiser, likelihood))
        if method in READS_ESTIMATE:
            guidance = READS_ESTIMATE[method](self.denoiser, likelihood, preset.taps, preset.feature_timestep)
            return self._step(guidance)
        return self._step(ReadoutGuidance(self.denoiser, likelihood, preset.taps))

    def controlled(self, classes: Sequence[str], training: bool) -> float:
        """A pass with a ControlNet beside it; in training, with the gradient of its parameters."""
        controlnet = built(lambda: controlnet_beside(self.denoiser, classes)).requires_grad_(training)
        masks = torch.zeros(1, self.image_size, self.image_size, dtype=torch.uint8, device="meta")

        def run() -> None:
            output = controlled(self.denoiser, controlnet, self._image(), self._timesteps(), masks)
            if training:
                output.sum().backward()

        return counted(run)

    def mask_head(
        self, preset: MaskTapsConfig, classes: Sequence[str], hidden_channels: int | Sequence[int]
    ) -> MaskHead:
        """Return a mask head without weights."""
        taps, size = self.described(tuple(preset.taps)), self.image_size
        if preset.compared_at == "taps":
            size //= min(tap.reduction for tap in taps)
        return built(lambda: MaskHead(taps, classes, [0], size, preset.upsampling, hidden_channels))  # type: ignore[no-any-return]

    def head_training(self, head: MaskHead) -> float:
        """An update of a mask head on one image's activations."""
        sides = [(tap.num_chs, self.image_size // tap.reduction) for tap in head.taps]
        maps = [torch.empty(1, channels, side, side, device="meta") for channels, side in sides]
        return BACKWARD * counted(lambda: head(maps, 0))

    def _step(self, guidance: Guidance) -> float:
        predict = guided(guidance, 1.0, self.denoiser.schedule.prediction_type)
        alpha_bar_t = torch.empty((), device="meta")
        return counted(lambda: predict(self._image(), 0, alpha_bar_t))

    def _image(self) -> Tensor:
        return torch.empty(1, *self.denoiser.sample_shape, device="meta")

    def _timesteps(self) -> Tensor:
        return torch.zeros(1, dtype=torch.int64, device="meta")


def segmenter(classes: Sequence[str], block_out_channels: Sequence[int], image_size: int) -> Segmenter:
    """Return a segmenter without weights."""
    return built(lambda: Segmenter(classes, block_out_channels, image_size))  # type: ignore[no-any-return]


def on_image(model: nn.Module, image_size: int) -> float:
    """Return the FLOPs of a network that reads an image."""
    return counted(lambda: model(torch.empty(1, 3, image_size, image_size, device="meta")))


@cache
def classifier_forward(architecture: str, classes: int, image_size: int) -> float:
    """Return the FLOPs of one of torchvision's classifiers."""
    return on_image(built(lambda: torchvision.models.get_model(architecture, num_classes=classes)), image_size)


def on_maps(model: nn.Module, channels: int, side: int) -> float:
    """Return the FLOPs of a network that reads activations."""
    return counted(lambda: model(torch.empty(1, channels, side, side, device="meta")))


def extractor_dim(kind: str) -> int:
    """Return how many features an extractor puts out."""
    if kind == "semantic":
        return SemanticExtractor.dim
    return InceptionExtractor.dim if kind == "inception" else EfficientNetLite0Extractor.dim


@cache
def extractor_forward(kind: str) -> float:
    """Return the FLOPs of a feature extractor that resizes its images: of all but ``semantic``."""
    if kind == "inception":
        return on_image(built(build_fid_network), INCEPTION_SIZE)
    if kind == "mobilenet_v2":
        return on_image(built(mobilenet_v2), IMAGENET_SIZE)
    network = built(lambda: EfficientNet.from_name("efficientnet-lite0"))
    return counted(lambda: network.extract_features(torch.empty(1, 3, *[IMAGENET_SIZE] * 2, device="meta")))
