"""Whatever stands in a configuration file: it is accepted or refused by name, nothing else happens."""

import copy
import datetime
import gc
import re
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from fewshot_diffusion.config.base import Section
from fewshot_diffusion.config.checks import dotted
from fewshot_diffusion.config.evaluation import OutputsConfig
from fewshot_diffusion.config.model import Config, load_config
from fewshot_diffusion.errors import ConfigError

DEFAULT = yaml.safe_load((Path(__file__).resolve().parents[2] / "config" / "config.yaml").read_text())
KEYS = st.one_of(st.text(max_size=8), st.integers(-2, 20), st.none(), st.booleans())
# Everything that a YAML file can hold.
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([0, 1, -1, 7, 8, 1000, 10**30]),
    st.floats(),
    st.text(max_size=12),
    st.sampled_from(["train", "auto", "Blond", "celebahq", "1e-3", "true", "../x", "a\n", ""]),
    st.binary(max_size=4),
    st.dates(datetime.date(1990, 1, 1)),
    st.datetimes(),
)
JUNK = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=6
)


def places(node: Any) -> list[tuple[Any, Any]]:
    """Return (container, key) of everything in a tree."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    found = []
    for key, value in items:
        found += [(node, key), *places(value)]
    return found


Place = tuple[str | int, ...]
TABLES = [key for key in OutputsConfig.model_fields if key.endswith("_table")]
FIGURES = [key for key in OutputsConfig.model_fields if key.endswith("_figure")]
SHARDS = {
    ("sampling", "shards_per_target"): 4,
    ("sampling", "shards_unguided"): 24,
    ("classification", "sampling", "shards"): 60,
}
"""Where, and the largest number of jobs that the default allows."""


@dataclass(frozen=True)
class Damaged:
    """A configuration with mistakes: of what kind, and where, if the kind says where."""

    kind: str
    raw: dict[str, Any]
    mistakes: tuple[Place, ...] = ()


def default() -> dict[str, Any]:
    return copy.deepcopy(DEFAULT)  # type: ignore[no-any-return]


def place_of(raw: Any, place: Place) -> Any:
    return reduce(lambda node, key: node[key], place, raw)


@st.composite
def anything(draw: st.DrawFn) -> Damaged:
    """Return the default configuration with up to three values replaced, added or removed."""
    raw = default()
    for _ in range(draw(st.integers(1, 3))):
        found = places(raw)
        assume(found)
        container, key = found[draw(st.integers(0, len(found) - 1))]
        change = draw(st.sampled_from(["replace", "replace", "add", "remove"]))
        if change == "replace":
            container[key] = draw(JUNK)
        elif change == "remove":
            del container[key]
        elif isinstance(container, dict):
            container[draw(KEYS)] = draw(JUNK)
        else:
            container.insert(key, draw(JUNK))
    return Damaged("anything", raw)


@st.composite
def too_many_shards(draw: st.DrawFn) -> Damaged:
    raw = default()
    place = draw(st.sampled_from(sorted(SHARDS)))
    place_of(raw, place[:-1])[place[-1]] = draw(st.integers(SHARDS[place] + 1, 10**12))
    return Damaged("shards", raw, (place,))


@st.composite
def equal_outputs(draw: st.DrawFn) -> Damaged:
    raw = default()
    name = draw(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,19}", fullmatch=True))
    pairs = [(one, other, "") for keys in (TABLES, FIGURES) for one, other in permutations(keys, 2)]
    pairs += [("segmentation_figure", other, "_shots") for other in FIGURES if other != "segmentation_figure"]
    pairs += [("sheet_prefix", other, suffix) for other in FIGURES for suffix in ("_unguided", "_exact", "_readout")]
    one, other, suffix = draw(st.sampled_from(pairs))
    raw["outputs"] |= {one: name, other: name + suffix}
    return Damaged("outputs", raw, (("outputs", one), ("outputs", other)))


@st.composite
def braces(draw: st.DrawFn) -> Damaged:
    raw = default()
    place = draw(st.sampled_from(TEXTS))
    bad = draw(st.sampled_from(["{", "}", "{data}", "{{x}}", "{input[0]}", "\0"]))
    text = str(place_of(raw, place))
    at = draw(st.integers(0, len(text)))
    place_of(raw, place[:-1])[place[-1]] = text[:at] + bad + text[at:]
    return Damaged("braces", raw, (place,))


@st.composite
def dollars(draw: st.DrawFn) -> Damaged:
    raw = default()
    position = draw(st.integers(0, len(raw["targets"]) - 1))
    parts = draw(st.lists(st.text(max_size=8), min_size=3, max_size=4))
    raw["targets"][position]["label"] = "$".join(parts)
    return Damaged("dollars", raw, (("targets", position, "label"),))


def texts(node: Any, place: Place = ()) -> Iterator[Place]:
    """Yield where each text of a tree stands."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        yield from [(*place, key)] if isinstance(value, str) else texts(value, (*place, key))


