"""Class-conditional sets: drawn in work units per class, filtered, extended and never redrawn."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from ..config.classes import ClassSamplingConfig
from ..diffusion.denoiser import Denoiser, load_denoiser
from ..diffusion.sampling import WorkUnit, finish_unit, sample_ddim
from ..diffusion.schedule import make_scheduler
from ..errors import CorruptFileError, DataError
from ..images import decode_images, encode_images
from ..progress import Progress
from ..runtime import Runtime, make_runtime
from ..seeds import SampleNoise
from ..storage.checkpoints import CheckpointFolder
from ..storage.files import About, fingerprint, require_sisters
from ..storage.records import read_records, write_records
from ..storage.weights import weights_digest
from .conditional import classifier_free, load_generator
from .filter import RejectionHead, load_filter, score

CLASS_STRIDE = 1_000_000
"""Seeds of a class; far more than are ever drawn."""


@dataclass(frozen=True)
class GeneratedSet:
    """Every sample that was drawn, kept or not, in the order of its class and seed.

    Attributes:
        images: uint8 [N, 3, H, W], 0..255.
        labels: The class that each was to show, int64 [N].
        seeds: int64 [N].
        log_prob: The filter's log-probability of that class, nats, float32 [N].
        accepted: Whether it passed the filter, bool [N].
        classes: Names of the classes.
    """

    images: Tensor
    labels: Tensor
    seeds: Tensor
    log_prob: Tensor
    accepted: Tensor
    classes: list[str]

    def take(self, per_class: int, filtered: bool = True) -> tuple[Tensor, Tensor]:
        """Return the first samples of every class, images and labels: fewer are a prefix of more, class by class.

        Args:
            per_class: Samples of each class.
            filtered: Whether only accepted samples count; else the first ones drawn.

        Raises:
            DataError: If a class has fewer.
        """
        chosen = []
        for label, name in enumerate(self.classes):
            mine = self.labels == label
            found = (mine & self.accepted if filtered else mine).nonzero().flatten()
            if len(found) < per_class:
                raise DataError(f"class {name!r}: found {len(found)} samples, expected {per_class}. Generate more.")
            chosen.append(found[:per_class])
        index = torch.cat(chosen)
        return self.images[index], self.labels[index]


@dataclass(frozen=True)
class Quota:
    """How long a class is drawn: whole work units, until enough samples are accepted.

    Attributes:
        wanted: Accepted samples of each class.
        max_attempts: Samples drawn, at most, for each one that is wanted.
        threshold: A sample is accepted if p(class) >= threshold.
    """

    wanted: int
    max_attempts: int
    threshold: float


@dataclass(frozen=True)
class ClassModels:
    """What draws samples of a class, and what filters them.

    Attributes:
        denoiser: Unconditional denoiser, whose activations the filter reads.
        generator: Its class-conditional fine-tuning.
        head: The filter.
    """

    denoiser: Denoiser
    generator: Denoiser
    head: RejectionHead


@dataclass(frozen=True)
class ClassModelFolders:
    """Where they lie.

    Attributes:
        denoiser: Weights folder of the unconditional denoiser.
        generator: Weights folder of the class-conditional one.
        filter: Weights folder of the filter's head.
    """

    denoiser: Path
    generator: Path
    filter: Path

    def load(self, runtime: Runtime) -> tuple[ClassModels, dict[str, Any]]:
        """Return the models and their digests.

        Raises:
            WeightsError: If they do not belong together: generator and filter learn from one denoiser and one set of
                real images.
        """
        denoiser = load_denoiser(self.denoiser, runtime)
        head, about = load_filter(self.filter, denoiser)
        generator = load_generator(self.generator, denoiser, {"images": about["images"]})
        digests = {"denoiser": denoiser.digest, "generator": generator.digest, "filter": weights_digest(self.filter)}
        return ClassModels(denoiser, generator, head), digests


@dataclass(frozen=True)
class ClassShare:
    """One job's share of the classes, and what it need not draw anew.

    Attributes:
        shard: Position and number of the jobs, as 2-of-4; each takes every such class.
        checkpoints: Folder of finished work units, which more images and other jobs take over.
    """

    shard: str
    checkpoints: Path

    def labels(self, classes: int) -> range:
        """Return the labels of this job's classes."""
        position, number = map(int, self.shard.split("-of-"))
        return range(classes)[position - 1 :: number]


