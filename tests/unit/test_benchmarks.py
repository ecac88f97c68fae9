"""Benchmarks gathered into one table, and the time of a plan."""

from pathlib import Path

import pandas as pd
import pytest
import torch

from fewshot_diffusion.diffusion.samples import SampleSet, save_samples
from fewshot_diffusion.errors import DataError
from fewshot_diffusion.tooling.benchmarks import estimate_seconds, gather_benchmarks, planned_steps


def write(path: Path, seconds: float, memory: object = 100.0, cpu: object = 1.0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame([{"s": seconds, "max_rss": memory, "cpu_time": cpu}]).to_csv(path, sep="\t", index=False)


@pytest.fixture
def benchmarks(tmp_path: Path) -> Path:
    folder = tmp_path / "benchmarks" / "set"
    write(folder / "train_judge/judge.tsv", 10, 500, 9.5)
    write(folder / "sample/exact/Blond/1-of-2.tsv", 4, 300)
    write(folder / "sample/exact/Blond/2-of-2.tsv", 8, 200)
    write(folder / "sample/unguided/all/1-of-1.tsv", 3, "-", "NA")  # over before it was measured
    return folder.parent


def test_steps_are_summed(benchmarks: Path, tmp_path: Path) -> None:
    table = gather_benchmarks(benchmarks, tmp_path).set_index("step")
    assert list(table.index) == ["sample/exact", "sample/unguided", "train_judge"]
    assert table.loc["sample/exact", ["jobs", "seconds_mean", "seconds_total", "max_rss_mb"]].tolist() == [
        2,
        6,
        12,
        300,
    ]
    assert table.loc["train_judge", "cpu_seconds_total"] == 9.5
    assert pd.isna(table.loc["sample/unguided", "max_rss_mb"])
    assert table["forward_passes"].isna().all()


def test_forward_passes_come_from_the_shards(benchmarks: Path, tmp_path: Path) -> None:
    write(benchmarks / "set/sample_masks/paper/ours_exact/20.tsv", 5)
    names = [f"samples/exact/Blond/{number}-of-2" for number in (1, 2)] + ["mask_samples/paper/ours_exact/20"]
    for name in names:
        shard = tmp_path / f"results/set/{name}.safetensors"
        shard.parent.mkdir(parents=True, exist_ok=True)
        images = torch.zeros(3, 3, 4, 4, dtype=torch.uint8)
        save_samples(SampleSet(images, torch.arange(3), 2.5), shard, {})
    table = gather_benchmarks(benchmarks, tmp_path / "results").set_index("step")
    assert table.loc["sample/exact", "forward_passes"] == 2 * 3 * 2.5
    assert table.loc["sample_masks/paper", "forward_passes"] == 3 * 2.5
    assert pd.isna(table.loc["train_judge", "forward_passes"])


def test_a_plan_takes_what_its_steps_took(benchmarks: Path, tmp_path: Path) -> None:
    plan = """
    benchmark: benchmarks/other/sample/exact/Beard/1-of-1.tsv
    benchmark: benchmarks/other/sample/readout/Beard/1-of-1.tsv
    benchmark: benchmarks/other/train_judge/judge.tsv
    benchmark: benchmarks/other/new_rule/a.tsv
    """
    steps = planned_steps(plan)
    assert steps == ["sample/exact", "sample/readout", "train_judge", "new_rule"]
    # readout was never timed: the mean of all sampling jobs stands for it.
    seconds, unknown = estimate_seconds(steps, gather_benchmarks(benchmarks, tmp_path))
    assert (seconds, unknown) == (6 + (4 + 8 + 3) / 3 + 10, 1)


def test_no_benchmarks_and_damaged_ones_are_named(benchmarks: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="found no benchmark"):
        gather_benchmarks(tmp_path / "none", tmp_path)
    damaged = benchmarks / "set/train_judge/judge.tsv"
    for content in ("", "s\n", "a\tb\n1\t2\n"):
        damaged.write_text(content)
        with pytest.raises(DataError, match=r"judge\.tsv: not a benchmark"):
            gather_benchmarks(benchmarks, tmp_path)
