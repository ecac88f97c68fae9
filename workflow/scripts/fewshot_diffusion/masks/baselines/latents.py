"""Latents of the few image-mask pairs, computed once: whatever the length of the decoder's training."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ...baselines.sampling import BaselineWeights
from ...baselines.training import over_images
from ...config.masks import LatentDecoderConfig
from ...runtime import make_runtime
from ...storage.files import About
from ...storage.rows import in_memory
from ...storage.tensors import read_tensors, write_tensors
from ...storage.weights import weights_digest
from ..pairs import PairFiles
from .prior import LatentPrior


@dataclass(frozen=True)
class DecoderKey:
    """Which decoder: it serves every lambda and preset.

    Attributes:
        baseline: Name of the baseline whose latents it reads.
        shots: Image-mask pairs that it learned from.
    """

    baseline: str
    shots: int

    @property
    def key(self) -> dict[str, Any]:
        """What the decoder's files say of themselves."""
        return {"baseline": self.baseline, "shots": self.shots}


@dataclass(frozen=True)
class PairLatents:
    """Latents of the few pairs.

    Attributes:
        values: Normalised posterior means, float32 [R, D]; behind those of the pairs, those of their mirror images.
        masks: Class ids of each row, uint8 [R, H, W].
        shape: Of one latent: [D], or [C, h, w].
        classes: Names of the class ids.
    """

    values: Tensor
    masks: Tensor
    shape: tuple[int, ...]
    classes: list[str]


@dataclass(frozen=True, kw_only=True)
class LatentPairFiles(PairFiles):
    """Where a decoder of latents learns from.

    Attributes:
        weights: Weights folder of the baseline.
    """

    weights: Path


def extract_mask_latents(
    settings: LatentDecoderConfig, which: DecoderKey, files: LatentPairFiles, output: Path, device: str = "auto"
) -> None:
    """Cache a generative baseline's latents of the few image-mask pairs.

    Args:
        settings: Section masks.latent_decoder, JSON.
        which: Baseline and number of pairs.
        files: Weights and pairs.
        output: Cache to write, safetensors.
        device: auto, cpu, cuda or cuda:<n>.

    Raises:
        WeightsError: If the weights are of another baseline.
    """
    runtime = make_runtime(device, settings.precision, cpu_threads=1, feature_batch=settings.feature_batch)
    model, pairs = BaselineWeights(which.baseline, files.weights).load(runtime), files.load()
    seen = pairs.mirrored() if settings.flip else pairs
    values = over_images(model.encode, seen.images, runtime)
    shape = LatentPrior(which.baseline, model, runtime).shape
    about = {**which.key, "weights": weights_digest(files.weights), "images": pairs.digest}
    found = PairLatents(values, in_memory(seen.masks), shape, pairs.classes)
    save_pair_latents(found, output, {**about, "precision": str(runtime.dtype)})


def save_pair_latents(latents: PairLatents, path: Path, about: About) -> None:
    """Write cached latents; their shape and the classes stand in the header."""
    tensors = {"latents": latents.values, "masks": latents.masks}
    write_tensors(path, tensors, {**about, "shape": list(latents.shape), "classes": latents.classes})


def load_pair_latents(path: Path, expected: About) -> tuple[PairLatents, str]:
    """Read cached latents, and the digest of the weights that they are of.

    Raises:
        CorruptFileError: If the file is damaged, or of another baseline or number of pairs than expected.
    """
    tensors, about = read_tensors(path, "latents", "masks", expected=expected)
    found = PairLatents(tensors["latents"], tensors["masks"], tuple(about["shape"]), list(about["classes"]))
    return found, str(about["weights"])