def sample_classes(
    settings: ClassSamplingConfig,
    quota: Quota,
    models: ClassModelFolders,
    share: ClassShare,
    output: Path,
    device: str = "auto",
) -> None:
    """Draw and filter images of a share of the classes; finished work units are kept: more images extend fewer.

    Args:
        settings: Section classes.sampling, JSON.
        quota: How many images.
        models: What draws and filters them.
        share: Which of the classes.
        output: Shard to write, parquet.
        device: auto, cpu, cuda or cuda:<n>.

    Raises:
        DataError: If too few samples of a class pass the filter.
    """
    runtime = make_runtime(device, settings.precision, settings.cpu_threads)
    loaded, digests = models.load(runtime)
    drawn_with = {**_drawn_with(settings), "precision": str(runtime.dtype)}
    checkpoints = CheckpointFolder(share.checkpoints, fingerprint(digests["generator"], drawn_with))
    labels = share.labels(len(loaded.head.classes))
    generated = generate(loaded, labels, settings, quota, checkpoints, runtime)
    save_generated(generated, output, {**digests, **drawn_with, "threshold": quota.threshold})


def generate(
    models: ClassModels,
    labels: Iterable[int],
    settings: ClassSamplingConfig,
    quota: Quota,
    checkpoints: CheckpointFolder,
    runtime: Runtime,
) -> GeneratedSet:
    """Draw and filter samples of some classes.

    Args:
        models: What draws and filters.
        labels: The classes.
        settings: Steps, classifier-free guidance and work units.
        quota: How many samples of each.
        checkpoints: Finished work units; its identity covers everything that a sample depends on but class and seed.
        runtime: Device and precision.
    """
    blank = torch.empty(0, *models.denoiser.sample_shape, dtype=torch.uint8)
    parts = [(blank, torch.empty(0, dtype=torch.int64), torch.empty(0))]

    def draw(label: int, unit: WorkUnit) -> Tensor:
        sampled = partial(sample_unit, models.generator, label, unit, settings, runtime)
        return finish_unit(unit, sampled, checkpoints)[0]

    def log_prob_of(images: Tensor) -> Tensor:
        return score(models.denoiser, models.head, images, runtime)

    for label in Progress(labels, desc="generating", unit="class"):
        units, name = units_of_class(label, settings.unit_size), models.head.classes[label]
        parts.append(fill_quota(units, label, name, quota, partial(draw, label), log_prob_of))
    images, seeds, log_prob = (torch.cat(found) for found in zip(*parts, strict=True))
    accepted = is_accepted(log_prob, quota.threshold)
    return GeneratedSet(images, class_of(seeds), seeds, log_prob, accepted, models.head.classes)


def sample_unit(
    generator: Denoiser, label: int, unit: WorkUnit, settings: ClassSamplingConfig, runtime: Runtime
) -> Tensor:
    """Draw samples of one class by deterministic DDIM with classifier-free guidance; every clean estimate is clipped.

    Args:
        generator: Class-conditional denoiser.
        label: The class.
        unit: Seeds of the samples.
        settings: Steps and classifier-free guidance.
        runtime: Device and precision.

    Returns:
        Clean images, [B, C, H, W], [-1, 1].
    """
    scheduler = make_scheduler(generator.schedule, clip_sample=True, timestep_spacing="trailing")
    labels = torch.full((len(unit.seeds),), label)
    predict = classifier_free(generator, labels, settings.classifier_free_scale, runtime)
    noise = SampleNoise(unit.seeds, generator.sample_shape, runtime.device)
    return sample_ddim(predict, scheduler, noise, settings.num_inference_steps, eta=0.0)


