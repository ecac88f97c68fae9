"""Filters compared: what each keeps of what was drawn and who agrees, its settings, its place in the figure."""

from typing import Any

import pandas as pd
import pytest
import torch
from torch import Tensor

from class_helpers import filters_table
from fewshot_diffusion.classes.filter_comparison import kept_rows
from fewshot_diffusion.classes.filters_figure import filters_figure
from fewshot_diffusion.classes.generated_set import GeneratedSet
from fewshot_diffusion.config.model import load_config
from fewshot_diffusion.errors import ConfigError
from fewshot_diffusion.metrics.intervals import wilson_interval
from fewshot_diffusion.tooling.denoiser_plan import filters_problem
from support import default

PROBABILITIES = [0.1, 0.2, 0.3, 0.4, 0.5, 0.9]
SHOWN = [1, 0, 1, 0, 1, 1]  # by the judge; samples 0, 1 and 2 are of class 0, the others of class 1


class Opinion:
    """A judge that takes the value of the first pixel for the class."""

    def predict(self, images: Tensor) -> Tensor:
        return images[:, 0, 0, 0].long()


def rows(thresholds: list[float]) -> pd.DataFrame:
    images = torch.tensor(SHOWN, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 2, 2)
    labels, nothing = torch.tensor([0, 0, 0, 1, 1, 1]), torch.zeros(6)
    generated = GeneratedSet(images, labels, torch.arange(6), nothing, nothing.bool(), ["round", "square"])
    return kept_rows(generated, torch.tensor(PROBABILITIES).log(), Opinion(), thresholds)  # type: ignore[arg-type]


def test_shares_and_the_judges_word_are_of_the_kept_samples_alone() -> None:
    found = rows([0, 0.2, 0.5, 0.95])
    assert found["n_drawn"].tolist() == [6] * 4 and found["n_kept"].tolist() == [6, 5, 2, 0]
    assert found["share_kept"].tolist() == pytest.approx([1, 5 / 6, 2 / 6, 0])
    assert found["judge_accuracy"].tolist() == pytest.approx([3 / 6, 3 / 5, 1, float("nan")], nan_ok=True)
    kept, judged = wilson_interval(5, 6), wilson_interval(3, 5)
    bounds = found.loc[1, ["share_low", "share_high", "ci_low", "ci_high"]].tolist()
    assert bounds == pytest.approx([kept.low, kept.high, judged.low, judged.high])


def test_a_higher_threshold_keeps_no_more() -> None:
    kept = rows([k / 50 for k in range(51)])["share_kept"]
    assert kept.is_monotonic_decreasing and kept.iloc[0] == 1 and kept.iloc[-1] == 0 and kept.nunique() == 7


def test_a_candidate_differs_from_the_filter_in_what_it_reads_and_concerns_no_other_job() -> None:
    classes = load_config(default()).classes
    assert classes and classes.filters
    names = [candidate.name for candidate in classes.filters.candidates]
    assert "up_blocks.1-100-300" in names and classes.candidate("mid_block-300-800") == classes.filter
    other = classes.candidate("up_blocks.1-100-300")
    assert other == classes.filter.model_copy(update={"tap": "up_blocks.1", "timesteps": [100, 300]})
    raw = default()
    raw["classes"].pop("filters")
    assert load_config(raw).classes == type(classes).model_validate_json(classes.model_dump_json(exclude={"filters"}))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("candidates", [{"tap": "mid_block", "timesteps": [5]}] * 2),
        ("candidates", [{"tap": "mid_block/..", "timesteps": [5]}]),
        ("candidates", [{"tap": "mid_block", "timesteps": [1000]}]),
        ("thresholds", [0.2, 0.5]),
        ("thresholds", [0, 0.5, 0.2]),
    ],
)
def test_a_comparison_that_cannot_be_is_refused(key: str, value: Any) -> None:
    raw = default()
    raw["classes"]["filters"][key] = value
    with pytest.raises(ConfigError, match=rf"classes\.filters\.{key}"):
        load_config(raw)


def test_a_module_that_the_denoiser_lacks_is_named_where_the_comparison_is_asked_for() -> None:
    raw = default()
    raw["denoiser"] |= {"source": "train"}
    assert not filters_problem(load_config(raw), None)
    raw["denoiser"]["architecture"]["block_out_channels"] = [32, 48]
    said = filters_problem(load_config(raw), None)
    assert said.startswith("classes.filters.candidates: the denoiser has no module 'up_blocks.2'; it has mid_block, ")


def test_filters_are_compared_on_images_that_no_reported_number_rests_on() -> None:
    raw = default()
    assert load_config(raw).filters_split == "tuning_judge"
    raw |= {"attributes": None, "masks": None}
    raw["data"]["splits"]["tuning_judge"] = 0
    assert load_config(raw).filters_split == "judge"


def test_the_figure_has_a_dot_and_a_curve_a_filter_and_what_was_drawn() -> None:
    left, right = filters_figure(filters_table()).axes
    assert [label.get_text() for label in left.get_yticklabels()] == ["mid_block at 300, 800", "up_blocks.1 at 100"]
    dots = [container.lines[0].get_xdata()[0] for container in left.containers]  # type: ignore[attr-defined]
    assert dots == pytest.approx([40, 70])
    curves = [line for line in right.lines if line.get_marker() == "o"]
    points = [list(zip(line.get_xdata(), line.get_ydata(), strict=True)) for line in curves]  # type: ignore[arg-type]
    assert points == [[(100, 50), (30, 80)], [(100, 50)]], "where nothing is kept, nobody agrees"
    (star,) = [line for line in right.lines if line.get_marker() == "*"]
    assert (star.get_xdata()[0], star.get_ydata()[0]) == (100, 50)  # type: ignore[index]
