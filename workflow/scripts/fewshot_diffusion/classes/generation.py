"""Class-conditional sets: drawn in work units per class, filtered, extended and never redrawn."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..config.classes import ClassSamplingConfig, RejectionConfig
from ..diffusion.denoiser import Denoiser
from ..diffusion.sampling import WorkUnit, finish_unit, sample_ddim
from ..diffusion.schedule import make_scheduler
from ..errors import CorruptFileError, DataError
from ..progress import Progress
from ..runtime import Runtime
from ..seeds import SampleNoise
from ..storage.tensors import read_tensors, require_sisters, write_tensors
from .conditional import classifier_free
from .filter import RejectionHead, score

_TENSORS = ("images", "labels", "seeds", "log_prob", "accepted")


CLASS_STRIDE = 1_000_000  # seeds of a class; far more than are ever drawn


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


def units_of_class(label: int, unit_size: int) -> Iterator[WorkUnit]:
    """Yield the work units of a class, up to its last seed; they depend on nothing else."""
    start = (label + 1) * CLASS_STRIDE
    for index in range((CLASS_STRIDE - 1) // unit_size):
        yield WorkUnit(index, range(start + index * unit_size, start + (index + 1) * unit_size))


def generate_class(
    label: int,
    name: str,
    wanted: int,
    max_samples: int,
    unit_size: int,
    threshold: float,
    draw: Callable[[WorkUnit], Tensor],
    score_of: Callable[[Tensor], Tensor],
) -> tuple[Tensor, Tensor, Tensor]:
    """Draw whole units of a class until enough samples are accepted.

    Args:
        label: The class.
        name: Its name, for errors.
        wanted: Accepted samples that are needed.
        max_samples: Samples that are drawn at most.
        unit_size: Samples per unit.
        threshold: A sample is accepted if p(class) >= threshold.
        draw: Images of a unit, uint8 [B, 3, H, W].
        score_of: log p(class | image) of images, float32 [B, K].

    Returns:
        Images [N, 3, H, W], seeds [N] and log-probabilities [N] of all samples drawn.

    Raises:
        DataError: If the cap is reached first; names the class and what was found.
    """
    images: list[Tensor] = []
    seeds: list[int] = []
    log_prob: list[Tensor] = []
    accepted = 0
    for unit in units_of_class(label, unit_size):
        if accepted >= wanted:
            break
        if len(seeds) + unit_size > max_samples:
            raise DataError(
                f"class {name!r}: {accepted} of {len(seeds)} samples have p >= {threshold:g}, expected {wanted}. Lower "
                "classification.rejection.threshold, raise max_attempts, or train the denoiser longer."
            )
        drawn = draw(unit)
        images.append(drawn)
        seeds += list(unit.seeds)
        log_prob.append(score_of(drawn)[:, label])
        accepted += int(is_accepted(log_prob[-1], threshold).sum())
    return torch.cat(images), torch.tensor(seeds), torch.cat(log_prob)


def is_accepted(log_prob: Tensor, threshold: float) -> Tensor:
    """Return which samples pass the filter, p >= threshold, bool [N]."""
    return log_prob >= torch.tensor(threshold).log()  # not exp(log_prob): its rounding would move the threshold


def save_generated(generated: GeneratedSet, path: Path, provenance: dict[str, object]) -> None:
    """Write a generated set."""
    tensors = {name: getattr(generated, name) for name in _TENSORS}
    write_tensors(path, tensors, {**provenance, "classes": generated.classes})


def load_generated(paths: Sequence[Path]) -> GeneratedSet:
    """Read shards, each of some classes, into one set in order of classes and seeds.

    Raises:
        CorruptFileError: If a shard is damaged, or two shards hold the same seed or are of different computations.
    """
    shards = [read_tensors(path, *_TENSORS) for path in paths]
    require_sisters([(path, provenance) for path, (_, provenance) in zip(paths, shards, strict=True)])
    joined = {name: torch.cat([tensors[name] for tensors, _ in shards]) for name in _TENSORS}
    if len(joined["seeds"].unique()) != len(joined["seeds"]):
        raise CorruptFileError(f"{paths[0]} and its sister shards hold one seed twice. Delete them and run again.")
    order = joined["seeds"].argsort()
    return GeneratedSet(**{name: values[order] for name, values in joined.items()}, classes=shards[0][1]["classes"])


def generate_classes(
    denoiser: Denoiser,
    conditional: Denoiser,
    head: RejectionHead,
    settings: ClassSamplingConfig,
    rejection: RejectionConfig,
    wanted: int,
    shard: tuple[int, int],
    checkpoints: Path,
    identity: str,
    runtime: Runtime,
) -> GeneratedSet:
    """Draw and filter a share of the classes.

    Args:
        denoiser: Unconditional denoiser, whose activations the filter reads.
        conditional: Its class-conditional fine-tuning.
        head: The filter.
        settings: Steps, classifier-free guidance and work units.
        rejection: Threshold and cap.
        wanted: Accepted samples of each class.
        shard: 0-based position and number of jobs; each takes every such class.
        checkpoints: Folder of finished work units.
        identity: Digest of everything that a sample depends on but its class and seed.
        runtime: Device and precision.
    """
    scheduler = make_scheduler(conditional.schedule, clip_sample=True, timestep_spacing="trailing")
    parts = []
    labels = range(len(head.classes))[shard[0] :: shard[1]]
    for label in Progress(labels, desc="generating", unit="class"):

        def draw(unit: WorkUnit, label: int = label) -> Tensor:
            predict = classifier_free(
                conditional, torch.full((len(unit.seeds),), label), settings.guidance_scale, runtime
            )
            noise = SampleNoise(unit.seeds, denoiser.sample_shape, runtime.device)
            return sample_ddim(predict, scheduler, noise, settings.num_inference_steps, eta=0.0)

        images, seeds, log_prob = generate_class(
            label,
            head.classes[label],
            wanted,
            wanted * rejection.max_attempts,
            settings.unit_size,
            rejection.threshold,
            lambda unit: finish_unit(unit, lambda: draw(unit), checkpoints, identity)[0],
            lambda drawn: score(denoiser, head, drawn, runtime),
        )
        parts.append((images, torch.full((len(seeds),), label), seeds, log_prob))
    if not parts:  # more jobs than classes
        blank, none = torch.empty(0, *denoiser.sample_shape, dtype=torch.uint8), torch.empty(0, dtype=torch.int64)
        return GeneratedSet(blank, none, none, torch.empty(0), none.bool(), head.classes)
    images, shown, seeds, log_prob = (torch.cat(found) for found in zip(*parts, strict=True))
    accepted = is_accepted(log_prob, rejection.threshold)
    return GeneratedSet(images, shown, seeds, log_prob, accepted, head.classes)
