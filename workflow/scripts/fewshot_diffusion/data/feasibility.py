"""Whether there are enough images for what is asked, counted in lists and names of files before the first job."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..config.attributes import AttributesConfig
from ..config.classes import ClassesConfig
from ..config.masks import MasksConfig
from ..config.model import Config
from ..errors import DataError
from .index import Row, SourceIndex


@dataclass(frozen=True)
class Shortfall:
    """Too few images of one kind in one split.

    Attributes:
        split: Which split.
        what: Of what kind they are.
        found: How many there are.
        needed: How many are asked for.
        key: Setting that asks for them; empty if none does: so many it must be.
    """

    split: str
    what: str
    found: int
    needed: int
    key: str = ""

    def __str__(self) -> str:
        asked = f"{self.key} takes {self.needed}" if self.key else f"at least {self.needed} are needed"
        return f"{self.split}: {self.found} {self.what}, {asked}"


def require_files(config: Config) -> None:
    """Stop unless all files are there that the configuration names, or the rules of downloads make them.

    Raises:
        DataError: Names each that is missing, and its key.
    """
    files = dict(config.data.files)
    if config.denoiser.source == "folder" and config.denoiser.folder:
        files["denoiser.folder"] = config.denoiser.folder / "config.json"
    if config.denoiser.source == "checkpoint" and config.denoiser.checkpoint:
        files["denoiser.checkpoint.file"] = config.denoiser.checkpoint.file
    if config.report.published:
        files["report.published"] = config.report.published
    for position, extractor in enumerate(config.evaluation.extractors):
        if extractor.weights and extractor.kind != "semantic":
            files[f"evaluation.extractors.{position}.weights"] = extractor.weights
    if missing := {key: path for key, path in files.items() if not (path.exists() or config.downloads.provides(path))}:
        here = "" if all(path.is_absolute() for path in missing.values()) else f" Paths begin in {Path.cwd()}."
        lines = [f"{key}: there is no {path}" for key, path in missing.items()]
        raise DataError("\n".join([f"Files that the configuration names are missing.{here}", *lines]))


def require_feasible(config: Config, index: SourceIndex, splits: Mapping[str, Sequence[Row]]) -> None:
    """Stop unless every split has what is asked of it.

    Raises:
        DataError: Names every shortfall, and the numbers that would fit.
    """
    found = list(shortfalls(config, Splits(index, splits)))
    if not found:
        return
    sizes = ", ".join(f"{split} {len(rows)}" for split, rows in splits.items())
    lines = [f"{index.path}: {len(index.rows)} images, shared out as {sizes}: too few for what is asked."]
    lines += [*index.remarks, *(f"  {shortfall}" for shortfall in found)]
    fits: dict[str, int] = {}
    for shortfall in found:
        fits[shortfall.key] = min(fits.get(shortfall.key, shortfall.found), shortfall.found)
    fitting = [f"{key}: {number}" for key, number in fits.items() if key and number >= MINIMA.get(key, 1)]
    if len(fitting) == len(fits):
        lines += ["These numbers would fit:", *(f"  {line}" for line in fitting)]
    else:
        lines += [*(["Of the numbers, these would fit:"] if fitting else []), *(f"  {line}" for line in fitting)]
        lines += [f"More images are needed as well, or other shares: {_split_keys(config)}."]
    raise DataError("\n".join(lines))


MINIMA = {"evaluation.samples": 2}
"""Settings that take no less than this; others take 1."""


def _split_keys(config: Config) -> str:
    own = [f"{name}.splits" for name in config.experiments]
    return "data.splits" if config.data.splits.auto else ", ".join(["data.splits", *own])


@dataclass(frozen=True)
class Splits:
    """The images of every split, counted by what they show."""

    index: SourceIndex
    rows: Mapping[str, Sequence[Row]]

    def size(self, split: str) -> int:
        """Return how many images a split has."""
        return len(self.rows.get(split, ()))

    def count(self, split: str, attribute: str, value: bool) -> int:
        """Return how many images of a split have an attribute, or have it not."""
        holders = self.index.attributes[attribute]
        return sum((row.name in holders) == value for row in self.rows.get(split, ()))

    def classes(self, split: str) -> dict[str, int]:
        """Return how many images of each class a split has."""
        found = Counter(row.label for row in self.rows.get(split, ()))
        return {name: found[name] for name in self.index.classes}


def shortfalls(config: Config, splits: Splits) -> Iterator[Shortfall]:
    """Yield every kind of images of which a split has too few."""
    if config.denoiser.source == "train":
        recipes = {"training": config.denoiser.training}
        recipes |= {f"refinements.{number}": recipe for number, recipe in enumerate(config.denoiser.refinements)}
        for key, recipe in recipes.items():
            yield from _of_size(splits, "train", recipe.batch_size, f"denoiser.{key}.batch_size")
    if config.attributes:
        yield from _attributes(config, config.attributes, splits)
    if config.masks:
        yield from _masks(config.masks, splits)
    if config.classes:
        yield from _classes(config.classes, splits)


def _of_size(splits: Splits, split: str, needed: int, key: str = "") -> Iterator[Shortfall]:
    if splits.size(split) < needed:
        yield Shortfall(split, "images", splits.size(split), needed, key)


def _attributes(config: Config, attributes: AttributesConfig, splits: Splits) -> Iterator[Shortfall]:
    for attribute in config.wanted_attributes:
        for value, key in ((True, "positive_shots"), (False, "negative_shots")):
            needed = getattr(attributes.head, key)
            yield from _of_class(splits, "shots", attribute, value, needed, f"attributes.head.{key}")
            for judge in ("judge", "tuning_judge"):
                yield from _of_class(splits, judge, attribute, value, 1)
    for target in attributes.targets:
        wanted = (target.attribute, target.value)
        yield from _of_class(splits, "controls", *wanted, config.evaluation.samples, "evaluation.samples")
        yield from _of_class(splits, "reference", *wanted, 2)


def _of_class(
    splits: Splits, split: str, attribute: str, value: bool, needed: int, key: str = ""
) -> Iterator[Shortfall]:
    found = splits.count(split, attribute, value)
    if found < needed:
        yield Shortfall(split, f"{'with' if value else 'without'} {attribute}", found, needed, key)


def _masks(masks: MasksConfig, splits: Splits) -> Iterator[Shortfall]:
    for key in ("shots_curve", "controlnet_curve"):
        yield from _of_size(splits, "pairs", max([0, *getattr(masks, key)]), f"masks.{key}")
    yield from _of_size(splits, "pairs", masks.shots, "masks.shots")
    yield from _of_size(splits, "controls", masks.masks, "masks.masks")
    yield from _of_size(splits, "reference", masks.sweep.masks, "masks.sweep.masks")
    for judge in ("judge", "tuning_judge"):
        yield from _of_size(splits, judge, 1)


def _classes(classes: ClassesConfig, splits: Splits) -> Iterator[Shortfall]:
    for name, found in splits.classes("class_train").items():
        if found < classes.train_per_class:
            yield Shortfall("class_train", f"of {name}", found, classes.train_per_class, "classes.train_per_class")
    for split in ("judge", "class_test"):
        for name, found in splits.classes(split).items():
            if not found:
                yield Shortfall(split, f"of {name}", found, 1)
