"""Whatever stands in a configuration file: it is accepted or refused by name, nothing else happens."""

import copy
import datetime
import gc
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin

import pytest
import yaml
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from fewshot_diffusion.config.base import Section
from fewshot_diffusion.config.checks import dotted
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
Place = tuple[str | int, ...]


@dataclass(frozen=True)
class Damaged:
    """A configuration with mistakes, and where they are, if that is known."""

    raw: dict[str, Any]
    mistakes: tuple[Place, ...] = ()


def default() -> dict[str, Any]:
    return copy.deepcopy(DEFAULT)  # type: ignore[no-any-return]


def children(node: Any) -> list[tuple[Any, Any]]:
    return list(node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ())


def places(node: Any) -> list[tuple[Any, Any]]:
    """Return (container, key) of everything in a tree."""
    return [found for key, value in children(node) for found in [(node, key), *places(value)]]


def texts(node: Any, place: Place = ()) -> Iterator[Place]:
    """Yield where each text of a tree stands."""
    for key, value in children(node):
        yield from [(*place, key)] if isinstance(value, str) else texts(value, (*place, key))


def value_at(place: Place, raw: Any = DEFAULT) -> Any:
    """Return what stands at a place; None if nothing does."""
    return reduce(lambda node, key: node.get(key) if isinstance(node, dict) else node[key], place, raw)


def put(raw: Any, place: Place, value: object) -> None:
    value_at(place[:-1], raw)[place[-1]] = value


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
    return Damaged(raw)


@st.composite
def without_experiments(draw: st.DrawFn) -> Damaged:
    """Return a configuration of some experiments: it is valid, or one of the others has a mistake."""
    raw = default()
    names = draw(st.sets(st.sampled_from(["attributes", "masks", "classes"])))
    raw |= dict.fromkeys(sorted(names))
    if draw(st.booleans()):
        return Damaged(raw)
    put(raw, ("sampling", "eta"), draw(st.floats(1.01, 1e9)))
    return Damaged(raw, (("sampling", "eta"),))


def named_keys(problem: str) -> list[str]:
    """Return the keys before the first colon that is not within the quotes of an odd key."""
    part = r"""(?:[\w-]+|\[key\]|'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")"""
    found = re.match(rf"({part}(?:\.{part})*(?:, {part}(?:\.{part})*)*): ", problem)
    assert found, problem
    return found[1].split(", ")


def timed_load(raw: dict[str, Any], seconds: list[float]) -> Config:
    """Load a configuration, without the collection of other tests' garbage, and note how long it took."""
    gc.disable()
    started = time.process_time()
    try:
        return load_config(raw)
    finally:
        seconds.append(time.process_time() - started)
        gc.enable()


def require_names(case: Damaged, message: str) -> None:
    """Every problem begins with keys, and every mistake is among them."""
    first, *problems = message.split("\n  ")
    assert first == "The configuration is not valid:"
    named = {key for problem in problems for key in named_keys(problem)}
    assert {dotted(mistake) for mistake in case.mistakes} <= named, message


def accepted(case: Damaged, seconds: list[float]) -> bool:
    """Return whether a configuration is accepted; it must be whole, or be refused by the key of every mistake."""
    try:
        config = timed_load(case.raw, seconds)
    except ConfigError as error:
        require_names(case, str(error))
        return False
    assert not case.mistakes, case
    dataset = config.data.dataset(config.judged_together)
    assert dataset.model_validate_json(dataset.model_dump_json())
    for name in ("denoiser", "sampling", "evaluation", "report", *config.experiments):  # rules pass these as JSON
        section = getattr(config, name)
        assert type(section).model_validate_json(section.model_dump_json()) == section
    assert sum(len(config.split_range(split)) for split in config.splits) == sum(config.splits.values())
    return True


@pytest.mark.slow
def test_any_configuration_is_accepted_or_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    seconds: list[float] = []
    refused: list[bool] = []

    @settings(
        max_examples=2600, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
    )
    @given(st.one_of(anything(), anything(), without_experiments()))
    def check(case: Damaged) -> None:
        refused.append(not accepted(case, seconds))

    check()
    print(f"{len(refused)} generated, {sum(refused)} refused, slowest {1000 * max(seconds):.0f} ms")
    assert len(refused) >= 2000
    assert 1000 < sum(refused) < len(refused)
    assert not list(tmp_path.iterdir()), "no file is written"


@pytest.mark.parametrize("bad", ["{data}", "a{", "}", "\0"])
def test_braces_are_refused_wherever_a_text_stands(bad: str) -> None:
    """Snakemake would fill them in; where only some words may stand, those are named instead."""
    said = ""
    for place in [found for found in texts(DEFAULT) if found[-1] != "attribute"]:  # which becomes a plain name
        raw = default()
        put(raw, place, f"{value_at(place)}{bad}")
        with pytest.raises(ConfigError, match=rf"\n  {re.escape(dotted(place))}: ") as caught:
            load_config(raw)
        said += str(caught.value)
    assert said.count("expected no {, } ") > 20


def bounds_of(model: type[Section], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str, float]]:
    """Yield (keys, allowed range in words, a value beyond it) of every number with a bound."""
    kinds = {"gt": ("greater than", 0), "ge": ("greater than or equal to", -1), "lt": ("less than", 0),
        "le": ("less than or equal to", 1)}  # fmt: skip
    for name, field in model.model_fields.items():
        for rule in field.metadata:
            for kind, (words, step) in kinds.items():
                if (limit := getattr(rule, kind, None)) is not None:
                    yield (*path, name), f"{words} {limit:g}", limit + step * (8 if name == "image_size" else 1)
        optional = get_origin(field.annotation) is UnionType
        for inner in get_args(field.annotation) if optional else [field.annotation]:
            if isinstance(inner, type) and issubclass(inner, Section) and value_at((*path, name)):
                yield from bounds_of(inner, (*path, name))


def test_every_number_out_of_range_is_refused_with_its_range() -> None:
    bounds = list(bounds_of(Config))
    assert len(bounds) > 100
    for keys, words, value in bounds:
        raw = default()
        put(raw, keys, value)
        with pytest.raises(ConfigError) as caught:
            load_config(raw)
        said = [line for line in str(caught.value).splitlines() if line.startswith(f"  {'.'.join(keys)}: ")]
        assert any(f"{words} (found" in line for line in said), f"{keys}, {words}: {caught.value}"


@settings(max_examples=20, deadline=None)
@given(JUNK)
def test_junk_instead_of_a_configuration(raw: Any) -> None:
    with pytest.raises(ConfigError, match="not valid"):
        load_config(raw)


@settings(max_examples=20, deadline=None)
@given(
    st.sampled_from(sorted(set(Config.model_fields) - {"runs"})),  # whose keys are anyone's names
    st.text(st.characters(codec="ascii", categories=["L"]), min_size=4),
)
def test_an_unknown_key_in_any_section_is_named(section: str, key: str) -> None:
    raw = default()
    raw[section] = {**(raw.get(section) or {}), "x" + key: 1}  # no key of ours starts with x
    with pytest.raises(ConfigError, match=rf"{section}\.x{key}: there is no such key"):
        load_config(raw)
