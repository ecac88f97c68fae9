"""Tiny-ImageNet's layouts, and what in a folder of classes does not fit together."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fewshot_diffusion.config.data import ImageFolderConfig
from fewshot_diffusion.data.image_folder import list_class_images
from fewshot_diffusion.data.image_set import ImageSet
from fewshot_diffusion.errors import DataError
from source_helpers import all_images

CLASSES = ["n01", "n02", "n03"]
TRAIN, VALIDATION = 12, 6
NAMES = "val/val_annotations.txt"


def encoded(value: int, mode: str = "RGB") -> bytes:
    buffer = io.BytesIO()
    pixels = np.full((16, 16, 3), value, dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(buffer, format="PNG" if mode == "RGBA" else "JPEG")
    return buffer.getvalue()


def write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


@pytest.fixture(params=["stock", "plain"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Images whose grey level is ten times their class."""
    root, lines = tmp_path / "set", []
    for label, name in enumerate(CLASSES):
        for i in range(TRAIN // 3):
            inside = "images/" if request.param == "stock" else ""
            write(root / "train" / name / f"{inside}{name}_{i}.JPEG", encoded(10 * label + 5))
        for i in range(VALIDATION // 3):
            file = f"val_{label}{i}.JPEG"
            lines.append(f"{file}\t{name}\t0\t0\t62\t62")
            write(root / "val" / ("images" if request.param == "stock" else name) / file, encoded(10 * label + 5))
    if request.param == "stock":
        write(root / NAMES, "\n".join(lines).encode())
    return root


def read(folder: Path, part: str = "train", **changes: object) -> ImageSet:
    return all_images(ImageFolderConfig(path=folder).model_copy(update=changes), 8, part)


def shown_classes(found: ImageSet) -> list[int]:
    return ((found.images.float().mean((1, 2, 3)) - 5) / 10).round().long().tolist()  # type: ignore[no-any-return]


@pytest.mark.parametrize(("part", "number"), [("train", TRAIN), ("val", VALIDATION)])
def test_every_image_has_the_label_of_its_class(folder: Path, part: str, number: int) -> None:
    found = read(folder, part, attributes={"Fish": "n02"})
    assert found.classes == CLASSES
    assert found.labels.bincount().tolist() == [number // 3] * 3
    assert found.ids.tolist() == sorted(set(found.ids.tolist()))
    assert shown_classes(found) == found.labels.tolist() != sorted(found.labels.tolist())
    assert found.attributes["Fish"].tolist() == (found.labels == 1).tolist(), "membership of a class"


def test_a_zip_reads_like_its_folder(folder: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for file in sorted(folder.rglob("*.*")):
            archive.write(file, file.relative_to(folder))
    assert torch.equal(read(tmp_path / "set.zip").images, read(folder).images)
    assert torch.equal(read(tmp_path / "set.zip").labels, read(folder).labels)


@pytest.mark.parametrize("folder", ["plain"], indirect=True)
@pytest.mark.parametrize("mode", ["L", "RGBA"])
def test_grey_and_transparent_images_are_converted_or_refused(folder: Path, mode: str) -> None:
    (folder / "train/n03/n03_0.JPEG").write_bytes(encoded(25, mode))
    assert len(read(folder)) == TRAIN
    with pytest.raises(DataError, match=f"found mode {mode}, expected RGB"):
        read(folder, grey="refuse")


@pytest.mark.parametrize("folder", ["plain"], indirect=True)
def test_a_truncated_image_stops_or_is_counted(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    path = folder / "train/n02/n02_0.JPEG"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DataError, match=rf"{path.name}: not a readable image"):
        read(folder)
    assert len(read(folder, unreadable="skip")) == TRAIN - 1
    assert "1 images left out, since they are unreadable" in caplog.text
    for file in folder.rglob("*.JPEG"):
        file.write_bytes(b"x")
    found = read(folder, unreadable="skip", attributes={"Fish": "n02"})
    assert (found.images.shape, found.ids.dtype) == ((0, 3, 8, 8), torch.int64)
    assert (len(found.attributes), found.attributes.columns.tolist()) == (0, ["Fish"])


def test_classes_without_images_and_images_without_a_class_are_named(folder: Path) -> None:
    with pytest.raises(DataError, match="found no class n99; it has: n01, n02, n03"):
        read(folder, attributes={"Fish": "n99"})
    with pytest.raises(DataError, match="found no classes, expected train/<class>"):
        read(folder / "train/n01")
    if (folder / NAMES).is_file():
        (folder / NAMES).write_text((folder / NAMES).read_text().replace("n03", "n77"))
    else:
        (folder / "val/n03").rename(folder / "val/n77")
    with pytest.raises(DataError, match="found class n77, which train/ does not have"):
        read(folder)
    (folder / "train/n99").mkdir()
    with pytest.raises(DataError, match="train/: no images in the class n99"):
        read(folder)


@pytest.mark.parametrize("folder", ["stock"], indirect=True)
@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (b"alone", "line 1: expected <file>"),
        (b"../../secret.jpg\tn01\nval_00.JPEG\tn01", "val/images/../../secret.jpg is not in val/images/"),
        (b"", "val/images/val_00.JPEG has no line in it"),
    ],
)
def test_a_list_and_the_images_of_val_name_each_other(folder: Path, line: bytes, fault: str) -> None:
    (folder / NAMES).write_bytes(line + b"\n" + (folder / NAMES).read_bytes().partition(b"\n")[2])
    with pytest.raises(DataError, match=fault):
        read(folder, "val")


@pytest.mark.parametrize("layout", ["val/{}/images/x.jpg", "val/{}/x.jpg", "val/images/{}.jpg"])
def test_every_layout_of_validation_images(tmp_path: Path, layout: str) -> None:
    """A list that is left beside sorted classes is not looked at."""
    for label, name in enumerate(CLASSES):
        write(tmp_path / layout.format(name), encoded(10 * label + 5))
        write(tmp_path / "train" / name / "x.jpg", encoded(0))
    write(tmp_path / NAMES, "".join(f"{name}.jpg\t{name}\t\n" for name in CLASSES).encode())
    found = read(tmp_path, "val")
    assert shown_classes(found) == found.labels.tolist()
    assert sorted(found.labels.tolist()) == [0, 1, 2]


@pytest.mark.parametrize("folder", ["plain"], indirect=True)
def test_the_first_of_each_class_in_order(folder: Path) -> None:
    few, more = read(folder).class_set().first_of_each(2), read(folder).class_set().first_of_each(3)
    assert few.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert few.ids[few.labels == 1].tolist() == more.ids[more.labels == 1].tolist()[:2]
    with pytest.raises(DataError, match="class 'n01': found 4 images, expected 5"):
        read(folder).class_set().first_of_each(5)


def test_images_outside_the_layout_are_told(folder: Path) -> None:
    strays = ["train/loose.png", "train/n01/x/y/deep.png", "train/n01/kind/1.png", "other/1.png"]
    for stray in [*strays, "test/images/1.png"]:
        write(folder / stray, encoded(0))
    found = list_class_images(ImageFolderConfig(path=folder), [])
    assert len(found.rows) == TRAIN + VALIDATION
    assert "left out other/1.png, train/loose.png, train/n01/kind/1.png and 1 more," in found.remarks[0]
