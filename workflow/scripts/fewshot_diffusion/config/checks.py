"""What sections must agree on, and what would fail in Snakemake or matplotlib: every problem begins with its key."""

import json
import math
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, get_args

from pydantic import BaseModel
from pydantic_core import to_json

from .base import Mode

if TYPE_CHECKING:
    from .model import Config

Place = tuple[int | str, ...]

MAX_SHARDS = 1000
"""Jobs of one set, at most: Snakemake plans the whole DAG of 1,000 in half a minute, that of 10,000 in over seven."""

_PLAIN_KEY = re.compile(r"[\w-]+|\[key\]")  # [key]: where pydantic means a key, not its value


def dotted(place: Place) -> str:
    """Return a key as it is written in messages; a part that is no plain word stands in quotes."""
    return ".".join(str(part) if _PLAIN_KEY.fullmatch(str(part)) else repr(part) for part in place)


def problems_of(config: "Config") -> Iterator[str]:
    """Yield everything that is wrong with sections that are valid by themselves: ``key: found, expected``."""
    for check in (_name, _targets, _seeds, _masks, _classes, _samples, _shards, _outputs, _values, _formulas):
        yield from check(config)


def _name(config: "Config") -> Iterator[str]:
    if config.data.name in ("tables", "figures"):
        yield f"data.name: found {config.data.name!r}, which is the folder of all data sets' {config.data.name}"


def _targets(config: "Config") -> Iterator[str]:
    names = [target.name for target in config.targets]
    if len(set(names)) != len(names):
        yield f"targets: found the names {names}, expected each once"
    for position, target in enumerate(config.targets):
        if target.attribute not in config.data.attributes:
            yield (
                f"targets.{position}.attribute: {target.attribute!r} is not an attribute of the data set; "
                f"expected one of {', '.join(config.data.attributes)}"
            )


def _seeds(config: "Config") -> Iterator[str]:
    sampling = config.sampling
    drawn = sampling.unit_size * max(sampling.units_per_target, sampling.units_unguided)
    reported = sampling.first_seed + max(drawn, config.segmentation.masks * config.segmentation.seeds_per_mask)
    if config.tuning.first_seed < reported:
        yield f"tuning.first_seed: {config.tuning.first_seed} overlaps the reported seeds; expected at least {reported}"


def _masks(config: "Config") -> Iterator[str]:
    wanted, splits = config.segmentation, config.data.splits
    if not config.data.mask_classes:
        return
    pairs = max([wanted.shots, *wanted.shots_curve, *wanted.controlnet_curve])
    for key, number, split in (
        ("masks", wanted.masks, "controls"),
        ("tuning_masks", wanted.tuning_masks, "reference"),
        ("shots", pairs, "pairs"),
    ):
        if number > (found := getattr(splits, split)):
            yield f"segmentation.{key}: {number} are asked for, data.splits.{split} has {found} images"
    seed, masks = config.sampling.first_seed, wanted.masks
    if seed % masks:
        yield (
            f"sampling.first_seed: {seed} shows mask {seed % masks} first; expected a multiple of segmentation.masks "
            f"({masks})"
        )
    highest = max((class_id for pair in wanted.head.flip_pairs for class_id in pair), default=0)
    if highest >= (classes := len(config.data.mask_classes)):
        yield f"segmentation.head.flip_pairs: found class id {highest}, expected 0..{classes - 1}"


def _classes(config: "Config") -> Iterator[str]:
    for split in ("class_train", "class_test"):
        if config.data.has_classes and not getattr(config.data.splits, split):
            yield f"data.splits.{split}: found 0, expected images: the data set has classes"


def _samples(config: "Config") -> Iterator[str]:
    judged, drawn = config.evaluation.samples, config.sampling.units_per_target * config.sampling.unit_size
    if judged > drawn:
        yield (
            f"evaluation.samples: {judged} images are judged but sampling draws {drawn}; "
            "raise sampling.units_per_target"
        )


