"""What the jobs of experiment 2 cost."""

from collections.abc import Callable
from functools import cache

from ..config.masks import MasksConfig, SegmenterConfig
from ..diffusion.guidance import READS_IMAGE
from ..masks.segmenter import Segmenter
from .networks import BACKWARD, on_image, segmenter
from .work import HALF, Run, Work


def _section(run: Run) -> MasksConfig:
    assert run.config.masks
    return run.config.masks


def _segmenter(run: Run, settings: SegmenterConfig) -> Segmenter:
    return segmenter(run.config.data.mask_classes, settings.block_out_channels, run.config.data.image_size)


@cache
def _measured(run: Run) -> float:
    """FLOPs of the independent segmenter on one image."""
    return on_image(_segmenter(run, _section(run).segmenter), run.config.data.image_size)


def train_segmenter(run: Run, judge: str) -> Work:
    """Train an independent segmenter on its split."""
    return Work(_section(run).segmenter.epochs * run.images(judge) * BACKWARD * _measured(run))


def train_clean_image_segmenter(run: Run, shots: str) -> Work:
    """Train the segmenter that guides on the few pairs."""
    settings = _section(run).clean_image
    forward = on_image(_segmenter(run, settings), run.config.data.image_size)
    return Work(settings.epochs * int(shots) * BACKWARD * forward)


def extract_features(run: Run, mode: str, preset: str, shots: str) -> Work:
    """Cache activations of the few pairs."""
    section = _section(run)
    head, taps = section.head_of(preset), section.presets[preset].taps
    levels = len(set(head.readout_timesteps)) * head.readout_draws if mode == "readout" else 1
    rows, side = levels * int(shots) * (1 + head.flip) * (2 if head.brightness else 1), run.config.data.image_size
    numbers = sum(tap.num_chs * (side // tap.reduction) ** 2 for tap in run.networks.described(tuple(taps)))
    return Work(rows * run.networks.to_taps(tuple(taps)), rows * numbers * HALF)


def train_head(run: Run, _mode: str, preset: str, _shots: str) -> Work:
    """Train a head on them."""
    section = _section(run)
    head = run.networks.mask_head(section.presets[preset], run.config.data.mask_classes, section.head.hidden_channels)
    recipe = section.head_of(preset)
    return Work(recipe.updates * recipe.batch_size * run.networks.head_training(head))


def train_controlnet(run: Run, _shots: str) -> Work:
    """Train a ControlNet on the few pairs."""
    images = _section(run).controlnet.num_images
    return Work(images * run.networks.controlled(run.config.data.mask_classes, training=True), run.trained(0).size)


def sample(run: Run, method: str, preset: str, _shots: str) -> Work:
    """Draw a set, one sample of each mask and seed."""
    section = _section(run)
    return _drawn(run, method, preset, section.masks * section.seeds_per_mask, sweep=False)


def sample_sweep(run: Run, method: str, preset: str, _scale: str) -> Work:
    """Draw one scale of the sweep."""
    return _drawn(run, method, preset, _section(run).sweep.masks, sweep=True)


def evaluate(run: Run, _method: str, _preset: str, _shots: str) -> Work:
    """Find masks in samples, and features of them."""
    section = _section(run)
    number = section.masks * section.seeds_per_mask
    return Work(number * _measured(run) + run.featured(number, first_alone=True).flops)


def evaluate_noise(run: Run, reader: str, preset: str) -> Work:
    """Find masks in real images at every noise level: the pass that predicts the noise, and what the guide reads."""
    section = _section(run)
    number = min(section.noise.images, run.images("controls")) * (1 + len(section.noise.timesteps))
    if reader == "judge":
        return Work(number * (run.networks.forward + _measured(run)))
    if reader == "clean_image":
        image = on_image(_segmenter(run, section.clean_image), run.config.data.image_size)
        return Work(number * (run.networks.forward + image))
    features = run.networks.to_taps(tuple(section.presets[preset].taps)) if reader == "exact" else 0
    return Work(number * (run.networks.forward + features))


def describe_controls(run: Run) -> Work:
    """Features of real images."""
    return run.featured(run.images("controls"))


def _drawn(run: Run, method: str, preset: str, number: int, sweep: bool) -> Work:
    sampling = run.config.mask_sampling(preset, sweep)
    if method == "unguided":
        return run.drawn(sampling, number)
    if method == "controlnet":  # which steers every step
        sampling = sampling.model_copy(update={"guidance_interval": (0, run.networks.last_timestep)})
    return run.drawn(sampling, number, _step(run, method, preset))


@cache
def _step(run: Run, method: str, preset: str) -> float:
    section, classes = _section(run), run.config.data.mask_classes
    if method == "controlnet":
        return run.networks.controlled(classes, training=False)
    chosen = section.presets[preset].head
    if method in READS_IMAGE:
        return run.networks.step_to_mask(method, chosen, _segmenter(run, section.clean_image))
    head = run.networks.mask_head(chosen, classes, section.head.hidden_channels)
    return run.networks.step_to_mask(method, chosen, head)


JOBS: dict[str, Callable[..., Work]] = {
    "train_segmenter": train_segmenter,
    "train_clean_image_segmenter": train_clean_image_segmenter,
    "extract_mask_features": extract_features,
    "train_mask_head": train_head,
    "train_controlnet": train_controlnet,
    "sample_masks": sample,
    "sample_masks_sweep": sample_sweep,
    "evaluate_masks": evaluate,
    "evaluate_mask_noise": evaluate_noise,
    "describe_masks_controls": describe_controls,
}
