"""Image-mask pairs from a folder or a zip: joins, order, sizes, and every way in which they can be wrong."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fewshot_diffusion.config.data import MaskFolderConfig
from fewshot_diffusion.data.index import hash_of
from fewshot_diffusion.errors import DataError
from source_helpers import all_images, all_masks

NAMES = [f"face{i}" for i in range(8)]
CLASSES = ["background", "skin", "left", "right"]
NUMBERS = {hash_of(name): i for i, name in enumerate(NAMES)} | {hash_of(f"{100 + i}.jpg"): i for i in range(len(NAMES))}


def encoded(pixels: np.ndarray, suffix: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format={"jpg": "JPEG", "png": "PNG"}[suffix])
    return buffer.getvalue()


def mask_of(i: int) -> np.ndarray:
    mask = np.zeros((32, 32), dtype=np.uint8)
    mask[:, :16], mask[4 + i :, 16:] = 1, 2 + i % 2
    return mask


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for i, name in enumerate(NAMES):
        for part, content, suffix in (
            ("images", encoded(np.full((32, 32, 3), 20 * i, dtype=np.uint8), "jpg"), "jpg"),
            ("masks", encoded(mask_of(i), "png"), "png"),
        ):
            path = tmp_path / "set" / part / f"{name}.{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    rows = [f"{name},{100 + i}.jpg" for i, name in enumerate(NAMES)]
    (tmp_path / "ids.csv").write_text("\n".join(["name,celebahq_file", *rows]) + "\n")
    lines = [f"{100 + i}.jpg {1 if i % 2 else -1}" for i in range(len(NAMES))]
    (tmp_path / "list.txt").write_text("\n".join([str(len(lines)), "Male", *lines]) + "\n")
    return tmp_path


def settings(folder: Path, **changes: object) -> MaskFolderConfig:
    return MaskFolderConfig(path=folder / "set", classes=CLASSES).model_copy(update=changes)


def joined(folder: Path) -> MaskFolderConfig:
    names = {"ids_file": folder / "ids.csv", "attribute_file": folder / "list.txt", "attributes": {"Man": "Male"}}
    return settings(folder, **names)


def test_images_and_masks_are_of_the_same_names_in_the_same_order(folder: Path) -> None:
    images, masks = all_images(joined(folder), 16), all_masks(joined(folder), 16)
    assert images.ids.tolist() == masks.ids.tolist()
    assert sorted(NUMBERS[id_] for id_ in images.ids.tolist()) == list(range(len(NAMES)))
    assert images.ids.tolist() == sorted(hash_of(f"{100 + i}.jpg") for i in range(len(NAMES)))
    assert masks.classes == CLASSES
    assert images.attributes["Man"].tolist() == [bool(NUMBERS[id_] % 2) for id_ in images.ids.tolist()]
    for image, mask, id_ in zip(images.images, masks.masks, images.ids.tolist(), strict=True):
        assert abs(float(image.float().mean()) - 20 * NUMBERS[id_]) < 2
        assert torch.equal(mask, torch.from_numpy(mask_of(NUMBERS[id_])[1::2, 1::2].copy()))


@pytest.mark.parametrize("size", [8, 16, 24, 64])
def test_label_sets_survive_resizing(folder: Path, size: int) -> None:
    masks = all_masks(joined(folder), size)
    for mask, id_ in zip(masks.masks, masks.ids.tolist(), strict=True):
        assert mask.unique().tolist() == np.unique(mask_of(NUMBERS[id_])).tolist()


def refusal(config: MaskFolderConfig) -> str:
    with pytest.raises(DataError) as caught:
        (all_images(config, 8), all_masks(config, 8))
    return str(caught.value)


def test_pixels_without_a_class_become_one(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    mask = np.where(mask_of(5) == 3, 255, mask_of(5)).astype(np.uint8)
    (folder / "set/masks/face5.png").write_bytes(encoded(mask, "png"))
    assert "255 is what has no class, set data.mask_folder.ignore: 255." in refusal(settings(folder))
    found = all_masks(settings(folder, ignore=255, ignore_as="right"), 32)
    assert torch.equal(found.by_ids([hash_of("face5")]).masks[0], torch.from_numpy(mask_of(5)))
    assert "1 images with pixels of value 255, which became 'right'" in caplog.text
    assert all_masks(settings(folder, ignore=255), 32).by_ids([hash_of("face5")]).masks.unique().tolist() == [0, 1]
    with pytest.raises(ValueError, match="ignore_as: found 'sky', expected one of background, skin"):
        MaskFolderConfig(path=Path("x"), classes=CLASSES, ignore=255, ignore_as="sky")


@pytest.mark.parametrize("drawn", ["as shown", "as stored"])
def test_masks_of_turned_photos(folder: Path, drawn: str) -> None:
    """The stored image lies on its left side; what is shown is white above."""
    exif = Image.Exif()
    exif[0x0112] = 6
    stored, mask = np.zeros((32, 48, 3), dtype=np.uint8), np.zeros((32, 48), dtype=np.uint8)
    stored[:, :24], mask[:, :24] = 255, 1
    Image.fromarray(stored).save(folder / "set/images/face0.jpg", exif=exif, quality=95)
    mask = np.rot90(mask, -1) if drawn == "as shown" else mask
    (folder / "set/masks/face0.png").write_bytes(encoded(np.ascontiguousarray(mask), "png"))
    images, masks = (read(settings(folder), 16) for read in (all_images, all_masks))
    shown, found = images.by_ids([hash_of("face0")]).images[0, 0], masks.by_ids([hash_of("face0")]).masks[0]
    assert found[:8].float().mean() == 1
    assert found[8:].float().mean() == 0
    assert torch.equal(shown > 127, found.bool())


SHORT = "7\nMale\n" + "".join(f"{100 + i}.jpg 1\n" for i in range(7))


@pytest.mark.parametrize(
    ("file", "change", "said"),
    [
        ("set/masks/face3.png", None, "images/face3.jpg: has no mask; expected masks/face3.png"),
        ("set/images/face3.jpg", None, "masks/face3.png: has no image"),
        ("set/images/face1.png", b"", "images/face1.jpg and images/face1.png have one name"),
        ("set/masks/face5.png", encoded(np.full((32, 32), 4, np.uint8), "png"), "face5.png: found class id 4, exp"),
        ("set/masks/face5.png", encoded(np.zeros((32, 48), np.uint8), "png"), "the shape of its image, 32 x 32"),
        ("ids.csv", ("face6,106.jpg\n", ""), "ids.csv: face6 of the images are not in it"),
        ("ids.csv", ("106.jpg", "105.jpg"), "105.jpg is there twice"),
        ("ids.csv", ("face6,106.jpg\n", "face6,106.jpg\nface6,200.jpg\n"), "face6 stands in it twice"),
        ("ids.csv", ("celebahq_file", "file"), "found the columns 'name,file', expected name, celebahq_file"),
        ("list.txt", SHORT.encode(), "list.txt: 107.jpg of the images are not in it"),
    ],
)  # fmt: skip
def test_what_does_not_fit_together_is_named(
    folder: Path, file: str, change: bytes | tuple[str, str] | None, said: str
) -> None:
    if change is None:
        (folder / file).unlink()
    else:
        content = change if isinstance(change, bytes) else (folder / file).read_text().replace(*change).encode()
        (folder / file).write_bytes(content)
    assert said in refusal(joined(folder))


def test_no_pairs_and_attributes_without_what_they_are_joined_from_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="found no pairs"):
        all_images(MaskFolderConfig(path=tmp_path, classes=CLASSES))
    with pytest.raises(ValueError, match="expected ids_file and attribute_file"):
        MaskFolderConfig(path=tmp_path, classes=CLASSES, attributes={"Man": "Male"})