def _shards(config: "Config") -> Iterator[str]:
    """A job without a work unit, or without a class, has nothing to do."""
    sampling, classes = config.sampling, config.classification
    images = config.data.splits.class_train if config.data.has_classes else 0
    most = images // classes.train_per_class or math.inf  # with too few images of even one class, a job says so
    of_classes = (
        f"the classes; more than data.splits.class_train ({images}) / classification.train_per_class "
        f"({classes.train_per_class}) there cannot be"
    )
    for key, found, bound, shared in (
        ("sampling.shards_per_target", sampling.shards_per_target, sampling.units_per_target,
            "sampling.units_per_target"),
        ("sampling.shards_unguided", sampling.shards_unguided, sampling.units_unguided, "sampling.units_unguided"),
        ("classification.sampling.shards", classes.sampling.shards, most, of_classes),
    ):  # fmt: skip
        if found > min(bound, MAX_SHARDS):
            why = f"the jobs share {shared}" if bound <= MAX_SHARDS else "Snakemake plans every job"
            yield f"{key}: found {found}, expected 1..{min(bound, MAX_SHARDS)}: {why}"


def _outputs(config: "Config") -> Iterator[str]:
    """Two keys that name one file: tables lie in one folder, figures in another, some with names that are derived."""
    names = config.outputs.model_dump()
    suffixes = {"sheet_prefix": [f"_{mode}" for mode in ("unguided", *get_args(Mode))],
        "segmentation_figure": ["", "_shots"]}  # fmt: skip
    writer: dict[str, str] = {}
    for key in (key for key in names if key.endswith(("_table", "_figure", "_prefix"))):
        for suffix in suffixes.get(key, [""]):
            file = f"tables/{names[key]}.csv" if key.endswith("_table") else f"figures/{names[key]}{suffix}.png"
            first = writer.setdefault(file, key)
            if first != key:
                found = " and ".join(dict.fromkeys([repr(names[first]), repr(names[key])]))
                yield f"outputs.{first}, outputs.{key}: found {found}, expected two files: both write results/{file}"


def _values(config: "Config") -> Iterator[str]:
    """Parameters of rules are sections as JSON, texts and paths; Snakemake looks for wildcards in all of them."""
    if beyond := list(_beyond_json(config)):
        yield from (f"{dotted(place)}: found {value!r}, expected what JSON can hold" for place, value in beyond)
        return
    for place, text in _texts(json.loads(config.model_dump_json())):
        if set("{}\0") & set(text):
            yield f"{dotted(place)}: found {text!r}, expected no {{, }} (wildcards of Snakemake) or null character"


def _beyond_json(node: Any, place: Place = (), within: tuple[Any, ...] = ()) -> Iterator[tuple[Place, Any]]:
    """Yield the innermost values that are no JSON, and where they stand: bytes, half characters, loops of anchors."""
    for key, value in _items(node):
        try:
            to_json({key: value})
        except ValueError:
            inner = (*place, key)
            looped = any(value is outer for outer in within)
            yield from ([] if looped else list(_beyond_json(value, inner, (*within, value)))) or [(inner, value)]


def _texts(node: Any, place: Place = ()) -> Iterator[tuple[Place, str]]:
    """Yield every text of a tree, keys too, and where it stands."""
    if isinstance(node, str):
        yield place, node
    for key, value in _items(node):
        if isinstance(key, str):
            yield (*place, key), key
        yield from _texts(value, (*place, key))


def _items(node: Any) -> Iterable[tuple[Any, Any]]:
    if isinstance(node, BaseModel | dict):
        return dict(node).items()
    return enumerate(node) if isinstance(node, list | tuple) else ()


def _formulas(config: "Config") -> Iterator[str]:
    for position, target in enumerate(config.targets):
        if target.label.count("$") > 1:
            yield (
                f"targets.{position}.label: found {target.label!r}, expected at most one $: "
                "figures would read a formula between two"
            )
