"""What generative baselines and the experiments that name them must agree on."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .attributes import AttributesConfig
    from .masks import MasksConfig
    from .model import Config


def attributes_baselines(config: "Config", attributes: "AttributesConfig") -> Iterator[str]:
    """Yield what is wrong with baselines of attributes: they have recipes, and candidates enough to choose from."""
    yield from _recipes(config, "attributes", attributes.baselines)
    if attributes.baselines and config.candidate_units < config.units_per_target:
        yield (
            f"baselines.candidate_units: found {config.candidate_units}, expected at least {config.units_per_target}: "
            "a classifier chooses the samples of a row from them"
        )


def masks_baselines(config: "Config", masks: "MasksConfig") -> Iterator[str]:
    """Yield what is wrong with baselines of masks: they have recipes."""
    yield from _recipes(config, "masks", masks.baselines)


def _recipes(config: "Config", experiment: str, names: Sequence[str]) -> Iterator[str]:
    """What a baseline generates is pixels of its own."""
    for name in names:
        if config.baselines is None or config.baselines.recipe(name) is None:
            yield f"baselines.{name}: found null, expected a recipe, since {experiment}.methods has {name}"
        elif config.data.image_size % (multiple := config.baselines.recipe(name).multiple):
            yield (
                f"baselines.{name}: found a recipe for multiples of {multiple} pixels, but data.image_size is "
                f"{config.data.image_size}: fewer numbers in block_out_channels halve images less often, or leave "
                f"{name} out of {experiment}.methods"
            )
    if names and not config.splits.get("train"):
        yield (
            f"data.splits.train: found 0, expected images: {experiment}.methods has baselines, which are trained on "
            "them"
        )
