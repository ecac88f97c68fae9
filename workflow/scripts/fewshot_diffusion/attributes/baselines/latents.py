"""Few labels in the latent of a generative baseline: a linear classifier, and which latents of the prior it keeps.

Source: Sinha et al. 2021 (D2C), conditional generation by rejection on latents.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ...baselines.sampling import BaselineWeights, load_latents
from ...baselines.training import over_images
from ...config.attributes import AttributeHeadConfig
from ...runtime import make_runtime
from ...storage.files import About
from ...storage.weights import load_module, save_module, weights_digest
from ..features import ShotFeatures, load_shot_features, save_shot_features
from ..heads import train_head
from ..shots import ShotFiles
from .decisions import accept, save_decisions

CLEAN = 0
"""The one noise level that features of latents have: latents are of clean images."""


class LatentClassifier(nn.Module):
    """A linear classifier of normalised latents: logit = w z + b."""

    def __init__(self, num_inputs: int, attribute: str) -> None:
        super().__init__()
        self.attribute = attribute
        self.weight = nn.Parameter(torch.zeros(num_inputs))
        self.bias = nn.Parameter(torch.zeros(()))

    @property
    def config(self) -> dict[str, Any]:
        """Arguments that build this classifier."""
        return {"num_inputs": len(self.weight), "attribute": self.attribute}

    def probability(self, latents: Tensor, value: bool) -> Tensor:
        """Return p(attribute = value | z) of latents [B, D], [B]."""
        logit = latents @ self.weight + self.bias
        return torch.sigmoid(logit if value else -logit)


@dataclass(frozen=True)
class Wanted:
    """What samples of a baseline stand for.

    Attributes:
        baseline: Name of the baseline.
        attribute: Wanted attribute; empty for samples as they come, as is what follows.
        value: Wanted value: True or False.
    """

    baseline: str
    attribute: str = ""
    value: bool = True

    @property
    def about(self) -> dict[str, Any]:
        """What a file of such samples says of itself."""
        wanted = {"attribute": self.attribute, "value": self.value} if self.attribute else {}
        return {"method": self.baseline, **wanted}


def extract_baseline_latents(
    settings: AttributeHeadConfig, model: BaselineWeights, files: ShotFiles, output: Path, device: str = "auto"
) -> None:
    """Cache what the classifier of one attribute reads: latents of its shots.

    Args:
        settings: Section attributes.head, JSON.
        model: The baseline.
        files: The labelled shots.
        output: Cache to write, safetensors.
        device: auto, cpu, cuda or cuda:<n>.
    """
    runtime = make_runtime(device, settings.precision, cpu_threads=1, feature_batch=settings.feature_batch)
    images, labels = files.load()
    pixels = torch.cat([images.pixels, images.pixels.flip(-1)]) if settings.flip else images.pixels
    repeats = len(pixels) // len(images)
    latents = over_images(model.load(runtime).encode, pixels, runtime)
    found = ShotFeatures(latents[None], labels.repeat(repeats), images.ids.repeat(repeats), torch.tensor([CLEAN]))
    about = {"baseline": model.baseline, "attribute": files.attribute, "weights": weights_digest(model.weights)}
    save_shot_features(found, output, about)


def train_baseline_classifier(
    settings: AttributeHeadConfig, baseline: str, attribute: str, features: Path, output: Path
) -> None:
    """Fit the linear classifier of one attribute on cached latents, as heads are fitted on activations.

    Latents are penalised in their own units: numbers that carry nothing hardly vary among encoded images, and the
    moments of the shots would blow them up in latents of a prior, where they vary as all others do.

    Args:
        settings: Section attributes.head, JSON.
        baseline: Name of the baseline.
        attribute: Name of the attribute.
        features: Cached latents of the shots, safetensors.
        output: Weights folder to write.

    Raises:
        CorruptFileError: If the latents are of another baseline or attribute.
        DataError: If the shots hold one class only or non-finite latents.
    """
    shots, about = load_shot_features(features, {"baseline": baseline, "attribute": attribute})
    head, report = train_head(shots, settings, attribute, standardise=False)
    classifier = LatentClassifier(shots.inputs.shape[-1], attribute)
    classifier.weight.data.copy_(head.weight[0])
    classifier.bias.data.copy_(head.bias[0])
    save_module(classifier, classifier.config, output, {**about, "cross_validation": report})


def load_classifier(folder: Path, expected: About) -> LatentClassifier:
    """Load a classifier, frozen; raise ``WeightsError`` if it is of another baseline or attribute than expected."""
    return load_module(lambda config: LatentClassifier(**config), folder, expected)[0]


def reject_latents(classifier: Path, wanted: Wanted, latents: Path, output: Path) -> None:
    """Decide which latents of the prior a linear classifier keeps for one class.

    Args:
        classifier: Weights folder.
        wanted: The class.
        latents: Candidates, safetensors.
        output: Decisions to write, parquet: seed, log_prob (nats), accepted.

    Raises:
        WeightsError: If the classifier is of another baseline or attribute.
        CorruptFileError: If the latents are damaged, or of another baseline.
    """
    model = load_classifier(classifier, {"baseline": wanted.baseline, "attribute": wanted.attribute})
    drawn = load_latents(latents, {"baseline": wanted.baseline})
    probability = model.probability(drawn.values, wanted.value)
    save_decisions(probability, drawn.seeds, accept(probability, drawn.seeds), output, wanted.about)
