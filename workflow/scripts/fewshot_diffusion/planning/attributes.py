"""What the jobs of experiment 1 cost."""

from collections.abc import Callable

from ..config.attributes import DISTRIBUTION, AttributesConfig
from .networks import BACKWARD
from .work import FLOAT, Run, Work


def _section(run: Run) -> AttributesConfig:
    assert run.config.attributes
    return run.config.attributes


def _shots(run: Run) -> int:
    head = _section(run).head
    return head.positive_shots + head.negative_shots


def train_judge(run: Run, judge: str) -> Work:
    """Train a judge on its split."""
    return Work(_section(run).judge.epochs * run.images(judge) * BACKWARD * run.judged)


def train_ddim_i(run: Run, _attribute: str) -> Work:
    """Train DDIM-I's classifier on the shots."""
    return Work(_section(run).ddim_i.epochs * _shots(run) * BACKWARD * run.judged)


def reject_ddim_i(run: Run, _target: str) -> Work:
    """Judge the pool by that classifier."""
    return Work(_pool(run) * run.judged)


def extract_features(run: Run, mode: str, *which: str) -> Work:
    """Cache activations of the shots, or of the curve's: ``labels/<mode>/<attribute>/<number>/<draw>``."""
    head, shots = _section(run).head, _shots(run)
    if mode == "labels":
        mode, shots = which[0], 2 * int(which[2])
    levels = len(set(head.readout_timesteps)) * head.readout_draws if mode == "readout" else 1
    rows = levels * shots * (1 + head.flip)
    inputs = sum(2 * tap.num_chs * head.pool_size**2 for tap in run.networks.described(tuple(head.taps)))
    return Work(rows * run.networks.to_taps(tuple(head.taps)), rows * inputs * FLOAT)


def find_direction(run: Run, _attribute: str) -> Work:
    """Average activations of the noised shots."""
    section = _section(run)
    rows = len(set(section.head.readout_timesteps)) * section.head.readout_draws * _shots(run) * (1 + section.head.flip)
    return Work(rows * run.networks.to_taps((section.steering_tap,)))


def sample(run: Run, mode: str, target: str, *shard: str) -> Work:
    """Draw a shard of the pool, or of a row's set; of the sweep or the curve of labels: ``sweep/<mode>/...``."""
    section, sampling = _section(run), run.config.sampling
    if mode in ("sweep", "labels"):
        return run.drawn(sampling, getattr(section, mode).units * sampling.unit_size, _step(run, target))
    if mode == "unguided":
        return run.drawn(sampling, _pool(run) / section.sets.shards_unguided)
    return run.drawn(sampling, _row(run) / section.sets.shards_per_target, _step(run, mode))


def describe(run: Run, images: str, *which: str) -> Work:
    """Describe a split (``real``), the pool, or a row's samples: features and the judge's opinion."""
    number = run.images(which[0]) if images.startswith("real") else _pool(run) if not which else _row(run)
    features = run.featured(number)
    return Work(features.flops + number * run.judged, features.size)


def _pool(run: Run) -> int:
    return run.config.units_unguided * run.config.sampling.unit_size


def _row(run: Run) -> int:
    return run.config.units_per_target * run.config.sampling.unit_size


def _step(run: Run, mode: str) -> float:
    if mode == "steering":
        return run.networks.forward
    if mode == DISTRIBUTION:
        mode = _section(run).distribution.head
    return run.networks.step_to_attribute(mode, tuple(_section(run).head.taps))


JOBS: dict[str, Callable[..., Work]] = {
    "train_judge": train_judge,
    "train_ddim_i": train_ddim_i,
    "reject_ddim_i": reject_ddim_i,
    "extract_attribute_features": extract_features,
    "find_attribute_direction": find_direction,
    "sample_attributes": sample,
    "describe": describe,
}
