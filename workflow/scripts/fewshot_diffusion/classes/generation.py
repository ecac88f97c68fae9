"""Class-conditional sets: drawn in work units per class, filtered, extended and never redrawn."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from ..config.classes import ClassSamplingConfig
from ..diffusion.denoiser import Denoiser, load_pixel_denoiser
from ..diffusion.sampling import WorkUnit, finish_unit, sample_ddim
from ..diffusion.schedule import make_scheduler
from ..errors import DataError
from ..progress import Progress
from ..runtime import Runtime, make_runtime
from ..seeds import SampleNoise
from ..storage.checkpoints import CheckpointFolder
from ..storage.files import fingerprint
from ..storage.weights import weights_digest
from .conditional import ClassDenoiser, classifier_free, load_generator
from .filter import RejectionHead, load_filter, score
from .generated_set import GeneratedSet, is_accepted, made_with, save_generated

CLASS_STRIDE = 1_000_000
"""Seeds of a class; far more than are ever drawn."""


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
    generator: ClassDenoiser
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

    def load(self, runtime: Runtime) -> tuple[ClassModels, dict[str, str]]:
        """Return the models and their digests.

        Raises:
            WeightsError: If they do not belong together: generator and filter learn from one denoiser and one set of
                real images.
        """
        denoiser = load_pixel_denoiser(self.denoiser, runtime)
        head, about = load_filter(self.filter, denoiser)
        generator = load_generator(self.generator, denoiser, {"images": about["images"]})
        runtime.place(generator.unet)
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
    batch = settings.feature_batch
    runtime = make_runtime(
        device, settings.precision, settings.cpu_threads, compile=settings.compile, feature_batch=batch
    )
    loaded, digests = models.load(runtime)
    about = {**digests, **made_with(settings, quota.threshold), "precision": str(runtime.dtype)}
    drawn_with = [about[key] for key in ("generator", "settings", "precision")]  # not the filter: it draws nothing
    checkpoints = CheckpointFolder(share.checkpoints, fingerprint(drawn_with))
    labels = share.labels(len(loaded.head.classes))
    generated = generate(loaded, labels, settings, quota, checkpoints)
    save_generated(generated, output, about)


def generate(
    models: ClassModels,
    labels: Iterable[int],
    settings: ClassSamplingConfig,
    quota: Quota,
    checkpoints: CheckpointFolder,
) -> GeneratedSet:
    """Draw and filter samples of some classes.

    Args:
        models: What draws and filters.
        labels: The classes.
        settings: Steps, classifier-free guidance and work units.
        quota: How many samples of each.
        checkpoints: Finished work units; its identity covers everything that a sample depends on but class and seed.
    """
    blank = torch.empty(0, 3, *[models.denoiser.image_size] * 2, dtype=torch.uint8)
    parts = [(blank, torch.empty(0, dtype=torch.int64), torch.empty(0))]

    def draw(label: int, unit: WorkUnit) -> Tensor:
        def images() -> Tensor:
            return models.generator.decode(sample_unit(models.generator, label, unit, settings))

        return finish_unit(unit, images, checkpoints)[0]

    def log_prob_of(images: Tensor) -> Tensor:
        return score(models.denoiser, models.head, images)

    for label in Progress(labels, desc="generating", unit="class"):
        units, name = units_of_class(label, settings.unit_size), models.head.classes[label]
        parts.append(fill_quota(units, label, name, quota, partial(draw, label), log_prob_of))
    images, seeds, log_prob = (torch.cat(found) for found in zip(*parts, strict=True))
    accepted = is_accepted(log_prob, quota.threshold)
    return GeneratedSet(images, class_of(seeds), seeds, log_prob, accepted, models.head.classes)


def sample_unit(generator: ClassDenoiser, label: int, unit: WorkUnit, settings: ClassSamplingConfig) -> Tensor:
    """Draw samples of one class by deterministic DDIM with classifier-free guidance; every clean estimate is clipped.

    Args:
        generator: Class-conditional denoiser.
        label: The class.
        unit: Seeds of the samples.
        settings: Steps and classifier-free guidance.

    Returns:
        Clean samples, [B, C, H, W].
    """
    scheduler = make_scheduler(generator.schedule, clip_sample=True, timestep_spacing="trailing")
    found = []
    for part in unit.parts(settings.micro_batch):
        labels = torch.full((len(part.seeds),), label)
        predict = classifier_free(generator, labels, settings.classifier_free_scale)
        noise = SampleNoise(part.seeds, generator.sample_shape, generator.device)
        plain = classifier_free(generator, labels, 1)
        found.append(sample_ddim(predict, scheduler, noise, settings.num_inference_steps, eta=0.0, plain=plain))
    return torch.cat(found)


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
