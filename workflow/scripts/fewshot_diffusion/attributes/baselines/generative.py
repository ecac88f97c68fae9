"""Generative baselines with few labels: a linear classifier of latents keeps candidates, and only those are decoded.

Source: Sinha et al. 2021 (D2C), conditional generation by rejection on latents.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ...baselines.models import load_baseline
from ...baselines.sampling import (
    BaselineFiles,
    Latents,
    decode_forwards,
    decode_units,
    load_latents,
)
from ...baselines.training import over_images
from ...config.attributes import AttributeHeadConfig
from ...config.evaluation import EvaluationConfig
from ...config.sampling import SamplingConfig
from ...data.image_set import BATCH
from ...diffusion.samples import SampleSet, load_samples, save_samples, seconds_per_sample, write_timing
from ...diffusion.sampling import WorkUnit, share_units
from ...judges import load_judge
from ...metrics.descriptions import Cost, Description, describe, describe_into
from ...metrics.extractors import make_extractor
from ...runtime import make_runtime
from ...storage.checkpoints import CheckpointFolder
from ...storage.files import About, fingerprint
from ...storage.records import count_records, read_records
from ...storage.tensors import tensor_digest
from ...storage.weights import load_module, save_module, weights_digest
from ..features import ShotFeatures, load_shot_features, save_shot_features
from ..heads import train_head
from ..shots import ShotFiles
from .decisions import accept, accepted_seeds, save_decisions

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
class Candidates:
    """Latents that samples are chosen from.

    Attributes:
        latents: Latents of the prior, safetensors; what their drawing took lies beside them.
        decisions: Which of them are of the class, parquet; without it, all stand for themselves.
        number: How many of those are decoded, the first ones.
    """

    latents: Path
    number: int
    decisions: Path | None = None

    def chosen(self, baseline: str, about: About) -> tuple[Latents, float]:
        """Return the latents that are decoded, and the share of the candidates that is accepted.

        Raises:
            CorruptFileError: If a file is damaged, or of another baseline or class.
        """
        drawn, rate = load_latents(self.latents, {"baseline": baseline}), 1.0
        kept = drawn.seeds
        if self.decisions:
            kept, rate = accepted_seeds(self.decisions, about)
        index = torch.isin(drawn.seeds, kept[: self.number])
        return Latents(drawn.values[index], drawn.seeds[index], drawn.forwards_per_sample), rate


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


@dataclass(frozen=True)
class Portion:
    """One job's share of the images of a sample set.

    Attributes:
        shard: Which share of its work units, e.g. 2-of-4.
        checkpoints: Folder of finished work units.
        output: Shard to write, parquet; its seconds go beside it, ``.timing.json``.
    """

    shard: str
    checkpoints: Path
    output: Path

    def plan(self, number: int, unit_size: int) -> list[WorkUnit]:
        """Return the work units of this share of so many images: their seeds are positions."""
        starts = range(0, number, unit_size)
        units = [WorkUnit(i, range(start, min(start + unit_size, number))) for i, start in enumerate(starts)]
        shard, shards = map(int, self.shard.split("-of-"))
        return share_units(units, shard - 1, shards)


def extract_baseline_latents(
    settings: AttributeHeadConfig, baseline: str, weights: Path, files: ShotFiles, output: Path, device: str = "auto"
) -> None:
    """Cache what the classifier of one attribute reads: latents of its shots.

    Args:
        settings: Section attributes.head, JSON.
        baseline: Name of the baseline.
        weights: Its weights folder.
        files: The labelled shots.
        output: Cache to write, safetensors.
        device: auto, cpu, cuda or cuda:<n>.
    """
    runtime = make_runtime(device, settings.precision, cpu_threads=1, feature_batch=settings.feature_batch)
    model = runtime.place(load_baseline(baseline, weights))
    images, labels = files.load()
    pixels = torch.cat([images.pixels, images.pixels.flip(-1)]) if settings.flip else images.pixels
    repeats = len(pixels) // len(images)
    latents = over_images(model.encode, pixels, runtime)
    found = ShotFeatures(latents[None], labels.repeat(repeats), images.ids.repeat(repeats), torch.tensor([CLEAN]))
    about = {"baseline": baseline, "attribute": files.attribute, "weights": weights_digest(weights)}
    save_shot_features(found, output, about)


def train_baseline_classifier(
    settings: AttributeHeadConfig, baseline: str, attribute: str, features: Path, output: Path
) -> None:
    """Fit the linear classifier of one attribute on cached latents, as heads are fitted on activations.

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
    head, report = train_head(shots, settings, attribute)
    classifier = LatentClassifier(shots.inputs.shape[-1], attribute)
    classifier.weight.data.copy_(head.weight[0])
    classifier.bias.data.copy_(head.bias[0])
    save_module(classifier, classifier.config, output, {**about, "cross_validation": report})


