"""The figure of methods: points where the tables have them, lines for what costs nothing, names that cover nothing."""

from collections.abc import Iterator

import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.text import Annotation

from fewshot_diffusion.attributes.cost_figure import cost_figure

COSTS = {"naive": 0.0, "unguided": 20.0, "d2c": 90.0, "mine": 91.0}
VALUES = {"naive": 0.1, "unguided": 0.5, "d2c": 0.31, "mine": 0.3}
NAN = float("nan")


def tables(d2c: float = 90.0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return two classes of four methods, one of which may have kept nothing: its numbers are NaN."""
    rows = [
        {"attribute": label, "method": method, "metric": metric, "value": factor * value, "floor": 0.01, "kind": "ours",
         "ci_low": factor * value - 0.1, "ci_high": factor * value + 0.2, "forwards_per_sample": COSTS[method]}
        for label in ("Red", "Blue") for method, value in VALUES.items()
        for metric, factor in (("fid", 100), ("kid", 1), ("kd_other", 7))
    ]  # fmt: skip
    published = [{**rows[0], "method": "nvae", "kind": "published", "forwards_per_sample": None}]
    table = pd.DataFrame([*rows, *published])
    table.loc[(table["method"] == "d2c") & (table["attribute"] == "Blue"), "forwards_per_sample"] = d2c
    shares = table[table["metric"] == "kid"].assign(judge_accuracy=1.0, ci_low=0.75, ci_high=0.999999, judge_real=0.6)
    return table, pd.concat([shares, shares[shares["method"] == "naive"].assign(method="real", judge_accuracy=0.9)])


def points(axes: Axes) -> dict[str, tuple[float, float, list[float]]]:
    found = {}
    for bars in (each for each in axes.containers if isinstance(each, ErrorbarContainer)):
        ((x, y),) = bars.lines[0].get_xydata()  # type: ignore[misc]
        found[str(bars.get_label())] = (float(x), float(y), bars.lines[2][0].get_segments()[0][:, 1].tolist())
    return found


def across(axes: Axes) -> dict[str, float]:
    return {str(line.get_label()): line.get_ydata()[0] for line in axes.get_lines() if len(line.get_xdata()) > 1}  # type: ignore[index, arg-type]


@pytest.fixture
def drawn(request: pytest.FixtureRequest) -> Iterator[Figure]:
    figure = cost_figure(*tables(*getattr(request, "param", ())))
    yield figure
    plt.close(figure)


def test_each_class_has_distances_and_shares_on_one_axis_of_costs(drawn: Figure) -> None:
    left, right = drawn.axes[:2]
    assert points(left) == {
        method: (COSTS[method], VALUES[method], pytest.approx([VALUES[method] - 0.1, VALUES[method] + 0.2]))
        for method in ("unguided", "d2c", "mine")
    }
    assert {cost for cost, *_ in points(right).values()} == {20, 90, 91}
    assert points(right)["mine"][1:] == (100, pytest.approx([75, 100]))  # a rounded end is not beyond its value
    assert across(left) == {"naive": 0.1, "real": 0.01}
    assert across(right) == {"naive": 100, "real": 90}
    assert [axes.get_title(loc="left").split(";")[0] for axes in drawn.axes[::2]] == ["Red", "Blue"]
    assert left.get_xscale() == "log"
    assert left.get_xlim() == drawn.axes[3].get_xlim()
    assert all("60.0 %" in axes.get_title(loc="left") for axes in drawn.axes[::2])


def test_methods_keep_their_look_and_are_told_apart(drawn: Figure) -> None:
    looks = [
        [(each.lines[0].get_color(), each.lines[0].get_marker()) for each in axes.containers]  # type: ignore[attr-defined]
        for axes in drawn.axes
    ]
    assert all(look == looks[0] for look in looks)
    assert len(set(looks[0])) == 3


def test_names_stand_where_there_is_room(drawn: Figure) -> None:
    for axes in drawn.axes:
        names = [text for text in axes.texts if isinstance(text, Annotation)]
        assert "unguided" in {text.get_text() for text in names}
        boxes = [text.get_window_extent() for text in names]
        assert not any(box.count_overlaps(boxes[i + 1 :]) for i, box in enumerate(boxes))
        dots = [axes.transData.transform(point[:2]) for point in points(axes).values()]
        assert not any(box.contains(*dot) for box in boxes for dot in dots)


@pytest.mark.parametrize("drawn", [(NAN,)], indirect=True)
def test_a_method_that_kept_nothing_is_named(drawn: Figure) -> None:
    assert "fewer than two kept: d2c" not in drawn.axes[0].get_title(loc="left").replace("\n", " ")
    assert "fewer than two kept: d2c" in drawn.axes[2].get_title(loc="left").replace("\n", " ")
    assert [list(points(axes)) for axes in drawn.axes[2:]] == [["unguided", "mine"]] * 2


def test_a_method_that_kept_one_image_has_a_cost_and_no_distance() -> None:
    table, shares = tables()
    of_one = (table["method"] == "d2c") & (table["attribute"] == "Blue")
    table.loc[of_one, ["value", "ci_low", "ci_high"]] = float("nan")
    drawn = cost_figure(table, shares)
    left, right = drawn.axes[2:4]
    assert "d2c" not in points(left) and "d2c" in points(right)
    assert "fewer than two kept: d2c" in left.get_title(loc="left").replace("\n", " ")
    plt.close(drawn)
