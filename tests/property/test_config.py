"""Whatever stands in a configuration file: it is accepted or refused by name, nothing else happens."""

import datetime
from pathlib import Path
from typing import Any

import yaml
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

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


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(damaged())
def test_any_configuration_is_accepted_or_refused_by_name(raw: dict[str, Any]) -> None:
    try:
        config = load_config(raw)
    except ConfigError as error:
        assert str(error).startswith("The configuration is not valid:\n  ")
    else:
        assert config.data.attributes
        for name in set(Config.model_fields) - {"data", "targets"}:  # rules pass these to scripts as JSON
            section = getattr(config, name)
            assert type(section).model_validate_json(section.model_dump_json()) == section
        assert {target.attribute for target in config.targets} <= set(config.data.attributes)


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
