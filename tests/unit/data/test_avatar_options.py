"""Generator options, rules and classes that can never come true are refused with the values that can."""

from typing import Any

import pytest

from fewshot_diffusion.config.data import AvatarsConfig
from fewshot_diffusion.data.avatar_options import option_problems, option_values
from fewshot_diffusion.data.avatars import draw_avatars
from fewshot_diffusion.errors import DataError

VARIED = {"hairColor": ["#D6B370", "724133", "fff"], "backgroundColor": "ABCDEF"}
VARIED |= {"beardVariant": {"chin": 1, "fullBeard": 2}}


def avatars(options: dict[str, Any], rule: dict[str, list[Any]], classes: list[str] | None = None) -> AvatarsConfig:
    return AvatarsConfig(options=options, attributes={"Mine": rule}, classes=classes or [])


@pytest.mark.slow
@pytest.mark.parametrize("option", ["hairColor", "backgroundColor", "skinColor", "beardVariant", "rearHairVariant"])
@pytest.mark.parametrize("given", [{}, VARIED])
def test_what_may_be_picked_is_what_the_generator_picks(option: str, given: dict[str, Any]) -> None:
    """Written as the generator says it: no #, small letters, six digits."""
    values = option_values(avatars(given, {}), option)
    assert values is not None
    rules = {f"a{k}": {option: [value]} for k, value in enumerate(values)}
    drawn = draw_avatars(AvatarsConfig(options=given, attributes=rules), 8, range(90)).attributes
    assert drawn.any().all() and not (drawn.sum(axis=1) > 1).any()


@pytest.mark.parametrize(
    ("options", "rule", "said"),
    [
        (
            {},
            {"hairColor": ["#d6b370"]},
            ".hairColor: '#d6b370' never occurs, expected some of those that do: '2c1b18', ",
        ),
        (
            {"hairColor": ["2c1b18"]},
            {"hairColor": ["d6b370"]},
            "attributes.Mine.hairColor, data.avatars.options.hairColor: 'd6b370' never occurs, ",
        ),
        ({}, {"hairColor": [0]}, "'0' never occurs"),
        ({}, {"beardVariant": ["fullbeard"]}, "'fullbeard' never occurs, expected some of those that do: 'chin', "),
        ({"beardVariant": []}, {"beardVariant": ["chin"]}, "no value at all"),
        ({}, {"hairColour": ["d6b370"]}, "attributes.Mine.hairColour: found 'hairColour', expected some of beardV"),
        ({"hairColor": [724133]}, {}, "options.hairColor: found 724133, expected text: put it in quotes, '724133'"),
        ({"hairColor": "blond"}, {}, "options.hairColor: found 'blond', expected a colour"),
    ],
)
def test_what_never_occurs_is_said_with_what_does(
    options: dict[str, Any], rule: dict[str, list[Any]], said: str
) -> None:
    (problem,) = option_problems(avatars(options, rule))
    assert said in problem


def test_what_only_the_generator_knows_it_refuses_by_name() -> None:
    with pytest.raises(DataError, match=r"data\.avatars\.options: the generator refuses them .*beardProbability"):
        draw_avatars(avatars({"beardProbability": "often"}, {}), 8, range(1))


def test_a_colour_of_digits_alone_needs_no_quotes_in_a_rule() -> None:
    assert not list(option_problems(avatars({}, {"hairColor": [724133]}, ["hairColor", "rearHairVariant"])))
    (problem,) = option_problems(avatars({}, {}, ["hair"]))
    assert problem.startswith("data.avatars.classes: found 'hair', expected some of beardVariant, ")
