"""Tables that were computed again."""

import pandas as pd
import pytest

from fewshot_diffusion.errors import DataError
from fewshot_diffusion.tooling.comparison import compare_tables, movement

TABLE = pd.DataFrame(
    {
        "attribute": ["Blond", "Beard"],
        "method": ["unguided", "exact"],
        "value": [10.0, 20.0],
        "share": [0.5, float("nan")],
        "seconds_per_sample": [0.3, 0.4],
        "seeds": ["0-3", "0-3"],
    }
)


def test_seconds_make_no_difference() -> None:
    assert compare_tables(TABLE, TABLE.assign(seconds_per_sample=9.0)) == []


def test_differences_are_measured() -> None:
    lines = compare_tables(TABLE, TABLE.assign(value=[10.0, 20.5], seeds=["0-3", "0-4"]))
    assert lines == ["value: 1 of 2 rows differ, by 0.5 at most; median |value| 15", "seeds: 1 of 2 rows differ"]


def test_a_value_that_is_gone_is_a_difference() -> None:
    [line] = compare_tables(TABLE, TABLE.assign(share=float("nan")))
    assert line.startswith("share: 1 of 2 rows differ")


@pytest.mark.parametrize("other", [TABLE.head(1), TABLE.drop(columns="value")])
def test_another_table_is_refused(other: pd.DataFrame) -> None:
    with pytest.raises(DataError, match="other rows or columns"):
        compare_tables(TABLE, other)


def test_movement_is_told_in_half_widths_of_the_interval() -> None:
    before = TABLE.assign(metric="fd", ci_low=[8.0, float("nan")], ci_high=[12.0, float("nan")])
    [row] = movement(before, before.assign(value=[11.0, 25.0])).to_dict("records")
    assert row == {
        "metric": "fd",
        "method": "unguided",
        "rows": 1,
        "largest_difference": 1.0,
        "largest_in_half_widths": 0.5,
    }
