"""What the cartoons' generator can draw, read from its style alone: a rule that never holds is refused before a job."""

import functools
import json
import re
from collections.abc import Iterator
from importlib import resources
from typing import Any

from ..config.data import AvatarsConfig
from ..errors import DataError

ABSENT = "none"  # name of a component that is not drawn

_HERE = "data.avatars"
_COLOUR = re.compile(r"#?([0-9a-fA-F]{3}|[0-9a-fA-F]{6}|[0-9a-fA-F]{8})")


@functools.cache
def read_style(name: str) -> dict[str, Any]:
    """Return a style definition that ``dicebear-styles`` ships."""
    return dict(json.loads(resources.files("dicebear_styles").joinpath(f"{name}.json").read_text()))


def option_values(settings: AvatarsConfig, option: str) -> list[str] | None:
    """Return the values that the generator may pick for an option, as rules and classes name them.

    Returns:
        Variants of a component, or colours as six hexadecimal digits; None if the option is neither.
    """
    style, given = read_style(settings.style), settings.options.get(option)
    name, kind = re.sub("(Variant|Color)$", "", option), option[-len("Color") :]
    texts = [str(value) for value in ([given] if isinstance(given, str | int) else given or [])]
    if kind == "Color" and name in {*style["colors"], "background"}:
        found = style["colors"].get(name, {"values": []})["values"] if given is None else texts
        return [_digits(colour) for colour in found]
    if option.endswith("Variant") and name in style["components"]:
        variants = list(style["components"][name]["variants"])
        return variants if given is None else [value for value in texts if value in variants]
    return None


def class_values(settings: AvatarsConfig, option: str) -> list[str]:
    """Return the values of an option of ``classes``: those of ``option_values``, and that nothing is drawn.

    Raises:
        DataError: If it is neither the variant of one of the style's components nor one of its colours.
    """
    values, component = option_values(settings, option), option.removesuffix("Variant")
    if values is None:
        raise DataError(f"{_HERE}.classes: {_unknown(settings, option)}.")
    if component == option:
        return values
    usual = read_style(settings.style)["components"][component].get("probability", 100)
    always = settings.options.get(f"{component}Probability", usual) == 100
    return [*values, *([] if always else [ABSENT])]


def named_options(settings: AvatarsConfig) -> dict[str, list[str]]:
    """Return what can be told from a picture by name: every option of which more than one value is drawn.

    Returns:
        Option -> its values: variants of a component, with its absence where it may be absent, or colours. Positions
        and angles are no names.
    """
    found = {option: class_values(settings, option) for option in [*_names(settings), "backgroundColor"]}
    return {option: values for option, values in found.items() if len(values) > 1}


def option_problems(settings: AvatarsConfig) -> Iterator[str]:
    """Yield what is wrong with options, rules of attributes and classes: ``key: found, expected``."""
    for option, given in settings.options.items():
        yield from _unusable(f"{_HERE}.options.{option}", _names(settings), option, given)
    for attribute, rule in settings.attributes.items():
        for option, values in rule.items():
            yield from _never(settings, f"{_HERE}.attributes.{attribute}.{option}", option, values)
    for option in settings.classes:
        if option_values(settings, option) is None:
            yield f"{_HERE}.classes: {_unknown(settings, option)}"


def _unknown(settings: AvatarsConfig, option: str) -> str:
    return f"found {option!r}, expected some of {', '.join(_names(settings))}"


def _names(settings: AvatarsConfig) -> list[str]:
    style = read_style(settings.style)
    return [f"{name}Variant" for name in style["components"]] + [f"{name}Color" for name in style["colors"]]


def _unusable(key: str, names: list[str], option: str, given: Any) -> Iterator[str]:
    if option not in {*names, "backgroundColor"}:
        return  # the generator knows
    for value in given if isinstance(given, list | dict) else [given]:
        if not isinstance(value, str):
            yield f"{key}: found {value!r}, expected text: put it in quotes, '{value}'"
        elif option.endswith("Color") and not _COLOUR.fullmatch(value):
            yield f"{key}: found {value!r}, expected a colour as six hexadecimal digits, such as 'd6b370'"


def _never(settings: AvatarsConfig, key: str, option: str, values: list[str]) -> Iterator[str]:
    if (possible := option_values(settings, option)) is None:
        yield f"{key}: {_unknown(settings, option)}"
        return
    keys = f"{key}, {_HERE}.options.{option}" if option in settings.options else key
    for value in values:
        if value not in possible:
            found = ", ".join(map(repr, possible)) or "no value at all"
            yield f"{keys}: {value!r} never occurs, expected some of those that do: {found}"


def _digits(colour: str) -> str:
    digits = colour.lstrip("#").lower()
    return "".join(digit * 2 for digit in digits) if len(digits) == 3 else digits