def units_of_class(label: int, unit_size: int) -> Iterator[WorkUnit]:
    """Yield the work units of a class, up to its last seed; they depend on nothing else."""
    start = (label + 1) * CLASS_STRIDE
    for index in range((CLASS_STRIDE - 1) // unit_size):
        yield WorkUnit(index, range(start + index * unit_size, start + (index + 1) * unit_size))


def class_of(seeds: Tensor) -> Tensor:
    """Return the class that samples of these seeds show, int64 [N]."""
    return seeds // CLASS_STRIDE - 1


def fill_quota(
    units: Iterable[WorkUnit],
    label: int,
    name: str,
    quota: Quota,
    draw: Callable[[WorkUnit], Tensor],
    log_prob_of: Callable[[Tensor], Tensor],
) -> tuple[Tensor, Tensor, Tensor]:
    """Draw whole units of a class until enough samples are accepted.

    Args:
        units: Units of the class, in their order.
        label: The class.
        name: Its name, for errors.
        quota: How many samples.
        draw: Images of a unit, uint8 [B, 3, H, W].
        log_prob_of: log p(class | image) of images, float32 [B, K].

    Returns:
        Images [N, 3, H, W], seeds [N] and log-probabilities [N] of all samples drawn.

    Raises:
        DataError: If the cap is reached first; names the class and what was found.
    """
    images: list[Tensor] = []
    seeds: list[int] = []
    log_prob = torch.empty(0)
    for unit in units:
        accepted = int(is_accepted(log_prob, quota.threshold).sum())
        if accepted >= quota.wanted:
            break
        if len(seeds) + len(unit.seeds) > quota.wanted * quota.max_attempts:
            raise DataError(
                f"class {name!r}: {accepted} of {len(seeds)} samples have p >= {quota.threshold:g}, expected "
                f"{quota.wanted}. Lower classes.filter.threshold, raise classes.filter.max_attempts, or train the "
                "denoiser longer."
            )
        images.append(draw(unit))
        seeds += unit.seeds
        log_prob = torch.cat([log_prob, log_prob_of(images[-1])[:, label]])
    return torch.cat(images), torch.tensor(seeds), log_prob


def is_accepted(log_prob: Tensor, threshold: float) -> Tensor:
    """Return which samples pass the filter, p >= threshold, bool [N]."""
    return log_prob >= torch.tensor(threshold).log()  # not exp(log_prob): its rounding would move the threshold


def save_generated(generated: GeneratedSet, path: Path, about: About) -> None:
    """Write a shard as one parquet file: seed, label, image (lossless), log_prob and accepted."""
    frame = pd.DataFrame(
        {
            "seed": generated.seeds.numpy(),
            "label": generated.labels.numpy(),
            "image": encode_images(generated.images),
            "log_prob": generated.log_prob.numpy(),
            "accepted": generated.accepted.numpy(),
        }
    )
    write_records(path, frame, {**about, "classes": generated.classes})


def load_generated(paths: Sequence[Path], expected: About | None = None) -> GeneratedSet:
    """Read shards, each of some classes, into one set in order of classes and seeds.

    Args:
        paths: All shards of a set.
        expected: What each must say of itself: what it was drawn and filtered with.

    Raises:
        CorruptFileError: If a shard is damaged or another than expected, or shards are of different computations, hold
            the same seed, or leave a class out.
    """
    columns = ("seed", "label", "image", "log_prob", "accepted")
    shards = [read_records(path, *columns, expected=expected) for path in paths]
    require_sisters([(path, about) for path, (_, about) in zip(paths, shards, strict=True)])
    frame = pd.concat([frame for frame, _ in shards if len(frame)]).sort_values("seed")
    classes = list(shards[0][1]["classes"])
    if frame["seed"].duplicated().any() or set(frame["label"]) != set(range(len(classes))):
        raise CorruptFileError(
            f"{paths[0]} and its sister shards do not hold every class once: one lies in another's place. "
            "Delete them and run again."
        )
    seeds, labels, log_prob, accepted = (
        torch.from_numpy(frame[column].to_numpy(copy=True)) for column in ("seed", "label", "log_prob", "accepted")
    )
    return GeneratedSet(decode_images(frame["image"]), labels, seeds, log_prob, accepted, classes)


def expected_of(settings: ClassSamplingConfig, threshold: float) -> dict[str, Any]:
    """Return what a shard must say of itself to be of this configuration, whatever the machine."""
    return {**_drawn_with(settings), "threshold": threshold}


def _drawn_with(settings: ClassSamplingConfig) -> dict[str, Any]:
    return {"settings": settings.model_dump(mode="json", exclude={"shards"})}
