"""Sample sets on disk: shards of one sampling, and only of one, make a set."""

from pathlib import Path

import pytest
import torch

from fewshot_diffusion.diffusion.samples import (
    SampleSet,
    load_samples,
    save_samples,
    seconds_per_sample,
    seed_range,
    write_timing,
)
from fewshot_diffusion.errors import CorruptFileError


def shard(path: Path, seeds: list[int], cost: float = 2.5, target: str = "Beard") -> Path:
    """Samples whose every byte is their seed."""
    images = torch.tensor(seeds, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 3, 4, 4)
    save_samples(SampleSet(images, torch.tensor(seeds, dtype=torch.int64), cost), path, {"target": target})
    return path


def test_shards_are_joined_in_order_of_seeds(tmp_path: Path) -> None:
    paths = [shard(tmp_path / "b", [7, 8, 3]), shard(tmp_path / "c", []), shard(tmp_path / "a", [5, 1])]
    samples = load_samples(paths, {"target": "Beard"})
    assert samples.seeds.tolist() == [1, 3, 5, 7, 8] and samples.seeds.dtype == torch.int64
    assert samples.images[:, 2, 3, 3].tolist() == [1, 3, 5, 7, 8]
    assert samples.images.dtype == torch.uint8
    assert samples.forwards_per_sample == 2.5


def test_shards_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    first = shard(tmp_path / "a", [0, 1])
    with pytest.raises(CorruptFileError, match="do not belong together"):
        load_samples([first, shard(tmp_path / "b", [1, 2])])
    with pytest.raises(CorruptFileError, match=r"does not belong with .*: forwards_per_sample is 1\.0, there 2\.5"):
        load_samples([first, shard(tmp_path / "c", [2, 3], cost=1.0)])
    with pytest.raises(CorruptFileError, match="was made for target 'Beard', expected 'Blond'"):
        load_samples([first], {"target": "Blond"})


def test_seconds_are_those_of_a_sample_over_all_shards(tmp_path: Path) -> None:
    write_timing(tmp_path / "a.json", 30.0, 10)
    write_timing(tmp_path / "b.json", 10.0, 30)
    assert seconds_per_sample([tmp_path / "a.json", tmp_path / "b.json"]) == 1


@pytest.mark.parametrize(("seeds", "expected"), [([4, 2, 3], "2-4"), ([2, 9], "2-9 (2)"), ([5], "5-5"), ([], "")])
def test_a_range_of_seeds_says_whether_some_are_left_out(seeds: list[int], expected: str) -> None:
    assert seed_range(torch.tensor(seeds)) == expected