TEXTS = list(texts(DEFAULT))


def differences(before: Any, after: Any, place: Place = ()) -> Iterator[Place]:
    """Yield the keys at which two trees differ; of an emptied mapping or a list of another length, its own."""
    if isinstance(before, dict) and isinstance(after, dict) and after:
        for key in before.keys() | after.keys():
            if key in before and key in after:
                yield from differences(before[key], after[key], (*place, key))
            else:
                yield (*place, int(key) if isinstance(key, bool) else key)  # as pydantic names it
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for position, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from differences(one, other, (*place, position))
    elif type(before) is not type(after) or before != after:
        yield place


# Keys that are named where another one may be the mistake: what the two must agree on.
RELATED = {
    r"data": r"data\.(kind|avatars)",
    r"targets\.\d+\.attribute": r"data\.avatars\.attributes\b.*",
    r"denoiser\.folder": r"denoiser\.source",
    r"sampling\.first_seed": r"segmentation\.masks",
    r"sampling\.shards_per_target": r"sampling\.units_per_target",
    r"sampling\.shards_unguided": r"sampling\.units_unguided",
    r"tuning\.first_seed": r"sampling\.(unit_size|units_\w+|first_seed)|segmentation\.(masks|seeds_per_mask)",
    r"evaluation\.samples": r"sampling\.(unit_size|units_per_target)",
    r"evaluation\.extractors\.\d+\.(weights|sha256)": r"evaluation\.extractors\.\d+\.kind",
    r"segmentation\.masks": r"data\.splits\.controls",
    r"segmentation\.tuning_masks": r"data\.splits\.reference",
    r"segmentation\.shots": r"data\.splits\.pairs|segmentation\.(shots|controlnet)_curve\b.*",
    r"segmentation\.preset": r"segmentation\.presets\..+",
    r"segmentation\.head\.flip_pairs": r"data\.avatars\.parts\..+",
    r"classification\.rejection\.max_attempts":
        r"classification\.(train_per_class|generated_ratios|sampling\.unit_size)\b.*",
    r"classification\.sampling\.shards": r"data\.splits\.class_train|classification\.train_per_class",
}  # fmt: skip


def is_about(named: str, change: Place) -> bool:
    """Return whether a key is that of a change, below it, the list that it is in, or one that must agree with it."""
    key = dotted(change)
    lists = [dotted(change[:depth]) for depth, part in enumerate(change) if isinstance(part, int)]
    related = [pattern for name, pattern in RELATED.items() if re.fullmatch(name, named)]
    return (
        named == key
        or named.startswith(f"{key}.")
        or named in lists
        or any(re.fullmatch(pattern, key) for pattern in related)
    )


def named_keys(problem: str) -> list[str]:
    """Return the keys before the first colon that is not within the quotes of an odd key."""
    part = r"""(?:[\w-]+|\[key\]|'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")"""
    found = re.match(rf"({part}(?:\.{part})*(?:, {part}(?:\.{part})*)*): ", problem)
    assert found, problem
    return found[1].split(", ")


def timed_load(raw: dict[str, Any], seconds: list[float]) -> Config:
    """Load a configuration, without the collection of other tests' garbage, and note how long it took."""
    gc.disable()
    started = time.perf_counter()
    try:
        return load_config(raw)
    finally:
        seconds.append(time.perf_counter() - started)
        gc.enable()


