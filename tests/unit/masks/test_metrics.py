"""Agreement, diversity, the choice of a scale and the colours of masks, by hand."""

import math

import pandas as pd
import pytest
import torch

from fewshot_diffusion.masks.figures import masks_figure, paint_masks, shots_figure
from fewshot_diffusion.masks.metrics import agreement, confusion, diversity, miou
from fewshot_diffusion.masks.sweep import chosen_scale


def test_miou_by_hand() -> None:
    wanted = torch.tensor([[[0, 0], [1, 1]]], dtype=torch.uint8)
    found = torch.tensor([[[0, 1], [1, 1]]], dtype=torch.uint8)
    counts = confusion(wanted, found, 3)
    assert counts[0].tolist() == [[1, 1, 0], [0, 2, 0], [0, 0, 0]]  # row: wanted; column: found
    assert miou(counts) == pytest.approx((1 / 2 + 2 / 3) / 2)  # class 2 is nowhere: it does not count


def test_agreement_of_equal_masks_is_one_and_of_others_lies_in_its_interval() -> None:
    stream = torch.Generator().manual_seed(0)
    wanted = torch.randint(4, (2, 12, 8, 8), generator=stream).to(torch.uint8)
    same = agreement(wanted, wanted, 4, replicates=20)
    assert (same.miou.value, same.miou.low, same.miou.high, same.pixel_accuracy) == (1, 1, 1, 1)
    noisy = torch.where(torch.rand(wanted.shape, generator=stream) < 0.3, 0, wanted).to(torch.uint8)
    other = agreement(wanted, noisy, 4, replicates=200)
    assert other == agreement(wanted, noisy, 4, replicates=200) != agreement(wanted, noisy, 4, 200, seed=1)
    assert other.miou.value == pytest.approx(miou(confusion(wanted.flatten(0, 1), noisy.flatten(0, 1), 4)))
    assert other.miou.low < other.miou.value < other.miou.high < 1
    assert other.pixel_accuracy == pytest.approx(float((wanted == noisy).float().mean()))


def test_the_interval_is_over_masks_not_over_their_samples() -> None:
    halves = torch.zeros(6, 4, 4, dtype=torch.uint8)
    halves[:, :2] = 1
    wanted, one_fails = torch.stack([halves, halves]), torch.stack([halves, 1 - halves])
    balanced = agreement(wanted, one_fails, 2, replicates=50).miou
    assert balanced.value == pytest.approx(1 / 3)
    assert balanced.low == pytest.approx(balanced.high)  # of each mask, one sample is right and one is wrong
    some_fail = wanted.clone()
    some_fail[:, :3] = 1 - some_fail[:, :3]
    assert agreement(wanted, some_fail, 2, replicates=50).miou.high > 0.5


def test_diversity_is_the_mean_distance_within_a_mask() -> None:
    features = torch.tensor([[[0.0, 0.0], [5.0, 5.0]], [[3.0, 4.0], [5.0, 5.0]]])  # 2 samples of 2 masks
    assert diversity(features) == pytest.approx((5 + 0) / 2)
    assert math.isnan(diversity(features[:1]))


@pytest.mark.parametrize(("tolerance", "chosen"), [(0.0, 400), (0.02, 100), (0.5, 25)])
def test_the_smallest_scale_within_the_tolerance_is_chosen(tolerance: float, chosen: float) -> None:
    scores = pd.DataFrame({"guidance_scale": [25.0, 100, 400, 1600], "tuning_miou": [0.3, 0.69, 0.70, 0.68]})
    assert chosen_scale(scores, tolerance) == chosen


def test_every_class_has_a_colour_of_its_own() -> None:
    painted = paint_masks(torch.arange(20, dtype=torch.uint8).view(1, 4, 5))
    assert painted.shape == (1, 3, 4, 5)
    assert len(painted.flatten(2)[0].T.unique(dim=0)) == 20


def test_the_curve_shows_one_preset_and_the_figure_a_strip_for_each_row() -> None:
    table = pd.DataFrame(
        {
            "method": ["unguided", "exact", "exact", "exact"], "preset": ["p", "p", "p", "other"],
            "shots": [0, 20, 5, 50], "miou": [0.3, 0.6, 0.5, 0.9], "ci_low": [0.2, 0.5, 0.4, 0.8],
            "ci_high": [0.4, 0.7, 0.6, 1.0], "miou_real": 0.92, "n": 8,
        }
    )  # fmt: skip
    (axis,) = shots_figure(table, "p").axes
    (curve,) = axis.containers
    assert curve[0].get_xydata().tolist() == [[5, 0.5], [20, 0.6]]
    bars = [bar.tolist() for bar in curve[2][0].get_segments()]
    assert bars == [
        [[5, pytest.approx(0.4)], [5, pytest.approx(0.6)]],
        [[20, pytest.approx(0.5)], [20, pytest.approx(0.7)]],
    ]
    assert axis.get_title() == "n = 8 samples a point, bars: 95 % intervals"
    assert [line.get_ydata()[0] for line in axis.lines if line.get_label() in ("real images", "unguided")] == [
        0.92,
        0.3,
    ]
    masks, images = torch.zeros(2, 4, 4, dtype=torch.uint8), torch.zeros(2, 3, 4, 4, dtype=torch.uint8)
    strips = masks_figure(masks, [("real", images), ("exact", images)]).axes
    assert [strip.get_ylabel() for strip in strips] == ["mask", "real", "exact"]
    assert [text.get_text() for text in strips[0].get_xticklabels()] == ["mask 1", "mask 2"]
