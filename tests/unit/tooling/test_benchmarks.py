"""Benchmarks gathered into one table, and the time of a plan."""

from pathlib import Path

import pandas as pd
import pytest

from fewshot_diffusion.errors import DataError
from fewshot_diffusion.tooling.benchmarks import Step, estimate, gather_benchmarks, planned_steps


def write(path: Path, seconds: float, memory: object = 100.0, cpu: object = 1.0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame([{"s": seconds, "max_rss": memory, "cpu_time": cpu}]).to_csv(path, sep="\t", index=False)


@pytest.fixture
def benchmarks(tmp_path: Path) -> Path:
    folder = tmp_path / "benchmarks" / "set"
    write(folder / "train_judge/judge.tsv", 10, 500, 9.5)
    write(folder / "sample_attributes/exact/Blond/1-of-2.tsv", 4, 300)
    write(folder / "sample_attributes/exact/Blond/2-of-2.tsv", 8, 200)
    write(folder / "sample_attributes/unguided/all/1-of-1.tsv", 3, "-", "NA")  # over before it was measured
    return folder.parent


def test_steps_are_summed(benchmarks: Path) -> None:
    table = gather_benchmarks(benchmarks).set_index("step")
    assert list(table.index) == ["sample_attributes/exact", "sample_attributes/unguided", "train_judge"]
    summed = table.loc["sample_attributes/exact", ["jobs", "seconds_mean", "seconds_total", "max_rss_mb"]]
    assert summed.tolist() == [2, 6, 12, 300]
    assert table.loc["train_judge", "cpu_seconds_total"] == 9.5
    assert pd.isna(table.loc["sample_attributes/unguided", "max_rss_mb"])


PLAN = """
    benchmark: benchmarks/{0}/sample_attributes/exact/Beard/1-of-1.tsv
    benchmark: benchmarks/{0}/sample_attributes/readout/Beard/1-of-1.tsv
    benchmark: benchmarks/{0}/train_judge/judge.tsv
    benchmark: benchmarks/{0}/new_rule/a.tsv
"""


@pytest.mark.parametrize(("data_set", "borrowed"), [("set", {}), ("mine", ["sample_attributes", "train_judge"])])
def test_a_plan_takes_what_its_steps_took_here_or_on_other_data(
    benchmarks: Path, data_set: str, borrowed: list[str]
) -> None:
    steps = planned_steps(PLAN.format(data_set))
    assert steps[:1] == [Step(data_set, "sample_attributes/exact")]
    found = estimate(steps, gather_benchmarks(benchmarks))
    # readout was never timed: the mean of all sampling jobs stands for it.
    assert found.seconds == 6 + (4 + 8 + 3) / 3 + 10
    assert found.borrowed == {rule: ["set"] for rule in borrowed} and found.unknown == {"new_rule": 1}


def test_what_was_timed_on_the_same_data_counts_before_other_data(benchmarks: Path) -> None:
    write(benchmarks / "mine/train_judge/judge.tsv", 70)
    found = estimate(planned_steps(PLAN.format("mine")), gather_benchmarks(benchmarks))
    assert found.seconds == 6 + 5 + 70 and "train_judge" not in found.borrowed


def test_no_benchmarks_and_damaged_ones_are_named(benchmarks: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="found no benchmark"):
        gather_benchmarks(tmp_path / "none")
    damaged = benchmarks / "set/train_judge/judge.tsv"
    for content in ("", "s\n", "a\tb\n1\t2\n"):
        damaged.write_text(content)
        with pytest.raises(DataError, match=r"judge\.tsv: not a benchmark"):
            gather_benchmarks(benchmarks)
