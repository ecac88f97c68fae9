"""Heads read a shot as guidance will read a sample: the same activations at the same level."""

from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import Tensor

from attribute_helpers import head_settings, save_denoiser
from fewshot_diffusion.attributes import features
from fewshot_diffusion.attributes.features import exact_features, readout_features
from fewshot_diffusion.attributes.shots import ShotFiles, draw_attribute_shots
from fewshot_diffusion.data.image_set import ImageSet, save_image_set
from fewshot_diffusion.diffusion.denoiser import Denoiser
from fewshot_diffusion.diffusion.features import pool
from fewshot_diffusion.diffusion.guidance import ExactGuidance, ReadoutGuidance
from fewshot_diffusion.diffusion.schedule import add_noise, make_scheduler
from fewshot_diffusion.errors import DataError
from fewshot_diffusion.seeds import generator

LABELS = torch.tensor([True, True, False, False])


def images(n: int) -> Tensor:
    return torch.randint(0, 256, (n, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def signed(n: int) -> Tensor:
    return images(n).float() / 127.5 - 1


class Recorder:
    """A likelihood that keeps what it is shown."""

    def __init__(self, pool_size: int) -> None:
        self.pool_size = pool_size
        self.seen: list[tuple[int, Tensor]] = []

    def __call__(self, maps: list[Tensor], timestep: int) -> Tensor:
        self.seen.append((timestep, pool(maps, self.pool_size)))
        return self.seen[-1][1].sum(1)


def test_exact_guidance_sees_a_real_image_as_the_head_was_trained_on_it(tiny_denoiser: Denoiser) -> None:
    settings = head_settings()
    shots = exact_features(tiny_denoiser, images(4), LABELS, torch.arange(4), settings)
    record = Recorder(settings.pool_size)
    guidance = ExactGuidance(tiny_denoiser, record, settings.taps, settings.feature_timestep)
    # Without noise the clean estimate is the image itself.
    guidance(signed(4), 900, torch.tensor(1.0))
    ((timestep, seen),) = record.seen
    assert timestep == settings.feature_timestep
    assert torch.equal(seen, shots.inputs[0])
    assert shots.timesteps.tolist() == [settings.feature_timestep]


def test_readout_guidance_sees_a_noised_image_as_the_head_was_trained_on_it(tiny_denoiser: Denoiser) -> None:
    settings = head_settings()
    shots = readout_features(tiny_denoiser, images(4), LABELS, torch.arange(4), settings)
    assert shots.timesteps.tolist() == [40, 400]
    record, clean = Recorder(settings.pool_size), signed(4).repeat(2, 1, 1, 1)
    for level, timestep in enumerate([40, 400]):
        noise = torch.randn(clean.shape, generator=generator("readout shots", timestep))
        alpha_bar_t = make_scheduler(tiny_denoiser.schedule).alphas_cumprod[timestep]
        x_t = add_noise(clean, noise, alpha_bar_t)
        ReadoutGuidance(tiny_denoiser, record, settings.taps)(x_t, timestep, alpha_bar_t)
        assert record.seen[level][0] == timestep
        assert torch.equal(record.seen[level][1], shots.inputs[level])
    assert torch.equal(shots.labels, LABELS.repeat(2))
    assert torch.equal(shots.groups, torch.arange(4).repeat(2))


def test_flips_double_the_rows_and_keep_their_image(tiny_denoiser: Denoiser) -> None:
    labels, ids = torch.tensor([True, False, False]), torch.tensor([7, 3, 5])
    plain = exact_features(tiny_denoiser, images(3), labels, ids, head_settings())
    flipped = exact_features(tiny_denoiser, images(3), labels, ids, head_settings(flip=True))
    mirrored = exact_features(tiny_denoiser, images(3).flip(-1), labels, ids, head_settings())
    expected = torch.cat([plain.inputs, mirrored.inputs], dim=1)
    torch.testing.assert_close(flipped.inputs, expected, rtol=1e-5, atol=1e-5)
    assert flipped.groups.tolist() == [7, 3, 5, 7, 3, 5]
    assert flipped.labels.tolist() == [True, False, False] * 2


# --- as a job ---


@pytest.fixture
def pool_file(tmp_path: Path) -> Path:
    attributes = pd.DataFrame({"Blond": [i % 2 == 0 for i in range(12)], "Beard": [i < 5 for i in range(12)]})
    save_image_set(ImageSet(images(12), torch.arange(12) + 50, attributes), tmp_path / "pool.parquet", {})
    return tmp_path / "pool.parquet"


def drawn(attribute: str, pool_file: Path) -> ShotFiles:
    path = pool_file.parent / f"{attribute}.csv"
    draw_attribute_shots(head_settings(), attribute, pool_file, path)
    return ShotFiles(attribute, path, pool_file)


@pytest.mark.parametrize("mode", ["exact", "readout"])
def test_the_cache_is_of_the_labelled_shots_and_says_whose(tiny_denoiser: Denoiser, pool_file: Path, mode: str) -> None:
    folder, cache = pool_file.parent / "denoiser", pool_file.parent / "cache.safetensors"
    denoiser = save_denoiser(tiny_denoiser, folder)
    shots = drawn("Blond", pool_file)
    features.extract_attribute_features(head_settings(), mode, shots, folder, cache, device="cpu")
    found, about = features.load_shot_features(cache, {"mode": mode, "attribute": "Blond", "denoiser": denoiser.digest})
    assert len(about) == 3
    chosen, labels = shots.load()
    expected = features.FEATURES[mode](denoiser, chosen.images, labels, chosen.ids, head_settings())
    assert torch.equal(found.inputs, expected.inputs)
    assert torch.equal(found.labels, expected.labels) and torch.equal(found.groups, expected.groups)


def test_shots_in_anothers_place_are_refused(pool_file: Path) -> None:
    images, labels = drawn("Blond", pool_file).load()
    assert labels.tolist() == [True] * 4 + [False] * 3
    assert torch.equal(images.ids % 2 == 0, labels)
    others = drawn("Beard", pool_file)
    with pytest.raises(DataError, match=r"Beard\.csv: \d of 7 labels are not those of Blond .*file: {Blond: my.c"):
        ShotFiles("Blond", others.shots, pool_file).load()


def test_a_person_s_labels_stand_where_they_differ_from_the_pool_s(pool_file: Path) -> None:
    own, shots = pool_file.parent / "my.csv", pool_file.parent / "shots.csv"
    own.write_text("id,label\n52,no\n50,yes\n53,YES\n51,no\n")
    draw_attribute_shots(head_settings(), "Blond", pool_file, shots, own)
    assert shots.read_text() == "id,label\n52,False\n50,True\n53,True\n51,False\n"
    images, labels = ShotFiles("Blond", shots, pool_file, own_labels=True).load()
    assert (images.ids.tolist(), labels.tolist()) == ([52, 50, 53, 51], [False, True, True, False])
