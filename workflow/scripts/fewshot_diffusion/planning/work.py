"""What a job costs, and what the jobs of one run have in common: images, samples, features, trainings.

Real images are counted as the configured splits have them; a data set that is there may have fewer.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from ..config.model import Config
from ..config.sampling import SamplingConfig
from ..diffusion.schedule import make_scheduler
from ..judges import AttributeClassifier
from .networks import BACKWARD, DenoiserCosts, built, extractor_dim, extractor_forward, on_image

FLOAT, HALF = 4, 2  # bytes
TRAINING_STATE = 4
"""A training keeps its parameters, their moving average, and two moments of the optimizer."""


@dataclass(frozen=True)
class Work:
    """What a job costs.

    Attributes:
        flops: Of its networks.
        size: Bytes that it leaves; of images, as many as they have before they are compressed without loss.
    """

    flops: float = 0.0
    size: float = 0.0


@dataclass(frozen=True, eq=False)  # known by itself, so that what is counted once is kept
class Run:
    """One data set and its denoiser.

    Attributes:
        config: Its configuration.
        networks: What its denoiser costs.
        classes: Number of classes of the data set, 0 without any.
    """

    config: Config
    networks: DenoiserCosts
    classes: int = 0

    @property
    def image(self) -> int:
        """Bytes of an image."""
        return 3 * self.config.data.image_size**2

    def images(self, split: str) -> int:
        """Return how many images a split has; of shares, nobody knows yet: 0."""
        return 0 if self.config.data.splits.auto else int(self.config.splits.get(split.split("-")[0], 0))

    @cached_property
    def judged(self) -> float:
        """FLOPs of an attributes' judge on one image."""
        return on_image(built(lambda: AttributeClassifier(["any"])), self.config.data.image_size)

    def featured(self, images: float, first_alone: bool = False) -> Work:
        """Return what features of images cost."""
        kinds = [one.kind for one in self.config.evaluation.extractors][: 1 if first_alone else None]
        size = images * FLOAT * sum(map(extractor_dim, kinds))
        passes = [self.judged if kind == "semantic" else extractor_forward(kind) for kind in kinds]  # a judge's trunk
        return Work(images * sum(passes), size)

    def trained(self, images: float) -> Work:
        """Return what it costs to train the denoiser, or a copy of it, on so many images."""
        return Work(images * self.networks.training, (1 + TRAINING_STATE) * FLOAT * self.networks.parameters)

    def guided_steps(self, sampling: SamplingConfig) -> int:
        """Return how many steps of DDIM lie within the interval that is guided."""
        scheduler = make_scheduler(self.networks.denoiser.schedule, timestep_spacing=sampling.timestep_spacing)
        scheduler.set_timesteps(sampling.num_inference_steps)
        low, high = sampling.guidance_interval
        return sum(low <= timestep <= high for timestep in scheduler.timesteps.tolist())

    def drawn(self, sampling: SamplingConfig, samples: float, guided: float | None = None) -> Work:
        """Return what samples by DDIM cost, of which a step within the interval costs ``guided`` if anything steers."""
        inside = self.guided_steps(sampling) if guided else 0
        flops = (sampling.num_inference_steps - inside) * self.networks.forward + inside * (guided or 0)
        return Work(samples * flops, 2 * samples * self.image)  # finished work units are kept beside the shards


def read_images(run: Run, split: str) -> Work:
    """Read or draw a split."""
    return Work(size=run.images(split) * run.image)


def read_masks(run: Run, split: str) -> Work:
    """Read or draw masks, one byte a pixel."""
    return Work(size=run.images(split) * run.image / 3)


def train_denoiser(run: Run) -> Work:
    """Train the denoiser from scratch, and refine it."""
    return run.trained(run.config.denoiser.images_seen)


def write_denoiser(run: Run) -> Work:
    """Write a denoiser that is there."""
    return Work(size=FLOAT * run.networks.parameters)


def train_semantic_network(run: Run) -> Work:
    """Train the network that names the options of avatars; it has the judges' trunk."""
    return Work(run.config.semantic.epochs * run.images("judge") * BACKWARD * run.judged)


JOBS: dict[str, Callable[..., Work]] = {
    "make_images": read_images,
    "read_images": read_images,
    "make_masks": read_masks,
    "read_masks": read_masks,
    "train_denoiser": train_denoiser,
    "adopt_denoiser": write_denoiser,
    "convert_denoiser": write_denoiser,
    "train_semantic_network": train_semantic_network,
}
