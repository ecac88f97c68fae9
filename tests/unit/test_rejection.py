"""DDIM-I's filter: p > .5 and u < p, u from each image's own seed."""

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fewshot_diffusion.attributes.baselines.ddim_i import accept, accepted_seeds, rejection_records, save_records

SEEDS = torch.arange(2000)


@pytest.mark.parametrize("p", [0.0, 0.2, 0.5])
def test_nothing_up_to_one_half_is_kept(p: float) -> None:
    assert not accept(torch.full((500,), p), SEEDS[:500]).any()


def test_certainty_is_always_kept() -> None:
    assert accept(torch.ones(500), SEEDS[:500]).all()


@pytest.mark.parametrize("p", [0.55, 0.75, 0.95])
def test_the_kept_share_is_p(p: float) -> None:
    share = float(accept(torch.full((2000,), p), SEEDS).float().mean())
    assert abs(share - p) < 4 * (p * (1 - p) / 2000) ** 0.5


def test_a_decision_depends_on_its_own_seed_alone() -> None:
    probability = torch.linspace(0, 1, 300)
    together = accept(probability, SEEDS[:300])
    backwards = accept(probability.flip(0), SEEDS[:300].flip(0)).flip(0)
    some = accept(probability[::7], SEEDS[:300:7])
    assert torch.equal(together, backwards)
    assert torch.equal(together[::7], some)
    assert not torch.equal(
        accept(torch.full((300,), 0.6), SEEDS[:300]), accept(torch.full((300,), 0.6), SEEDS[300:600])
    )


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=20), st.floats(0, 0.5), st.integers(0, 10**9))
def test_a_more_probable_image_is_never_dropped_first(values: list[float], more: float, first: int) -> None:
    probability, seeds = torch.tensor(values), torch.arange(len(values)) + first
    before, after = accept(probability, seeds), accept((probability + more).clamp(max=1), seeds)
    assert bool((after | ~before).all())


def test_records_hold_every_image(tmp_path: Path) -> None:
    probability = torch.tensor([0.0, 0.4, 1.0, 1.0])
    seeds = torch.tensor([9, 8, 7, 3])
    frame = rejection_records(probability, seeds)
    assert frame["seed"].tolist() == [9, 8, 7, 3]
    assert frame["accepted"].tolist() == [False, False, True, True]
    assert frame["log_prob"].iloc[2] == 0
    assert -30 < frame["log_prob"].iloc[0] < -20, "log 0 must stay finite"
    save_records(frame, tmp_path / "r.parquet", {})
    kept, rate = accepted_seeds(tmp_path / "r.parquet")
    assert kept.tolist() == [7, 3]
    assert rate == 0.5


def test_a_filter_that_keeps_nothing(tmp_path: Path) -> None:
    save_records(rejection_records(torch.zeros(3), torch.arange(3)), tmp_path / "r.parquet", {})
    kept, rate = accepted_seeds(tmp_path / "r.parquet")
    assert kept.numel() == 0
    assert kept.dtype == torch.int64
    assert rate == 0
