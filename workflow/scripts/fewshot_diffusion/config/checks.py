"""What sections must agree on, and what would fail in Snakemake or matplotlib: every problem begins with its key."""

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, TypeAdapter

from ..data.avatar_options import option_problems
from .baseline_checks import attributes_baselines, masks_baselines

if TYPE_CHECKING:
    from .attributes import AttributesConfig
    from .classes import ClassesConfig
    from .masks import MasksConfig
    from .model import Config

Place = tuple[int | str, ...]

MAX_SHARDS = 1000
"""Jobs of one set, at most: Snakemake plans the whole DAG of 1,000 in half a minute, that of 10,000 in over seven."""

_JSON = TypeAdapter(Any)
_TIMESTEPS = {"feature_timestep", "readout_timesteps", "guidance_interval", "timesteps"}

_PLAIN_KEY = re.compile(r"[\w-]+|\[key\]")  # [key]: where pydantic means a key, not its value


def dotted(place: Place) -> str:
    """Return a key as it is written in messages; a part that is no plain word stands in quotes."""
    return ".".join(str(part) if _PLAIN_KEY.fullmatch(str(part)) else repr(part) for part in place)


def problems_of(config: "Config") -> Iterator[str]:
    """Yield everything that is wrong with sections that are valid by themselves: ``key: found, expected``."""
    yield from _data(config)
    yield from _latent(config)
    yield from _timesteps(config)
    yield from _values(config)
    for name in config.experiments:
        for check in CHECKS[name]:
            yield from check(config, getattr(config, name))


def _data(config: "Config") -> Iterator[str]:
    name = config.data.name
    if name in ("tables", "figures"):
        yield f"data.name: found {name!r}, which is the folder of all data sets' {name}"
    if config.data.kind == "avatars" and config.data.avatars:
        yield from option_problems(config.data.avatars)
    if config.denoiser.source == "train" and not config.splits.get("train"):
        yield "data.splits.train: found 0, expected images, since denoiser.source is train"
    if config.data.splits.reference_of_all and config.masks:
        yield (
            "data.splits.reference_of_all: found true, expected false with an experiment masks: its sweep wants masks "
            "of the split reference, which no head has seen"
        )
    yield from _semantic(config)
    for position, one in enumerate(config.evaluation.extractors):
        artefact = config.downloads.provides(one.weights) if one.weights else None
        digest = config.downloads.artefacts[artefact].sha256 if artefact else None
        if digest and one.sha256 != digest:
            yield (
                f"evaluation.extractors.{position}.sha256: found {one.sha256}, expected {digest}, as "
                f"downloads.artefacts.{artefact} has it"
            )


def _semantic(config: "Config") -> Iterator[str]:
    for position, one in enumerate(config.evaluation.extractors):
        key = f"evaluation.extractors.{position}"
        if one.kind == "semantic" and config.data.kind != "avatars":
            yield (
                f"{key}.kind: found semantic, expected another with data.kind {config.data.kind}: its network learns "
                "to name the options of avatars, which other images do not have"
            )
        elif one.kind == "semantic" and (one.sha256 or one.weights not in (None, config.semantic_folder)):
            yield f"{key}.weights, {key}.sha256: found a file for semantic, expected none: a rule trains its network"
        elif one.kind == "semantic" and (lacking := {"judge", "controls"} - config.splits.keys()):
            yield f"{key}.kind: found semantic and no images of data.splits.{min(lacking)}, which its network needs"


def _latent(config: "Config") -> Iterator[str]:
    latent = config.denoiser.latent
    if latent is None:
        return
    if config.sampling.clip_sample:
        yield "sampling.clip_sample: found true, expected false: denoiser.latent draws latents, which are not in -1..1"
    for name, preset in config.masks.presets.items() if config.masks else ():
        if preset.clip_sample:
            yield f"masks.presets.{name}.clip_sample: found true, expected false: latents are not in -1..1"
    if config.classes:
        yield "classes: found a section, expected null: it fine-tunes denoisers of pixels alone"
    if latent.source != "train" or latent.model is None:
        return
    if config.data.kind != "avatars" or not config.splits.get("train"):
        yield "denoiser.latent.source: found train, expected data.kind avatars and images in data.splits.train"
    reduction = latent.model.autoencoder.reduction
    smallest = reduction * 2 ** (len(latent.model.unet.block_out_channels) - 1)
    if config.data.image_size % smallest:
        yield f"data.image_size: found {config.data.image_size}, expected a multiple of {smallest}: networks halve it"


def _timesteps(config: "Config") -> Iterator[str]:
    """Timesteps are those of the denoiser's own schedule, and so are the steps of sampling."""
    most = config.denoiser.schedule.num_train_timesteps
    for name in ("sampling", *config.experiments):
        for place, value in _numbers(json.loads(getattr(config, name).model_dump_json()), (name,)):
            step = next((key for key in reversed(place) if isinstance(key, str)), "")
            if step in _TIMESTEPS and value >= most:
                yield (
                    f"{dotted(place)}: found {value:g}, expected at most {most - 1}, the last timestep of "
                    f"denoiser.schedule.num_train_timesteps ({most})"
                )
            if step == "num_inference_steps" and value > most:
                yield f"{dotted(place)}: found {value:g}, expected 1 to {most} (denoiser.schedule.num_train_timesteps)"


def _numbers(value: Any, place: Place) -> Iterator[tuple[Place, float]]:
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _numbers(inner, (*place, key))
    elif isinstance(value, int | float):
        yield place, value


def _splits(needed: Sequence[str]) -> "Check":
    def check(config: "Config", _section: Any) -> Iterator[str]:
        for split in needed:
            if not config.splits.get(split):
                yield f"data.splits.{split}: found 0, expected images"

    return check


