"""What stands for a class: described samples with their cost, and selections of what is described already."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from attribute_helpers import described, save_judges
from fewshot_diffusion.attributes.baselines.decisions import save_decisions
from fewshot_diffusion.attributes.descriptions import Standing, describe_samples, select_images
from fewshot_diffusion.attributes.guidance import Steering
from fewshot_diffusion.config.evaluation import EvaluationConfig, ExtractorConfig
from fewshot_diffusion.diffusion.samples import SampleSet, save_samples, write_timing
from fewshot_diffusion.errors import CorruptFileError, WeightsError
from fewshot_diffusion.metrics.descriptions import Cost, Description, load_description, save_description

BLOND = Steering("exact", "Blond", True, 3.0)
DDIM_I = Standing("ddim_i", "Blond", True)
SETTINGS = EvaluationConfig(
    extractors=[ExtractorConfig(kind="efficientnet_lite0")], samples=4, bootstrap=20, kernel_subset=32
)


@pytest.fixture
def shards(tmp_path: Path) -> list[Path]:
    """Two shards of samples; the second job had nothing to do but start."""
    images = torch.randint(0, 256, (3, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    paths = [tmp_path / "1-of-2.parquet", tmp_path / "2-of-2.parquet"]
    save_samples(SampleSet(images, torch.arange(3), 6.5), paths[0], BLOND.about)
    save_samples(SampleSet(images[:1], torch.tensor([3]), 6.5), paths[1], BLOND.about)
    for path, seconds, n in zip(paths, (3.0, 1.0), (3, 1), strict=True):
        write_timing(path.with_suffix(".timing.json"), seconds, n)
    save_judges(tmp_path)
    return paths


def describe_as(steering: Steering, shards: list[Path], judge: str = "judge") -> Description:
    output = shards[0].parent / "described.safetensors"
    describe_samples(SETTINGS, steering, shards, shards[0].parent / judge, output, device="cpu")
    return load_description(output, steering.about)


def test_described_samples_carry_their_method_and_cost(shards: list[Path]) -> None:
    found = describe_as(BLOND, shards)
    assert found.method == "exact"
    assert found.cost == Cost(forwards_per_sample=6.5, seconds_per_sample=1.0, acceptance_rate=1.0)
    assert found.ids.tolist() == [0, 1, 2, 3]
    assert found.features["efficientnet_lite0"].shape == (4, 1280)
    assert torch.equal(found.features["efficientnet_lite0"][0], found.features["efficientnet_lite0"][3])
    assert found.probabilities["Blond"].shape == (4,)
    assert found.gallery.shape == (4, 3, 16, 16)


@pytest.mark.parametrize(
    "change", [{"method": "readout"}, {"attribute": "Beard"}, {"value": False}, {"guidance_scale": 10.0}]
)
def test_samples_in_anothers_place_are_refused(shards: list[Path], change: dict[str, object]) -> None:
    with pytest.raises(CorruptFileError, match=rf"1-of-2\.parquet: was made for {next(iter(change))}"):
        describe_as(replace(BLOND, **change), shards)
    assert not (shards[0].parent / "described.safetensors").exists()


def test_what_tunes_never_reports(shards: list[Path]) -> None:
    with pytest.raises(WeightsError, match="'tuning_judge', expected 'judge'"):
        describe_as(BLOND, shards, "tuning_judge")


# --- selections ---


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    save_description(described(12, 1, cost=Cost(20.0, 0.5)), tmp_path / "pool.safetensors", {})
    return tmp_path / "pool.safetensors"


def decide(pool: Path, kept: tuple[int, ...], standing: Standing = DDIM_I) -> Path:
    path, seeds = pool.parent / "decisions.parquet", torch.arange(12)
    accepted = torch.isin(seeds, torch.tensor(kept, dtype=torch.int64))
    save_decisions(torch.full((12,), 0.9), seeds, accepted, path, vars(standing))
    return path


@pytest.mark.parametrize(("kept", "rate"), [((2, 5, 11), 0.25), ((), 0.0)])
def test_a_filter_selects_what_it_keeps_at_the_price_of_the_rest(
    pool: Path, kept: tuple[int, ...], rate: float
) -> None:
    output = pool.parent / "ddim_i.safetensors"
    select_images(pool, "unguided", DDIM_I, output, decide(pool, kept))
    found, whole = load_description(output, vars(DDIM_I)), load_description(pool)
    assert found.method == "ddim_i"
    assert found.ids.tolist() == list(kept)
    assert torch.equal(found.features["net"], whole.features["net"][list(kept)])
    assert found.cost == Cost(20.0, 0.5, rate)


def test_all_real_images_stand_for_a_class_naively(tmp_path: Path) -> None:
    real = described(9, 2, method="real", first_id=300)
    save_description(real, tmp_path / "controls.safetensors")
    standing = Standing("naive", "Blond", False)
    select_images(tmp_path / "controls.safetensors", "real", standing, tmp_path / "naive.safetensors")
    found = load_description(tmp_path / "naive.safetensors", {"method": "naive", "attribute": "Blond", "value": False})
    assert torch.equal(found.ids, real.ids)
    assert torch.equal(found.features["net"], real.features["net"])
    assert math.isnan(found.cost.seconds_per_sample)
    assert found.cost.forwards_per_sample == 0


def test_selections_refuse_what_is_not_theirs(pool: Path) -> None:
    output = pool.parent / "out.safetensors"
    with pytest.raises(CorruptFileError, match=r"pool\.safetensors: was made for method 'unguided', expected 'real'"):
        select_images(pool, "real", Standing("naive", "Blond", True), output)
    with pytest.raises(CorruptFileError, match=r"decisions\.parquet: was made for value False, expected True"):
        select_images(pool, "unguided", DDIM_I, output, decide(pool, (1,), replace(DDIM_I, value=False)))
    assert not output.exists()
