"""Whatever stands in a configuration file: it is accepted or refused by name, nothing else happens."""

import datetime
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from fewshot_diffusion.config.base import Section
from fewshot_diffusion.config.model import Config, load_config
from fewshot_diffusion.errors import ConfigError

DEFAULT = (Path(__file__).resolve().parents[2] / "config" / "config.yaml").read_text()
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


@st.composite
def damaged(draw: st.DrawFn) -> dict[str, Any]:
    """Return the default configuration with up to three values replaced, added or removed."""
    raw: dict[str, Any] = yaml.safe_load(DEFAULT)
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
    return raw


def keys_of(node: Any) -> set[str]:
    """Return every key that stands anywhere in a configuration."""
    if isinstance(node, dict):
        return {str(key) for key in node} | {found for value in node.values() for found in keys_of(value)}
    return {found for value in node for found in keys_of(value)} if isinstance(node, list) else set()


def sections() -> list[type[Section]]:
    found = [Section]
    for model in found:
        found += model.__subclasses__()
    return found


FIELDS = {name for model in sections() for name in model.model_fields}


def accepted(raw: dict[str, Any]) -> bool:
    """Return whether a configuration is accepted; it must be whole, or be refused by a key's name."""
    try:
        config = load_config(raw)
    except ConfigError as error:
        first, *problems = str(error).split("\n  ")
        assert first == "The configuration is not valid:"
        named = set(re.split(r"[.:\s]", problems[0]))
        # Of a key that is no text, the value stands where its name would.
        assert named & (FIELDS | keys_of(raw)) or "Keys should be strings (found" in problems[0], problems[0]
        return False
    assert config.data.attributes
    for name in set(Config.model_fields) - {"data", "targets"}:  # rules pass these to scripts as JSON
        section = getattr(config, name)
        assert type(section).model_validate_json(section.model_dump_json()) == section
    assert {target.attribute for target in config.targets} <= set(config.data.attributes)
    return True


def test_any_configuration_is_accepted_or_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    seconds: dict[bool, list[float]] = {True: [], False: []}

    @settings(
        max_examples=2200, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
    )
    @given(damaged())
    def check(raw: dict[str, Any]) -> None:
        started = time.perf_counter()
        seconds[accepted(raw)].append(time.perf_counter() - started)

    check()
    took = [*seconds[True], *seconds[False]]
    print(f"{len(seconds[False])} refused, {len(seconds[True])} accepted, slowest {1000 * max(took):.0f} ms")
    assert len(took) >= 2000
    assert len(seconds[False]) > 1000
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
        raw = yaml.safe_load(DEFAULT)
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
    raw = yaml.safe_load(DEFAULT)
    place = raw[section][0] if section == "targets" else raw[section]
    place["x" + key] = 1  # no key of ours starts with x
    try:
        load_config(raw)
    except ConfigError as error:
        assert f".x{key}: Extra inputs" in str(error)
    else:
        raise AssertionError(f"{section}.x{key} was accepted")
