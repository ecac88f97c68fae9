"""Tiny-ImageNet's layouts, and every way in which a folder of classes can be wrong."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from fewshot_diffusion.config.data import AvatarsConfig, ImageFolderConfig
from fewshot_diffusion.data.avatars import avatar_classes, draw_avatars, draw_class_avatars
from fewshot_diffusion.data.class_set import ClassSet, load_classes, save_classes
from fewshot_diffusion.data.image_folder import read_class_images, read_unlabelled
from fewshot_diffusion.errors import DataError

CLASSES = ["n01", "n02", "n03"]
TRAIN, VALIDATION = 12, 6


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
        write(root / "val/val_annotations.txt", "\n".join(lines).encode())
    return root


def read(folder: Path, positions: range = range(TRAIN), **changes: object) -> ClassSet:
    return read_class_images(ImageFolderConfig(path=folder).model_copy(update=changes), 8, positions)


@pytest.mark.parametrize("positions", [range(TRAIN), range(TRAIN, TRAIN + VALIDATION)])
def test_every_image_has_the_label_of_its_class(folder: Path, positions: range) -> None:
    found = read(folder, positions)
    assert found.classes == CLASSES
    assert found.labels.bincount().tolist() == [len(positions) // 3] * 3
    assert found.ids.tolist() == list(positions)
    assert ((found.images.float().mean((1, 2, 3)) - 5) / 10).round().long().tolist() == found.labels.tolist()
    assert found.labels.tolist() != sorted(found.labels.tolist())


def test_a_zip_reads_like_its_folder(folder: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for file in sorted(folder.rglob("*.*")):
            archive.write(file, file.relative_to(folder))
    assert torch.equal(read(tmp_path / "set.zip").images, read(folder).images)
    assert torch.equal(read(tmp_path / "set.zip").labels, read(folder).labels)


def test_splits_are_disjoint_and_never_mix_training_and_validation(folder: Path) -> None:
    first, second = read(folder, range(0, 5)), read(folder, range(5, TRAIN))
    assert torch.equal(torch.cat([first.images, second.images]), read(folder).images)
    with pytest.raises(DataError, match=r"of which the first 12 are of train/ and the rest of val/"):
        read(folder, range(10, 14))
    with pytest.raises(DataError, match="ask for 19 images, found 12 in train/ and 6 in val/"):
        read(folder, range(TRAIN, 19))


def test_membership_of_a_class_is_an_attribute(folder: Path) -> None:
    settings = ImageFolderConfig(path=folder, attributes={"Fish": "n02"})
    found = read_unlabelled(settings, 8, range(TRAIN))
    assert found.attributes["Fish"].sum() == TRAIN // 3
    with pytest.raises(DataError, match="found no class n99, expected one of n01, n02, n03"):
        read_unlabelled(ImageFolderConfig(path=folder, attributes={"Fish": "n99"}), 8, range(TRAIN))


def first_of(folder: Path, name: str) -> Path:
    return next(iter(sorted((folder / "train" / name).rglob("*.JPEG"))))


@pytest.mark.parametrize("mode", ["L", "RGBA"])
def test_grey_and_transparent_images_are_converted_or_refused(folder: Path, mode: str) -> None:
    first_of(folder, "n03").write_bytes(encoded(25, mode))
    assert torch.equal(read(folder).images, read(folder).images)
    assert len(read(folder)) == TRAIN
    with pytest.raises(DataError, match=f"found mode {mode}, expected RGB"):
        read(folder, grey="refuse")


def test_a_truncated_image_stops_or_is_counted(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = first_of(folder, "n02")
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DataError, match=rf"{path.name}: not a readable image"):
        read(folder)
    assert len(read(folder, unreadable="skip")) == TRAIN - 1
    assert "left out 1 unreadable images" in caplog.text


def test_no_classes(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="found no classes, expected train/<class>"):
        read(tmp_path / "empty")


def test_a_class_without_images(folder: Path) -> None:
    (folder / "train" / "n99").mkdir()
    with pytest.raises(DataError, match="train/n99: the class has no images"):
        read(folder)


def test_a_validation_image_of_an_unknown_class(folder: Path) -> None:
    annotations = folder / "val/val_annotations.txt"
    if annotations.is_file():
        annotations.write_text(annotations.read_text().replace("n03", "n77"))
    else:
        (folder / "val/n03").rename(folder / "val/n77")
    with pytest.raises(DataError, match="found class n77, which train/ does not have"):
        read(folder)


@pytest.mark.parametrize("label", [-1, 3])
def test_a_label_outside_the_classes(tmp_path: Path, label: int) -> None:
    wrong = ClassSet(torch.zeros(2, 3, 4, 4, dtype=torch.uint8), torch.tensor([0, label]), torch.arange(2), CLASSES)
    with pytest.raises(DataError, match=rf"found label {label}, expected 0\.\.2"):
        save_classes(wrong, tmp_path / "set.safetensors", {})


def test_labelled_images_survive_the_disk(folder: Path, tmp_path: Path) -> None:
    written = read(folder)
    save_classes(written, tmp_path / "set.safetensors", {})
    found = load_classes(tmp_path / "set.safetensors")
    assert torch.equal(found.images, written.images)
    assert found.classes == CLASSES


def test_the_first_of_each_class_in_order(folder: Path) -> None:
    few, more = read(folder).first_of_each(2), read(folder).first_of_each(3)
    assert few.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert few.ids[few.labels == 1].tolist() == more.ids[more.labels == 1].tolist()[:2]
    with pytest.raises(DataError, match="class 'n01': found 4 images, expected 5"):
        read(folder).first_of_each(5)


# --- cartoon portraits ----------------------------------------------------------------------------------------------

AVATARS = AvatarsConfig.model_validate(yaml.safe_load(Path("config/config.yaml").read_text())["data"]["avatars"])


def test_the_default_has_twenty_hairstyles() -> None:
    classes = avatar_classes(AVATARS)
    assert len(classes) == len(set(classes)) == 20
    assert {"2c1b18-none", "d6b370-longWavy"} <= set(classes)


def test_colours_are_the_configured_ones_or_the_styles() -> None:
    classes = AVATARS.model_copy(update={"classes": ["hairColor", "skinColor"]})
    pairs = [name.split("-") for name in avatar_classes(classes)]
    assert {hair for hair, _ in pairs} == set(AVATARS.options["hairColor"])
    assert {skin for _, skin in pairs} == {"5c3829", "f1c3a5", "a36b4f", "c68e7a", "b98e6a"}
    rules = {f"{hair}-{skin}": {"hairColor": [hair], "skinColor": [skin]} for hair, skin in pairs}
    drawn = draw_class_avatars(classes, 16, range(40))
    truth = draw_avatars(classes.model_copy(update={"attributes": rules}), 16, range(40)).attributes
    assert [drawn.classes[label] for label in drawn.labels.tolist()] == truth.idxmax(axis=1).tolist()


def test_the_class_of_an_avatar_is_what_was_drawn() -> None:
    """A bald variant of the same portrait differs where the class says that there is rear hair, and only there."""
    drawn = draw_class_avatars(AVATARS, 16, range(60))
    bare = AVATARS.model_copy(update={"options": AVATARS.options | {"rearHairProbability": 0}})
    without = draw_class_avatars(bare, 16, range(60))
    differs = (drawn.images != without.images).flatten(1).any(1)
    has_rear = torch.tensor([not drawn.classes[label].endswith("-none") for label in drawn.labels.tolist()])
    assert differs[~has_rear].sum() == 0
    assert differs[has_rear].double().mean() > 0.9
    assert all(without.classes[label].endswith("-none") for label in without.labels.tolist())


@pytest.mark.parametrize("option", ["hair", "tailColor", "hairProbability"])
def test_classes_must_be_variants_or_colours(option: str) -> None:
    with pytest.raises(DataError, match=rf"data\.avatars\.classes: found '{option}', expected some of"):
        avatar_classes(AVATARS.model_copy(update={"classes": [option]}))
