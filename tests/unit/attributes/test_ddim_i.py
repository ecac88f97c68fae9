"""DDIM-I's filter: p > .5 and u < p, u from each image's own seed; what it keeps stands for the class."""

from pathlib import Path

import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fewshot_diffusion.attributes.baselines.ddim_i import accept, reject_ddim_i, train_ddim_i
from fewshot_diffusion.attributes.baselines.decisions import accepted_seeds, save_decisions
from fewshot_diffusion.attributes.shots import ShotFiles
from fewshot_diffusion.config.supervised import SupervisedConfig
from fewshot_diffusion.data.image_set import ImageSet, save_image_set
from fewshot_diffusion.diffusion.samples import SampleSet, save_samples
from fewshot_diffusion.errors import CorruptFileError, WeightsError
from fewshot_diffusion.storage.records import read_records
from fewshot_diffusion.storage.tables import write_csv

SEEDS = torch.arange(2000)


@pytest.mark.parametrize(
    ("p", "kept"), [(0.0, 0), (0.2, 0), (0.5, 0), (0.55, 0.55), (0.75, 0.75), (0.95, 0.95), (1, 1)]
)
def test_the_kept_share_is_p_above_one_half(p: float, kept: float) -> None:
    share = float(accept(torch.full((2000,), float(p)), SEEDS).float().mean())
    assert abs(share - kept) <= 4 * (kept * (1 - kept) / 2000) ** 0.5


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


def test_decisions_hold_every_image(tmp_path: Path) -> None:
    path, accepted = tmp_path / "d.parquet", torch.tensor([False, False, True, True])
    save_decisions(torch.tensor([0.0, 0.4, 1.0, 1.0]), torch.tensor([9, 8, 7, 3]), accepted, path, {"value": True})
    frame, _ = read_records(path)
    assert frame["seed"].tolist() == [9, 8, 7, 3]
    assert frame["log_prob"].iloc[2] == 0
    assert -30 < frame["log_prob"].iloc[0] < -20, "log 0 must stay finite"
    kept, rate = accepted_seeds(path, {"value": True})
    assert kept.tolist() == [7, 3]
    assert rate == 0.5
    with pytest.raises(CorruptFileError, match=r"d\.parquet: was made for value True, expected False"):
        accepted_seeds(path, {"value": False})


# --- as jobs ---


def coloured(red: Tensor) -> Tensor:
    images = torch.randint(0, 60, (len(red), 3, 16, 16), generator=torch.Generator().manual_seed(3))
    images[:, 0] += 190 * red[:, None, None]
    return images.to(torch.uint8)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """DDIM-I's classifier of red images, and a pool of which the first half is red."""
    folder, red = tmp_path_factory.mktemp("ddim_i"), torch.arange(24) % 2 == 0
    attributes = pd.DataFrame({"Red": red.numpy()})
    save_image_set(ImageSet(coloured(red), torch.arange(24), attributes), folder / "pool.parquet", {})
    write_csv(folder / "shots.csv", pd.DataFrame({"id": range(24), "label": red.numpy()}))
    recipe = SupervisedConfig(epochs=30, batch_size=8, learning_rate=3e-3, weight_decay=0.05, precision="float32")
    files = ShotFiles("Red", folder / "shots.csv", folder / "pool.parquet")
    train_ddim_i(recipe, files, folder / "classifier", device="cpu")
    samples = SampleSet(coloured(torch.arange(40) < 20), torch.arange(40) + 100, 2.0)
    save_samples(samples, folder / "unguided.parquet", {"method": "unguided"})
    save_samples(samples, folder / "guided.parquet", {"method": "exact"})
    return folder


@pytest.mark.parametrize("value", [True, False])
def test_images_of_the_wanted_value_are_kept(trained: Path, tmp_path: Path, value: bool) -> None:
    reject_ddim_i(trained / "classifier", "Red", value, [trained / "unguided.parquet"], tmp_path / "d.parquet")
    about = {"method": "ddim_i", "attribute": "Red", "value": value}
    kept, rate = accepted_seeds(tmp_path / "d.parquet", about)
    half = set(range(100, 120) if value else range(120, 140))
    assert set(kept.tolist()) <= half
    assert 0.3 < rate <= 0.5
    frame, _ = read_records(tmp_path / "d.parquet")
    probability = torch.from_numpy(frame["log_prob"].to_numpy(copy=True)).exp()
    assert accept(probability, torch.arange(100, 140)).tolist() == frame["accepted"].tolist()


def test_files_in_anothers_place_are_refused(trained: Path, tmp_path: Path) -> None:
    output = tmp_path / "d.parquet"
    with pytest.raises(WeightsError, match="the weights are of attribute 'Red', expected 'Blue'"):
        reject_ddim_i(trained / "classifier", "Blue", True, [trained / "unguided.parquet"], output)
    with pytest.raises(CorruptFileError, match="was made for method 'exact', expected 'unguided'"):
        reject_ddim_i(trained / "classifier", "Red", True, [trained / "guided.parquet"], output)
    assert not output.exists()