def _targets(config: "Config", attributes: "AttributesConfig") -> Iterator[str]:
    known = config.data.attributes
    for position, target in enumerate(attributes.targets):
        if known is not None and target.attribute not in known:
            yield (
                f"attributes.targets.{position}.attribute: {target.attribute!r} is not an attribute of the data set; "
                f"expected one of {', '.join(known)}"
            )
        if target.label.count("$") > 1:
            yield (
                f"attributes.targets.{position}.label: found {target.label!r}, expected at most one $: "
                "figures would read a formula between two"
            )


def _labels(_config: "Config", attributes: "AttributesConfig") -> Iterator[str]:
    labels = [target.label for target in attributes.targets]
    if len(set(labels)) != len(labels):
        yield f"attributes.targets: found the labels {labels}, expected each once: rows of tables are known by them"


def _sets(config: "Config", attributes: "AttributesConfig") -> Iterator[str]:
    sets, unit_size, first = attributes.sets, config.sampling.unit_size, config.sampling.first_seed
    units = {"per_target": config.units_per_target, "unguided": config.units_unguided}
    reported = first + unit_size * max(units.values())
    if attributes.sweep.first_seed < reported:
        yield (
            f"attributes.sweep.first_seed: {attributes.sweep.first_seed} overlaps the reported seeds; "
            f"expected at least {reported}"
        )
    if config.evaluation.samples > (drawn := config.units_per_target * unit_size):
        yield (
            f"evaluation.samples: {config.evaluation.samples} images are judged but sampling draws {drawn}; "
            "raise attributes.sets.units_per_target"
        )
    for kind, most in units.items():
        yield from _shards(f"attributes.sets.shards_{kind}", getattr(sets, f"shards_{kind}"), most, "the work units")


def _shares(config: "Config", attributes: "AttributesConfig") -> Iterator[str]:
    """A share is of those with the attribute, in a work unit that is drawn at once."""
    for position, target in enumerate(attributes.targets):
        if target.share is not None and not target.value:
            yield (
                f"attributes.targets.{position}.share: found {target.share:g}, expected null where value is false; "
                f"in the row whose value is true, {1 - target.share:g}"
            )
    together = config.sampling.micro_batch or config.sampling.unit_size
    if attributes.with_share and together < config.sampling.unit_size:
        yield (
            f"sampling.micro_batch: found {together}, expected null: attributes.targets has a share, and a work unit "
            "has it that is drawn at once"
        )


def _shards(key: str, found: int, most: float, shared: str) -> Iterator[str]:
    """A job without a work unit, or without a class, has nothing to do."""
    if found > min(most, MAX_SHARDS):
        why = f"the jobs share {shared}" if most <= MAX_SHARDS else "Snakemake plans every job"
        yield f"{key}: found {found}, expected 1..{min(most, MAX_SHARDS)}: {why}"


def _masks(config: "Config", masks: "MasksConfig") -> Iterator[str]:
    classes = config.data.mask_classes
    if not classes:
        yield f"masks: found a section, expected null: data.kind {config.data.kind} has no masks"
        return
    pairs = max([masks.shots, *masks.shots_curve, *masks.controlnet_curve])
    sizes = config.splits
    for key, number, split in (
        ("masks", masks.masks, "controls"), ("sweep.masks", masks.sweep.masks, "reference"), ("shots", pairs, "pairs"),
    ):  # fmt: skip
        if config.data.is_drawn and number > sizes.get(split, 0):  # of others the images themselves are counted
            yield f"masks.{key}: {number} are asked for, the split {split} has {sizes.get(split, 0)} images"
    highest = max((class_id for pair in masks.head.flip_pairs for class_id in pair), default=0)
    if highest >= len(classes):
        yield f"masks.head.flip_pairs: found class id {highest}, expected 0..{len(classes) - 1}"


def _mask_seeds(config: "Config", masks: "MasksConfig") -> Iterator[str]:
    first = config.sampling.first_seed
    if first % masks.masks:
        yield (
            f"sampling.first_seed: {first} shows mask {first % masks.masks} first; expected a multiple of masks.masks "
            f"({masks.masks})"
        )
    reported = first + masks.masks * masks.seeds_per_mask
    if masks.sweep.first_seed < reported:
        yield (
            f"masks.sweep.first_seed: {masks.sweep.first_seed} overlaps the reported seeds; "
            f"expected at least {reported}"
        )


def _classes(config: "Config", classes: "ClassesConfig") -> Iterator[str]:
    if not config.data.has_classes:
        yield f"classes: found a section, expected null: data.kind {config.data.kind} has no classes as configured"
        return
    # With too few images of even one class, a job says so.
    most = math.inf if config.data.splits.auto else classes.splits.class_train // classes.train_per_class or math.inf
    shared = (
        f"the classes; more than classes.splits.class_train ({classes.splits.class_train}) / classes.train_per_class "
        f"({classes.train_per_class}) there cannot be"
    )
    yield from _shards("classes.sampling.shards", classes.sampling.shards, most, shared)


Check = Callable[["Config", Any], Iterator[str]]
CHECKS: dict[str, tuple[Check, ...]] = {
    "attributes": (
        _splits(("judge", "tuning_judge", "controls", "reference")),
        _targets,
        _labels,
        _sets,
        attributes_baselines,
        _shares,
    ),
    "masks": (_splits(("judge", "tuning_judge", "controls", "reference")), _masks, _mask_seeds, masks_baselines),
    "classes": (_splits(("judge",)), _classes),
}


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
            _JSON.dump_json({key: value})
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