def load_classifier(folder: Path, baseline: str, attribute: str) -> LatentClassifier:
    """Load a classifier, frozen; raise ``WeightsError`` if it is of another baseline or attribute."""
    expected = {"baseline": baseline, "attribute": attribute}
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
    model = load_classifier(classifier, wanted.baseline, wanted.attribute)
    drawn = load_latents(latents, {"baseline": wanted.baseline})
    probability = model.probability(drawn.values, wanted.value)
    save_decisions(probability, drawn.seeds, accept(probability, drawn.seeds), output, wanted.about)


def sample_baseline(
    settings: SamplingConfig,
    wanted: Wanted,
    weights: Path,
    denoiser: Path,
    candidates: Candidates,
    portion: Portion,
    device: str = "auto",
) -> None:
    """Decode one shard of the latents that stand for a class, or of all; finished work units are kept.

    Args:
        settings: Section sampling, JSON.
        wanted: What they stand for.
        weights: Weights folder of the baseline.
        denoiser: Weights folder of the denoiser, in whose forward passes costs are counted.
        candidates: Latents, and which of them are kept.
        portion: Which of them this job decodes.
        device: auto, cpu, cuda or cuda:<n>.
    """
    runtime = make_runtime(device, settings.precision, settings.cpu_threads)
    model, counted_in = BaselineFiles(wanted.baseline, weights, denoiser).load(runtime)
    latents, rate = candidates.chosen(wanted.baseline, wanted.about)
    about = {
        **wanted.about,
        "weights": weights_digest(weights),
        "latents": tensor_digest({"latents": latents.values, "seeds": latents.seeds}),
        "settings": settings.model_dump(mode="json", exclude={"first_seed"}),
        "precision": str(runtime.dtype),
    }
    units = portion.plan(len(latents.seeds), settings.unit_size)
    checkpoints = CheckpointFolder(portion.checkpoints, fingerprint(about))
    images, seconds = decode_units(latents, units, model, settings, runtime, checkpoints)
    positions = torch.tensor([position for unit in units for position in unit.seeds], dtype=torch.int64)
    # Of each candidate: all are drawn, the accepted ones decoded.
    forwards = latents.forwards_per_sample + rate * decode_forwards(model, counted_in, settings, runtime)
    save_samples(SampleSet(images, latents.seeds[positions], forwards), portion.output, about)
    write_timing(portion.output.with_suffix(".timing.json"), seconds, len(positions))


def describe_baseline(
    settings: EvaluationConfig,
    wanted: Wanted,
    candidates: Candidates,
    samples: list[Path],
    output: Path,
    image_size: int,
    judge: Path | None = None,
    device: str = "auto",
) -> None:
    """Describe a baseline's samples: features of every extractor, the judge's opinion, and what they cost.

    Args:
        settings: Section evaluation, JSON.
        wanted: What the samples must stand for.
        candidates: Latents that they were chosen from, and which were kept.
        samples: Shards of the set; the timing of each lies beside it.
        output: Description to write, safetensors.
        image_size: Height and width of the images, pixels: none may be there to tell.
        judge: Weights folder; without it, features alone.
        device: auto, cpu, cuda or cuda:<n>.

    Raises:
        CorruptFileError: If a file is damaged, or of other samples.
    """
    runtime = make_runtime(device, "float32", cpu_threads=1, feature_batch=settings.feature_batch)
    drawn = _loaded(samples, wanted.about, image_size)
    network = load_judge(judge, "judge").to(runtime.device) if judge else None
    extractors = [make_extractor(extractor, runtime) for extractor in settings.extractors]
    cost = candidate_cost(drawn, candidates, samples, wanted)

    def describe_part(images: Tensor, seeds: Tensor) -> Description:
        return describe(images, seeds, wanted.baseline, extractors, network, cost)

    parts = zip(drawn.images.split(BATCH), drawn.seeds.split(BATCH), strict=True)
    describe_into(output, parts, len(drawn.seeds), describe_part, wanted.about)


def candidate_cost(drawn: SampleSet, candidates: Candidates, samples: list[Path], wanted: Wanted) -> Cost:
    """Return what a candidate cost: its latent was drawn, and with the share that was accepted, decoded."""
    _, rate = candidates.chosen(wanted.baseline, wanted.about)
    decoding = seconds_per_sample([path.with_suffix(".timing.json") for path in samples]) if len(drawn.seeds) else 0.0
    drawing = seconds_per_sample([candidates.latents.with_suffix(".timing.json")])
    return Cost(drawn.forwards_per_sample, drawing + rate * decoding, rate)


def _loaded(samples: list[Path], about: About, image_size: int) -> SampleSet:
    """Return a sample set, which is empty where no latent was accepted: that is a result, too."""
    if any(count_records(path) for path in samples):
        return load_samples(samples, about)
    _, said = read_records(samples[0], "seed", expected=about)
    none = torch.empty(0, 3, image_size, image_size, dtype=torch.uint8)
    return SampleSet(none, torch.empty(0, dtype=torch.int64), float(said["forwards_per_sample"]))
