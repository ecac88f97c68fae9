"""Sample sets as jobs draw them: the same bytes for any shards, and files that know what they are of."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from attribute_helpers import random_head, save_denoiser
from fewshot_diffusion.attributes.guidance import Steering
from fewshot_diffusion.attributes.sampling import Share, sample_attributes
from fewshot_diffusion.config.sampling import SamplingConfig
from fewshot_diffusion.diffusion.denoiser import Denoiser
from fewshot_diffusion.diffusion.samples import SampleSet, load_samples, seconds_per_sample
from fewshot_diffusion.errors import CorruptFileError, WeightsError
from fewshot_diffusion.storage.weights import save_module
from support import smoke_config

BLOND = Steering("exact", "Blond", True, 30.0)


@pytest.fixture
def folder(tiny_denoiser: Denoiser, tmp_path: Path) -> Path:
    """A denoiser, and a head for each mode."""
    digest = save_denoiser(tiny_denoiser, tmp_path / "denoiser").digest
    for mode in ("exact", "readout"):
        head = random_head(tiny_denoiser)
        about = {"denoiser": digest, "mode": mode, "attribute": "Blond"}
        save_module(head, head.config, tmp_path / mode, about)
    return tmp_path


def settings(**changes: object) -> SamplingConfig:
    changes = {"num_inference_steps": 3, "unit_size": 2, "precision": "float32", **changes}
    return smoke_config().sampling.model_copy(update=changes)


def draw(folder: Path, steering: Steering, shard: str = "1-of-1", head: str | None = None, **changes: object) -> Path:
    output = folder / "samples" / f"{steering.method}-{steering.value}-{steering.guidance_scale:g}" / f"{shard}.parquet"
    share = Share(10, 3, shard, folder / "checkpoints", output)
    head_folder = None if head == "" or steering.method == "unguided" else folder / (head or steering.method)
    sample_attributes(settings(**changes), folder / "denoiser", steering, share, head_folder, device="cpu")
    return output


def loaded(*paths: Path) -> SampleSet:
    return load_samples(paths)


@pytest.mark.slow
def test_a_set_is_the_same_for_any_number_of_jobs(folder: Path) -> None:
    whole = loaded(draw(folder, BLOND))
    checkpoints = sorted((folder / "checkpoints").rglob("unit-*.safetensors"))
    assert len(checkpoints) == 3
    for path in checkpoints:
        path.unlink()
    shared = loaded(*(draw(folder, BLOND, f"{i}-of-2") for i in (2, 1)))
    assert whole.seeds.tolist() == shared.seeds.tolist() == list(range(10, 16))
    assert torch.equal(whole.images, shared.images)
    assert whole.forwards_per_sample == shared.forwards_per_sample > 3
    assert loaded(draw(folder, Steering())).forwards_per_sample == 3


@pytest.mark.slow
def test_what_samples_are_steered_by_decides_them(folder: Path) -> None:
    away, weaker = Steering("exact", "Blond", False, 30.0), Steering("exact", "Blond", True, 3.0)
    read = Steering("readout", "Blond", True, 30.0)
    images = [loaded(draw(folder, steering)).images for steering in (BLOND, away, weaker, read, Steering())]
    for i, one in enumerate(images):
        assert one.shape == (6, 3, 16, 16)
        assert all(not torch.equal(one, other) for other in images[:i])
    # One folder of finished units each: none is taken for another. Where a set begins does not matter to a unit.
    draw(folder, Steering(), first_seed=99)
    assert len(list((folder / "checkpoints").iterdir())) == 5


def test_a_shard_says_what_it_is_of(folder: Path) -> None:
    path = draw(folder, BLOND)
    assert seconds_per_sample([path.with_suffix(".timing.json")]) > 0
    own = {"method": "exact", "attribute": "Blond", "value": True, "guidance_scale": 30}
    assert own.items() <= BLOND.about.items()
    load_samples([path], own)
    for key, other in {"method": "readout", "attribute": "Beard", "value": False, "guidance_scale": 3}.items():
        with pytest.raises(CorruptFileError, match=rf"1-of-1\.parquet: was made for {key} .*, expected {other!r}"):
            load_samples([path], {**own, key: other})
    pool = draw(folder, Steering())
    load_samples([pool], {"method": "unguided"})
    with pytest.raises(CorruptFileError, match="was made for method 'unguided', expected 'exact'"):
        load_samples([pool], BLOND.about)


@pytest.mark.parametrize(
    ("head", "said"),
    [
        ("readout", "the weights are of mode 'readout', expected 'exact'"),
        ("", "--head: found none, .*/exact/Blond`"),
    ],
)
@pytest.mark.parametrize("method", ["exact", "direct"])
def test_another_head_or_none_is_refused_before_anything_is_drawn(
    folder: Path, head: str, said: str, method: str
) -> None:
    with pytest.raises(WeightsError, match=said):
        draw(folder, replace(BLOND, method=method), head=head)
    assert not (folder / "samples").exists()
    assert not (folder / "checkpoints").exists()
