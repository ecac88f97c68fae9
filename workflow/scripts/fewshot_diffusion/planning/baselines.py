"""What the jobs of the generative baselines cost."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from ..baselines.base import LatentModel
from ..baselines.models import build_baseline
from ..baselines.training import stage_training
from ..config.baselines import BaselinesConfig
from ..config.sampling import SamplingConfig
from .networks import BACKWARD, counted
from .work import FLOAT, TRAINING_STATE, Run, Work

SHEET = 16
"""Images of the controls that a contact sheet shows, and their reconstructions."""


@dataclass(frozen=True)
class BaselineCosts:
    """FLOPs of a baseline, for one image, in what a run does with it.

    It has weights, unlike the denoiser that a plan counts: what draws its own noise cannot do without.

    Attributes:
        settings: Section baselines.
        baseline: Name of the baseline.
        model: Untrained.
    """

    settings: BaselinesConfig
    baseline: str
    model: LatentModel

    @property
    def size(self) -> int:
        """Numbers that it has learnt."""
        return sum(parameter.numel() for parameter in self.model.parameters())

    def encode(self) -> float:
        """Read an image."""
        with torch.no_grad():
            return counted(lambda: self.model.posterior_mean(self._image(1)))

    def draw(self, sampling: SamplingConfig) -> float:
        """Draw a latent."""
        return _by_steps(lambda steps: self.model.draw_latents([0], steps), sampling)

    def decode(self, sampling: SamplingConfig) -> float:
        """Decode a latent."""
        latents = torch.zeros(1, self.model.latent_size)
        return _by_steps(lambda steps: self.model.decode(latents, [0], steps), sampling)

    def training(self) -> float:
        """Train all stages, to the end."""
        found = 0.0
        for stage, kind in self.model.stages.items():
            examples = self._image(2) if kind == "images" else torch.zeros(2, self.model.latent_size)
            stream = torch.Generator().manual_seed(0)
            with torch.no_grad():
                forward = counted(lambda s=stage, x=examples, g=stream: self.model.loss(s, x, 0.5, g)) / 2  # type: ignore[misc]
            found += stage_training(self.settings, self.baseline, stage).num_images * BACKWARD * forward
        return found

    def _image(self, number: int) -> Tensor:
        return torch.zeros(number, 3, self.model.image_size, self.model.image_size)


@cache
def baseline_costs(run: Run, baseline: str) -> BaselineCosts:
    """Return the costs of a baseline of a run."""
    settings = run.config.baselines
    assert settings
    model = build_baseline(baseline, settings, run.config.denoiser.schedule, run.config.data.image_size)
    return BaselineCosts(settings, baseline, model)


def _by_steps(run: Callable[[SamplingConfig], Tensor], sampling: SamplingConfig) -> float:
    """Count what a number of steps costs, by that of one step and of two: part of it may have none."""
    with torch.no_grad():
        once, twice = (
            counted(lambda n=n: run(sampling.model_copy(update={"num_inference_steps": n})))  # type: ignore[misc]
            for n in (1, 2)
        )
    return once + (sampling.num_inference_steps - 1) * (twice - once)


def train_baseline(run: Run, baseline: str) -> Work:
    """Train all stages."""
    costs = baseline_costs(run, baseline)
    encoded = run.images("train") * costs.encode()
    return Work(costs.training() + encoded, (1 + TRAINING_STATE) * FLOAT * costs.size)


def draw_latents(run: Run, baseline: str) -> Work:
    """Draw the candidates of all classes."""
    costs, number = baseline_costs(run, baseline), run.config.candidate_units * run.config.sampling.unit_size
    return Work(number * costs.draw(run.config.sampling), number * FLOAT * costs.model.latent_size)


def sample_baseline(run: Run, baseline: str, *_which: str) -> Work:
    """Decode a shard of a row's latents; as many are counted as may be accepted."""
    assert run.config.attributes
    number = run.config.evaluation.samples / run.config.attributes.sets.shards_per_target
    return Work(number * baseline_costs(run, baseline).decode(run.config.sampling), 2 * number * run.image)


def read_shots(run: Run, baseline: str, _attribute: str) -> Work:
    """Encode the shots of an attribute."""
    assert run.config.attributes
    costs, head = baseline_costs(run, baseline), run.config.attributes.head
    number = (head.positive_shots + head.negative_shots) * (1 + head.flip)
    return Work(number * costs.encode(), number * FLOAT * costs.model.latent_size)


def score(run: Run, baseline: str, _attribute: str) -> Work:
    """Encode the controls."""
    return Work(run.images("controls") * baseline_costs(run, baseline).encode())


def reconstruct(run: Run, baseline: str) -> Work:
    """Encode and decode the images of a sheet."""
    costs, number = baseline_costs(run, baseline), SHEET
    return Work(number * (costs.encode() + costs.decode(run.config.sampling)), number * run.image)


def describe(run: Run, _baseline: str, which: str) -> Work:
    """Describe a row's samples, or those that come as they are and need no judge."""
    number = run.config.evaluation.samples
    judged = 0.0 if which == "pool" else number * run.judged
    features = run.featured(number)
    return Work(features.flops + judged, features.size)


JOBS: dict[str, Callable[..., Work]] = {
    "train_baseline": train_baseline,
    "draw_baseline_latents": draw_latents,
    "sample_baseline": sample_baseline,
    "extract_baseline_latents": read_shots,
    "score_baseline_classifier": score,
    "reconstruct_images": reconstruct,
    "describe_baseline": describe,
}
