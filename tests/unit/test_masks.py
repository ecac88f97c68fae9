"""Part masks: what they depict, how they are drawn as pairs, measured and painted."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from fewshot_diffusion.config.data import AvatarsConfig, DataConfig
from fewshot_diffusion.config.model import load_config
from fewshot_diffusion.data.avatar_masks import component_classes, draw_masks
from fewshot_diffusion.data.avatars import draw_avatars, load_style
from fewshot_diffusion.data.image_set import ImageSet
from fewshot_diffusion.data.mask_set import MaskSet, load_masks, save_masks
from fewshot_diffusion.data.shots import draw_pairs, join_pairs, read_pairs
from fewshot_diffusion.data.sources import make_images, make_masks
from fewshot_diffusion.errors import ConfigError, CorruptFileError, DataError
from fewshot_diffusion.masks.figures import paint_masks
from fewshot_diffusion.masks.metrics import agreement, confusion, diversity, miou
from fewshot_diffusion.storage.tables import write_csv

DEFAULT = yaml.safe_load(Path("config/config.yaml").read_text())
AVATARS = AvatarsConfig.model_validate(DEFAULT["data"]["avatars"])
CLASSES = ["background", *AVATARS.parts]
SIZE = 64


@pytest.fixture(scope="module")
def pairs() -> tuple[torch.Tensor, torch.Tensor, pd.DataFrame]:
    ids = range(500, 530)
    drawn = draw_avatars(AVATARS, SIZE, ids)
    return drawn.images, draw_masks(AVATARS, SIZE, ids), drawn.attributes


def test_masks_hold_class_ids_and_every_class_occurs(pairs: tuple[torch.Tensor, torch.Tensor, pd.DataFrame]) -> None:
    assert pairs[1].dtype == torch.uint8
    assert pairs[1].shape == (30, SIZE, SIZE)
    assert pairs[1].unique().tolist() == list(range(len(CLASSES)))


def test_a_mask_has_a_beard_where_the_attribute_says_so(
    pairs: tuple[torch.Tensor, torch.Tensor, pd.DataFrame],
) -> None:
    has_beard = (pairs[1] == CLASSES.index("beard")).flatten(1).sum(1) > 20
    assert has_beard.tolist() == pairs[2]["Beard"].tolist()


def test_masks_lie_on_the_pixels_that_they_name(pairs: tuple[torch.Tensor, torch.Tensor, pd.DataFrame]) -> None:
    """Hair is one flat colour: pixels of a blond avatar that have it are hair, beard or brows, and nothing else."""
    images, masks, attributes = pairs
    blond = torch.tensor([0xD6, 0xB3, 0x70]).view(3, 1, 1)
    for row in np.flatnonzero(attributes["Blond"].to_numpy()):
        coloured = (images[row].int() - blond).abs().amax(0) <= 2
        assert coloured.sum() > 100
        named = torch.isin(masks[row], torch.tensor([CLASSES.index(name) for name in ("hair", "beard", "eyes")]))
        assert (named & coloured).sum() >= 0.97 * coloured.sum()


def test_masks_do_not_depend_on_their_neighbours() -> None:
    together, alone = draw_masks(AVATARS, SIZE, range(7, 10)), draw_masks(AVATARS, SIZE, range(8, 9))
    assert torch.equal(together[1], alone[0])


@pytest.mark.parametrize("change", [{"hair": ["hair"]}, {"hat": ["hat"]}, {"skin": ["head", "body", "hair"]}])
def test_parts_must_name_every_component_once(change: dict[str, list[str]]) -> None:
    with pytest.raises(DataError, match=r"data\.avatars\.parts: found .* expected each of beard, body"):
        component_classes(load_style("toon-head"), AVATARS.parts | change)


def test_masks_of_a_split_have_the_ids_of_its_images() -> None:
    data = DataConfig.model_validate(
        DEFAULT["data"] | {"image_size": 16, "splits": dict.fromkeys(DEFAULT["data"]["splits"], 3)}
    )
    masks, images = make_masks(data, data.split_range("judge")), make_images(data, data.split_range("judge"))
    assert masks.ids.tolist() == images.ids.tolist()
    assert masks.classes == CLASSES


def test_masks_survive_the_disk_and_damage_is_found(tmp_path: Path) -> None:
    path = tmp_path / "masks.safetensors"
    written = MaskSet(torch.randint(3, (4, 8, 8)).to(torch.uint8), torch.arange(4), ["a", "b", "c"])
    save_masks(written, path, {})
    read = load_masks(path)
    assert torch.equal(read.masks, written.masks)
    assert read.classes == ["a", "b", "c"]
    path.write_bytes(path.read_bytes()[:-1] + b"\x07")
    with pytest.raises(CorruptFileError, match=r"masks\.safetensors"):
        load_masks(path)


def test_an_unknown_class_id_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "masks.safetensors"
    save_masks(MaskSet(torch.full((1, 4, 4), 5, dtype=torch.uint8), torch.zeros(1).long(), ["a", "b"]), path, {})
    with pytest.raises(DataError, match=r"masks\.safetensors: found class id 5, expected 0\.\.1 \(a, b\)"):
        load_masks(path)


def mask_pool(number: int = 10) -> MaskSet:
    return MaskSet(torch.zeros(number, 4, 4, dtype=torch.uint8), torch.arange(100, 100 + number), ["a"])


def test_fewer_pairs_are_a_prefix_of_more() -> None:
    five, nine = draw_pairs(mask_pool(), 5, seed=0), draw_pairs(mask_pool(), 9, seed=0)
    assert nine[:5] == five
    assert len(set(nine)) == 9
    assert draw_pairs(mask_pool(), 5, seed=1) != five
    with pytest.raises(DataError, match="11 pairs are asked for, the pool has 10"):
        draw_pairs(mask_pool(), 11, seed=0)


def test_pairs_need_an_image_and_a_mask(tmp_path: Path) -> None:
    images = ImageSet(
        torch.zeros(3, 3, 4, 4, dtype=torch.uint8), torch.tensor([100, 101, 999]), pd.DataFrame(index=range(3))
    )
    path = tmp_path / "pairs.csv"
    write_csv(path, pd.DataFrame({"id": [101, 100]}))
    assert read_pairs(path, images, mask_pool())[1].ids.tolist() == [101, 100]
    for id_, missing in ((999, "no mask"), (105, "not in this split")):
        write_csv(path, pd.DataFrame({"id": [id_]}))
        with pytest.raises(DataError, match=missing):
            read_pairs(path, images, mask_pool())
    write_csv(path, pd.DataFrame({"name": [3]}))
    with pytest.raises(DataError, match=r"pairs\.csv: found columns"):
        read_pairs(path, images, mask_pool())
    with pytest.raises(DataError):
        join_pairs(images, mask_pool())


def test_miou_by_hand() -> None:
    wanted = torch.tensor([[[0, 0], [1, 1]]], dtype=torch.uint8)
    found = torch.tensor([[[0, 1], [1, 1]]], dtype=torch.uint8)
    counts = confusion(wanted, found, 3)
    assert counts[0].tolist() == [[1, 1, 0], [0, 2, 0], [0, 0, 0]]
    assert miou(counts) == pytest.approx((1 / 2 + 2 / 3) / 2)  # class 2 is nowhere: it does not count


def test_agreement_of_equal_masks_is_one_and_of_others_lies_in_its_interval() -> None:
    stream = torch.Generator().manual_seed(0)
    wanted = torch.randint(4, (2, 12, 8, 8), generator=stream).to(torch.uint8)
    same = agreement(wanted, wanted, 4, replicates=20)
    assert (same.miou.value, same.miou.low, same.miou.high, same.pixel_accuracy) == (1, 1, 1, 1)
    noisy = torch.where(torch.rand(wanted.shape, generator=stream) < 0.3, 0, wanted).to(torch.uint8)
    other = agreement(wanted, noisy, 4, replicates=200)
    assert other.miou.low < other.miou.value < other.miou.high < 1
    assert other.pixel_accuracy == pytest.approx(float((wanted == noisy).float().mean()))


def test_diversity_is_the_mean_distance_within_a_mask() -> None:
    features = torch.tensor([[[0.0, 0.0], [5.0, 5.0]], [[3.0, 4.0], [5.0, 5.0]]])  # 2 samples of 2 masks
    assert diversity(features) == pytest.approx((5 + 0) / 2)
    assert np.isnan(diversity(features[:1]))


def test_every_class_has_a_colour_of_its_own() -> None:
    painted = paint_masks(torch.arange(20, dtype=torch.uint8).view(1, 4, 5))
    assert painted.shape == (1, 3, 4, 5)
    assert len(painted.flatten(2)[0].T.unique(dim=0)) == 20


def test_an_unknown_preset_and_misaligned_seeds_are_refused() -> None:
    for changes, message in (
        ({"segmentation": DEFAULT["segmentation"] | {"preset": "typo"}}, "expected one of paper, corrected"),
        ({"sampling": DEFAULT["sampling"] | {"first_seed": 7}}, "sampling.first_seed: 7 shows mask 7 first"),
    ):
        with pytest.raises(ConfigError, match=message):
            load_config(DEFAULT | changes)
