"""What every source comes to: images, masks and classes of a split, which survive the disk."""

from pathlib import Path

import pandas as pd
import pytest
import torch

from fewshot_diffusion.data.class_set import ClassSet
from fewshot_diffusion.data.image_set import ImageSet, load_attributes, load_image_set, save_image_set
from fewshot_diffusion.data.mask_set import MaskSet, flip_masks, load_masks, save_masks
from fewshot_diffusion.errors import CorruptFileError, DataError


def image_set(ids: list[int]) -> ImageSet:
    images = torch.tensor(ids, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 8, 8).contiguous()
    return ImageSet(images, torch.tensor(ids), pd.DataFrame({"Odd": [id_ % 2 == 1 for id_ in ids]}))


@pytest.mark.parametrize("ids", [[3, 5, 4], [7], []])
@pytest.mark.parametrize("classes", [["even", "odd"], []])
def test_an_image_set_comes_back(tmp_path: Path, ids: list[int], classes: list[str]) -> None:
    wide = torch.randint(256, (len(ids), 3, 8, 16), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    rows = image_set(ids).attributes.astype(bool)
    labels = torch.tensor([id_ % 2 for id_ in ids], dtype=torch.int64) if classes else None
    written = ImageSet(wide, torch.tensor(ids, dtype=torch.int64), rows, labels, classes)
    save_image_set(written, tmp_path / "a.parquet", {"split": "a"})
    found = load_image_set(tmp_path / "a.parquet")
    assert torch.equal(found.images, wide)
    assert found.images.is_contiguous()
    assert torch.equal(found.ids, written.ids)
    assert found.labels is None if labels is None else torch.equal(found.labels, labels)
    assert found.classes == classes
    pd.testing.assert_frame_equal(found.attributes, rows)
    alone = load_attributes(tmp_path / "a.parquet")
    assert (alone.index.name, alone.index.tolist()) == ("id", ids)
    pd.testing.assert_frame_equal(alone.reset_index(drop=True), rows, check_index_type=False)


def test_attributes_are_read_without_a_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_image_set(image_set([3, 5]), tmp_path / "a.parquet", {})
    monkeypatch.setattr("PIL.Image.open", lambda *_: pytest.fail("an image was decoded"))
    assert load_attributes(tmp_path / "a.parquet")["Odd"].to_dict() == {3: True, 5: True}


@pytest.mark.parametrize("number", [4, 0])
def test_masks_come_back(tmp_path: Path, number: int) -> None:
    masks = torch.randint(3, (number, 8, 16), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    save_masks(MaskSet(masks, torch.arange(number), ["a", "b", "c"]), tmp_path / "m.parquet", {})
    found = load_masks(tmp_path / "m.parquet")
    assert torch.equal(found.masks, masks)
    assert (found.ids.tolist(), found.classes) == (list(range(number)), ["a", "b", "c"])
    with pytest.raises(CorruptFileError, match=r"m\.parquet: holds the columns id, mask; expected id, image"):
        load_image_set(tmp_path / "m.parquet")


def test_an_unknown_class_id_names_the_file(tmp_path: Path) -> None:
    wrong = MaskSet(torch.full((1, 4, 4), 5, dtype=torch.uint8), torch.zeros(1).long(), ["a", "b"])
    save_masks(wrong, tmp_path / "m.parquet", {})
    with pytest.raises(DataError, match=r"m\.parquet: found class id 5, expected 0\.\.1 \(a, b\)"):
        load_masks(tmp_path / "m.parquet")


def test_a_mirror_exchanges_left_and_right() -> None:
    masks = torch.tensor([[[0, 1, 2], [3, 3, 1]]], dtype=torch.uint8)
    assert flip_masks(masks, [(1, 2)]).tolist() == [[[1, 2, 0], [2, 3, 3]]]
    assert torch.equal(flip_masks(flip_masks(masks, [(1, 2)]), [(1, 2)]), masks)


@pytest.mark.parametrize("label", [-1, 2])
def test_a_label_outside_the_classes(label: int) -> None:
    with pytest.raises(DataError, match=rf"Labels: found {label}, expected 0\.\.1"):
        ClassSet(torch.zeros(2, 3, 4, 4), torch.tensor([0, label]), torch.arange(2), ["a", "b"])
    with pytest.raises(DataError, match="The images have no classes"):
        image_set([1]).class_set()


def test_selection_keeps_images_ids_and_attributes_together() -> None:
    chosen = image_set([10, 11, 12, 13]).select(torch.tensor([3, 0]))
    assert chosen.ids.tolist() == [13, 10]
    assert chosen.images[:, 0, 0, 0].tolist() == [13, 10]
    assert chosen.attributes["Odd"].tolist() == [True, False]
    odd = image_set([10, 11, 12, 13])
    assert odd.select(odd.mask("Odd", True)).ids.tolist() == [11, 13]
    assert odd.select(odd.mask("Odd", False)).ids.tolist() == [10, 12]
    assert odd.by_ids([12, 10]).images[:, 0, 0, 0].tolist() == [12, 10]


def test_unknown_attributes_and_ids_are_named() -> None:
    with pytest.raises(DataError, match=r"'Even' is not in the data set. It has: Odd"):
        image_set([1]).mask("Even", True)
    with pytest.raises(DataError, match=r"\[7\] are not in this split"):
        image_set([1]).by_ids([1, 7])
