"""A network that names every option of the avatars: its features see what is drawn, and little of its grain."""

from pathlib import Path

import torch
from torch import Tensor, nn

from ..images import to_signed
from ..judges import AttributeClassifier
from ..runtime import Runtime
from ..storage.weights import load_module

BATCH_SIZE = 64
FEATURES = 256
"""Features per image: channels of the trunk's last stage."""


class SemanticNetwork(nn.Module):
    """The trunk of the judges, pooled to 256 features, and a linear head for each option, in alphabetical order."""

    def __init__(self, options: dict[str, list[str]]) -> None:
        """Build the network.

        Args:
            options: Option -> the values that it may have.
        """
        super().__init__()
        self.options = dict(sorted(options.items()))  # as JSON files have them
        self.sizes = [len(values) for values in self.options.values()]
        self.trunk = AttributeClassifier(list(options)).network
        self.trunk.fc = nn.Identity()
        self.heads = nn.Linear(FEATURES, sum(self.sizes))  # side by side

    @property
    def config(self) -> dict[str, dict[str, list[str]]]:
        """Arguments that build this network."""
        return {"options": self.options}

    def features(self, images: Tensor) -> Tensor:
        """Return features, [B, 256], of uint8 images [B, 3, H, W], 0..255."""
        return self.trunk(to_signed(images))  # type: ignore[no-any-return]

    def forward(self, images: Tensor) -> Tensor:
        """Return the heads' logits side by side, [B, K1 + K2 + ...], of uint8 images [B, 3, H, W], 0..255."""
        return self.heads(self.features(images))  # type: ignore[no-any-return]

    def named(self, images: Tensor) -> Tensor:
        """Return the position of the likeliest value of each option, int64 [B, O]."""
        return torch.stack([part.argmax(1) for part in self(images).split(self.sizes, dim=1)], dim=1)


def load_semantic_network(folder: Path) -> SemanticNetwork:
    """Load a network that ``train_semantic_network`` wrote.

    Raises:
        WeightsError: If the weights are missing, or of another network.
    """
    return load_module(lambda config: SemanticNetwork(**config), folder, expected={"role": "semantic"})[0]


class SemanticExtractor:
    """Pooled activations before the heads of a network that was trained on images of the same size."""

    name = "semantic"
    dim = FEATURES

    def __init__(self, weights: Path, runtime: Runtime) -> None:
        """Load the weights folder.

        Raises:
            WeightsError: If it is missing, or of another network.
        """
        self._network = load_semantic_network(weights).to(runtime.device)
        self._runtime = runtime
        self.batch_size = runtime.feature_batch or BATCH_SIZE

    def __call__(self, images: Tensor) -> Tensor:
        """Return features, float32 [B, 256], of RGB images, uint8 [B, 3, H, W], 0..255."""
        with torch.inference_mode(), self._runtime.autocast():
            return self._network.features(images.to(self._runtime.device)).float()
