"""What the jobs of experiment 3 cost."""

from collections.abc import Callable
from functools import partial

from ..classes.cells import Cell, Mixing
from ..classes.filter import RejectionHead
from ..classes.training import cell_epochs
from ..config.classes import ClassesConfig, FilterConfig
from .networks import BACKWARD, built, classifier_forward, on_maps
from .work import HALF, Run, Work


def _section(run: Run) -> ClassesConfig:
    assert run.config.classes
    return run.config.classes


def _real(run: Run) -> int:
    return run.classes * _section(run).train_per_class


def _filter(run: Run, which: tuple[str, ...] = ()) -> FilterConfig:
    """Return the filter's settings, or those of a candidate: ``filters/<candidate>``."""
    return _section(run).candidate(which[-1]) if which else _section(run).filter


def extract_features(run: Run, *which: str) -> Work:
    """Cache activations of the real images and of their mirror images."""
    settings = _filter(run, which)
    (tap,) = run.networks.described((settings.tap,))
    side, images = run.config.data.image_size // tap.reduction, 2 * _real(run)
    maps = len(settings.timesteps) * tap.num_chs * side**2
    return Work(images * _scored(run, settings), images * maps * HALF)


def train_filter(run: Run, *which: str) -> Work:
    """Train the filter's head on them."""
    settings = _filter(run, which)
    (tap,) = run.networks.described((settings.tap,))
    channels, side = len(settings.timesteps) * tap.num_chs, run.config.data.image_size // tap.reduction
    shape = settings.model_dump(include={"hidden_channels", "dropout"})
    head = built(partial(RejectionHead, channels, [""] * run.classes, shape))
    return Work(settings.epochs * _real(run) * BACKWARD * on_maps(head, channels, side))


def train_judge(run: Run) -> Work:
    """Train the independent judge on its split."""
    forward = classifier_forward("resnet18", run.classes, run.config.data.image_size)
    return Work(_section(run).judge.epochs * run.images("judge") * BACKWARD * forward)


def train_generator(run: Run) -> Work:
    """Fine-tune the denoiser with labels."""
    return run.trained(_section(run).conditional.num_images)


def sample(run: Run, _shard: str) -> Work:
    """Draw and filter images of a share of the classes, as if the filter kept each."""
    section = _section(run)
    settings = section.sampling
    samples = _real(run) * section.max_ratio / settings.shards
    passes = settings.num_inference_steps * (1 if settings.classifier_free_scale == 1 else 2)
    return Work(samples * (passes * run.networks.forward + _scored(run, section.filter)), 2 * samples * run.image)


def train_cell(run: Run, architecture: str, mixing: Mixing, name: str) -> Work:
    """Train a classifier once per seed, and test it."""
    section, (ratio, _, control) = _section(run), name.partition("_")
    cell = Cell(architecture, mixing, int(ratio), control)
    images = _real(run) * (cell.trains_on.real + cell.ratio)
    passes = BACKWARD * cell_epochs(section, cell, _real(run)) * images + run.images("class_test")
    seeds = len(section.recipe(architecture).seeds)
    return Work(seeds * passes * classifier_forward(architecture, run.classes, section.image_size))


def evaluate_filter(run: Run) -> Work:
    """Judge what was drawn, and filter real images."""
    section = _section(run)
    judged = _real(run) * section.max_ratio + run.images("class_test")
    forward = classifier_forward("resnet18", run.classes, run.config.data.image_size)
    return Work(judged * forward + run.images("class_test") * _scored(run, section.filter))


def measure_filter(run: Run, candidate: str) -> Work:
    """Ask a candidate, and the judge, about what was drawn; the candidate about real images, too."""
    drawn = _real(run) * _section(run).max_ratio
    scored = drawn + run.images(run.config.filters_split)
    forward = classifier_forward("resnet18", run.classes, run.config.data.image_size)
    return Work(drawn * forward + scored * _scored(run, _filter(run, (candidate,))))


def _scored(run: Run, settings: FilterConfig) -> float:
    return len(settings.timesteps) * run.networks.to_taps((settings.tap,))


JOBS: dict[str, Callable[..., Work]] = {
    "extract_class_features": extract_features,
    "train_class_filter": train_filter,
    "train_class_judge": train_judge,
    "train_generator": train_generator,
    "sample_classes": sample,
    "train_cell": train_cell,
    "evaluate_filter": evaluate_filter,
    "measure_class_filter": measure_filter,
}
