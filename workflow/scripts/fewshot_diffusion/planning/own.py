"""What the jobs of a run on a model of one's own cost; labels and masks are counted in their lists."""

from collections.abc import Callable

from ..config.masks import MaskTapsConfig
from ..judges import AttributeClassifier
from ..own.masks_table import CHANNELS
from ..own.plan import DRAWS, GUIDED, LEVELS, OwnPlan, plan_own
from ..own.shots import JUDGED_WITH
from ..pipeline.cached_pairs import COMPARED, FOLDS
from .networks import BACKWARD, built, on_image, segmenter
from .work import FLOAT, HALF, Run, Work

UPDATES, PER_UPDATE = 800, 4
"""Of a head of masks, and pairs in each."""

CURVE = 7
"""Trainings of a fold that the choice of taps and the learning curve of masks come to, about."""


def _plan(run: Run) -> OwnPlan:
    assert run.config.own
    return plan_own(run.config.own)


def _rows(plan: OwnPlan, images: int) -> int:
    return images * (1 + plan.config.flip) * (LEVELS * DRAWS if plan.config.mode == "readout" else 1)


def extract_features(run: Run) -> Work:
    """Cache activations of the labelled images that heads learn from."""
    plan = _plan(run)
    assert plan.labels
    images = min(len(plan.labels.rows), 2 * plan.config.shots * len(plan.titles))
    return Work(_rows(plan, images) * run.networks.forward)


def fit_masks(run: Run) -> Work:
    """Cache activations of the pairs, and train heads on them: to choose, for the curve, and the one that stays."""
    plan, costs = _plan(run), run.networks
    assert plan.masked
    pairs = min(len(plan.masked.images), plan.config.shots)
    taps = MaskTapsConfig(taps=_taps(run), feature_timestep=0, upsampling="bilinear")
    head = costs.head_training(costs.mask_head(taps, plan.config.classes, 64))
    trainings = 1 + CURVE * FOLDS / COMPARED
    cached = sum(tap.num_chs * (costs.image_size // tap.reduction) ** 2 for tap in costs.described(tuple(taps.taps)))
    rows = _rows(plan, pairs)
    return Work(rows * costs.forward + trainings * UPDATES * PER_UPDATE * head, rows * cached * HALF)


def sample(run: Run, subject: str) -> Work:
    """Draw the samples of one subject."""
    plan, costs = _plan(run), run.networks
    steps, number, guided = plan.config.num_inference_steps, plan.samples(subject), costs.forward
    if subject == "masks":
        taps = MaskTapsConfig(taps=_taps(run), feature_timestep=0, upsampling="bilinear")
        guided = costs.step_to_mask(plan.config.mode, taps, costs.mask_head(taps, plan.config.classes, 64))
    elif subject != "unguided":
        guided = costs.step_to_attribute(plan.config.mode, tuple(_taps(run)[:1]))
    flops = steps * (GUIDED * guided + (1 - GUIDED) * costs.forward)
    return Work(number * flops, number * 3 * costs.image_size**2)


def export(run: Run) -> Work:
    """Write the pipeline."""
    return Work(size=FLOAT * run.networks.parameters)


def train_judge(run: Run, attribute: str) -> Work:
    """Train the judge of an attribute."""
    plan = _plan(run)
    assert plan.labels
    held_out = sum(max(0, number - plan.config.shots) for number in plan.labels.numbers(attribute))
    forward = on_image(built(lambda: AttributeClassifier([attribute])), run.networks.image_size)
    return Work(plan.config.table.judge.epochs * (1 - 1 / JUDGED_WITH) * held_out * BACKWARD * forward)


def train_segmenter(run: Run) -> Work:
    """Train the judge of masks."""
    plan, size = _plan(run), run.networks.image_size
    assert plan.masked
    held_out = max(0, len(plan.masked.images) - plan.config.shots)
    forward = on_image(segmenter(plan.config.classes, CHANNELS, size), size)
    return Work(plan.config.table.judge.epochs * (1 - 1 / JUDGED_WITH) * held_out * BACKWARD * forward)


def _taps(run: Run) -> list[str]:
    """Return the modules that heads read: named ones, or as of "auto" the finest block, which costs most."""
    plan = _plan(run)
    if plan.config.taps != "auto":
        return list(plan.config.taps)
    levels = range(len(plan.model.unet.block_out_channels))
    return [f"up_blocks.{level}" for level in levels][::-1][:3]


JOBS: dict[str, Callable[..., Work]] = {
    "extract_own_features": extract_features,
    "fit_own_masks": fit_masks,
    "sample_own": sample,
    "export_own_pipeline": export,
    "train_own_judge": train_judge,
    "train_own_segmenter": train_segmenter,
}
