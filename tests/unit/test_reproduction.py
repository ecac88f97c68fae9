"""Computing everything again."""

from pathlib import Path

import pandas as pd
import pytest
import torch

from fewshot_diffusion.diffusion.samples import SampleSet, save_samples
from fewshot_diffusion.errors import DataError
from fewshot_diffusion.storage.files import fingerprint
from fewshot_diffusion.tooling.reproduction import compare_tables, forget_units, movement

TABLE = pd.DataFrame(
    {
        "attribute": ["Blond", "Beard"],
        "method": ["unguided", "ours"],
        "value": [10.0, 20.0],
        "judge_accuracy": [0.5, float("nan")],
        "seconds_per_sample": [0.3, 0.4],
        "seeds": ["0-3", "0-3"],
    }
)


def test_times_and_the_order_of_rows_make_no_difference() -> None:
    assert compare_tables(TABLE, TABLE.iloc[::-1].assign(seconds_per_sample=9.0)) == []


def test_differences_are_measured() -> None:
    lines = compare_tables(TABLE, TABLE.assign(value=[10.0, 20.5], seeds=["0-3", "0-4"]))
    assert lines == ["value: 1 of 2 rows differ, by 0.5 at most; median |value| 15", "seeds: 1 of 2 rows differ"]


def test_a_value_that_is_gone_is_a_difference() -> None:
    [line] = compare_tables(TABLE, TABLE.assign(judge_accuracy=float("nan")))
    assert line.startswith("judge_accuracy: 1 of 2 rows differ")


@pytest.mark.parametrize("other", [TABLE.head(1), TABLE.drop(columns="value"), TABLE.assign(method="ours")])
def test_another_table_is_refused(other: pd.DataFrame) -> None:
    with pytest.raises(DataError, match="other rows or columns"):
        compare_tables(TABLE, other)


def test_movement_is_told_in_half_widths_of_the_interval() -> None:
    before = TABLE.assign(metric="fd", ci_low=[8.0, float("nan")], ci_high=[12.0, float("nan")])
    after = before.assign(value=[11.0, 25.0]).iloc[::-1]
    moved = movement(before, after)
    assert moved.to_dict("records") == [
        {
            "metric": "fd",
            "method": "unguided",
            "rows": 1,
            "largest_difference": 1.0,
            "largest_in_half_widths": 0.5,
        }
    ]


def test_units_behind_a_shard_are_forgotten_and_no_others(tmp_path: Path) -> None:
    about = {"denoiser": "0" * 64, "mode": "exact", "guidance_scale": 3.0, "head": None, "settings": {"eta": 0.0}}
    shard, damaged = tmp_path / "1-of-1.safetensors", tmp_path / "damaged.safetensors"
    save_samples(SampleSet(torch.zeros(1, 3, 4, 4, dtype=torch.uint8), torch.tensor([0]), 20.5), shard, about)
    damaged.write_bytes(b"x")
    own, other = (tmp_path / "samples" / name for name in (fingerprint(about), "another"))
    for folder in (own, other):
        folder.mkdir(parents=True)
    assert forget_units([shard, damaged], tmp_path / "samples") == 1
    assert not own.exists()
    assert other.exists()
