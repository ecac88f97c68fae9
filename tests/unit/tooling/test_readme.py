"""Tables as people read them."""

import pandas as pd
import pytest

from fewshot_diffusion.errors import DataError
from fewshot_diffusion.tooling.readme import attributes_section, measured_metrics, replace_section, to_markdown

TABLE = pd.DataFrame(
    [
        ["Blond", "naive", "fd_x", 20.04, 18.0, 22.0, 9.96, 200, "scaled-down"],
        ["Blond", "exact", "fd_x", 10.0, 9.0, 11.0, 9.96, 200, "scaled-down"],
        ["Blond", "exact", "kd_x", 0.1234, 0.1, 0.2, 0.001, 200, "scaled-down"],
        ["Blond", "exact", "fid", 23.7, None, None, None, 50000, "published"],
    ],
    columns=["attribute", "method", "metric", "value", "ci_low", "ci_high", "floor", "n", "kind"],
)
SHARES = pd.DataFrame(
    {
        "data_set": "a",
        "kind": "scaled-down",
        "attribute": "Blond",
        "method": ["real", "exact"],
        "judge_accuracy": [1, 0.985],
    }
)


def test_a_frame_becomes_a_table() -> None:
    frame = pd.DataFrame({"a": [1, 2], "b": ["x", "y"]}, index=pd.Index(["r", "s"], name="row"))
    assert to_markdown(frame) == "| row | a | b |\n| --- | --- | --- |\n| r | 1 | x |\n| s | 2 | y |"


def test_every_metric_has_a_block_with_its_own_decimals_and_the_paper_s_numbers_none() -> None:
    assert measured_metrics(TABLE) == ["fd_x", "kd_x"]
    text = attributes_section(TABLE, SHARES)
    assert "| attribute | floor | naive | exact |" in text
    assert "| Blond | 10.0 | 20.0 ± 2.0 | 10.0 ± 1.0 |" in text
    assert "| Blond | 0.001 | 0.123 ± 0.050 |" in text
    assert "`fd_x` to the real class, n = 200, ± 95 % interval, lower is better (a, scaled-down)" in text
    assert "| Blond | 100.0 % | 98.5 % |" in text
    assert "23.7" not in text


def test_a_section_is_replaced_between_its_marks() -> None:
    text = "before\n<!-- a: begin -->\nold\n<!-- a: end -->\nafter\n"
    assert replace_section(text, "a", "new") == "before\n<!-- a: begin -->\n\nnew\n\n<!-- a: end -->\nafter\n"
    for marks in ("no marks", "<!-- a: begin -->"):
        with pytest.raises(DataError, match="are missing"):
            replace_section(marks, "a", "new")