def accepted(case: Damaged, seconds: list[float]) -> bool:
    """Return whether a configuration is accepted; it must be whole, or be refused by the key of every mistake."""
    try:
        config = timed_load(case.raw, seconds)
    except ConfigError as error:
        first, *problems = str(error).split("\n  ")
        assert first == "The configuration is not valid:"
        changes = list(differences(DEFAULT, case.raw))
        named = [key for problem in problems for key in named_keys(problem)]
        for problem in problems:
            assert any(is_about(key, change) for key in named_keys(problem) for change in changes), problem
        for mistake in case.mistakes:
            assert dotted(mistake) in named, str(error)
        return False
    assert not case.mistakes, case
    assert config.data.attributes
    assert type(config.data).model_validate_json(config.data.model_dump_json())  # not equal: JSON has fewer types
    for name in set(Config.model_fields) - {"data", "targets"}:  # rules pass these to scripts as JSON
        section = getattr(config, name)
        assert type(section).model_validate_json(section.model_dump_json()) == section
    assert {target.attribute for target in config.targets} <= set(config.data.attributes)
    return True


def test_any_configuration_is_accepted_or_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    seconds: list[float] = []
    refused: Counter[str] = Counter()
    generated: Counter[str] = Counter()

    @settings(
        max_examples=2600, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
    )
    @given(st.one_of(anything(), anything(), too_many_shards(), equal_outputs(), braces(), dollars()))
    def check(case: Damaged) -> None:
        generated[case.kind] += 1
        refused[case.kind] += not accepted(case, seconds)

    check()
    print(
        f"{generated.total()} generated, {refused.total()} refused, slowest {1000 * max(seconds):.0f} ms;"
        f" refused of each kind: {', '.join(f'{refused[kind]} of {generated[kind]} {kind}' for kind in generated)}"
    )
    assert generated.total() >= 2000
    assert refused["anything"] > 1000
    assert all(refused[kind] > 100 for kind in ("shards", "outputs", "braces", "dollars"))
    assert max(seconds) < 1
    assert not list(tmp_path.iterdir()), "no file is written"


def bounds_of(model: type[Section], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str, float]]:
    """Yield (keys, allowed range in words, a value beyond it) of every number with a bound."""
    kinds = {"gt": ("greater than", 0), "ge": ("greater than or equal to", -1), "lt": ("less than", 0),
        "le": ("less than or equal to", 1)}  # fmt: skip
    for name, field in model.model_fields.items():
        for rule in field.metadata:
            for kind, (words, step) in kinds.items():
                if (limit := getattr(rule, kind, None)) is not None:
                    yield (*path, name), f"{words} {limit:g}", limit + step * (8 if name == "image_size" else 1)
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            yield from bounds_of(field.annotation, (*path, name))


def test_every_number_out_of_range_is_refused_with_its_range() -> None:
    bounds = list(bounds_of(Config))
    assert len(bounds) > 60
    for keys, words, value in bounds:
        raw = default()
        place = raw
        for key in keys[:-1]:
            place = place.setdefault(key, {})
        place[keys[-1]] = value
        with pytest.raises(ConfigError) as caught:
            load_config(raw)
        said = [line for line in str(caught.value).splitlines() if line.startswith(f"  {'.'.join(keys)}: ")]
        assert any(f"{words} (found" in line for line in said), f"{keys}, {words}: {caught.value}"


@settings(max_examples=60, deadline=None)
@given(JUNK)
def test_junk_instead_of_a_configuration(raw: Any) -> None:
    try:
        load_config(raw)
    except ConfigError as error:
        assert "not valid" in str(error)
    else:
        raise AssertionError("junk was accepted")


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(sorted(Config.model_fields)), st.text(st.characters(codec="ascii", categories=["L"]), min_size=4)
)
def test_an_unknown_key_in_any_section_is_named(section: str, key: str) -> None:
    raw = default()
    place = raw[section][0] if section == "targets" else raw[section]
    place["x" + key] = 1  # no key of ours starts with x
    try:
        load_config(raw)
    except ConfigError as error:
        assert f".x{key}: Extra inputs" in str(error)
    else:
        raise AssertionError(f"{section}.x{key} was accepted")
