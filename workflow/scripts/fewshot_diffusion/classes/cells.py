"""The cells of Table 2, as data: architectures, mixing, ratios of generated images, and controls that the paper lacks.

A new control is one line of ``CONTROLS``.
"""

from dataclasses import dataclass
from typing import Literal

from ..config.classes import ArchitectureRecipe, ClassesConfig
from ..errors import ConfigError

Mixing = Literal["plain", "mixed"]
MIXING: tuple[Mixing, ...] = ("plain", "mixed")


@dataclass(frozen=True)
class Control:
    """What a cell trains on.

    Attributes:
        real: Whether the real images take part.
        generated: Whether generated images do, at the largest ratio.
        filtered: Whether these passed the filter.
        matched: Whether there are more epochs, so that the updates are at least those of the largest ratio.
    """

    real: bool = True
    generated: bool = True
    filtered: bool = True
    matched: bool = False


NO_CONTROL = "none"
CONTROLS = {
    "matched_updates": Control(generated=False, matched=True),
    "unfiltered": Control(filtered=False),
    "generated_only": Control(real=False),
}


@dataclass(frozen=True)
class Cell:
    """One cell of the table.

    Attributes:
        architecture: Of the classifier, torchvision's name.
        mixing: plain; or mixed, with Mixup or CutMix.
        ratio: Generated images per real one.
        control: In what it differs from the paper's cells, or none.

    Raises:
        ConfigError: If there is no such control.
    """

    architecture: str
    mixing: Mixing
    ratio: int
    control: str = NO_CONTROL

    def __post_init__(self) -> None:
        if self.control not in (NO_CONTROL, *CONTROLS):
            raise ConfigError(f"control: found {self.control!r}, expected one of {', '.join([NO_CONTROL, *CONTROLS])}.")

    @property
    def name(self) -> str:
        """Path of its files within the folder of the cells."""
        return f"{self.architecture}/{self.mixing}/{self.ratio}_{self.control}"

    @property
    def trains_on(self) -> Control:
        """What it trains on, beside its ratio."""
        return CONTROLS.get(self.control, Control())


def cells_of(settings: ClassesConfig, recipe: ArchitectureRecipe) -> list[Cell]:
    """Return the cells of an architecture: every ratio with and without mixing, then the controls without.

    Where all cells have as many updates, none is needed that matches them.
    """
    cells = [Cell(recipe.name, mixing, ratio) for mixing in MIXING for ratio in settings.generated_ratios]
    if recipe.controls:
        for name, control in CONTROLS.items():
            if not (control.matched and recipe.updates):
                cells.append(Cell(recipe.name, "plain", settings.max_ratio if control.generated else 0, name))
    return cells
