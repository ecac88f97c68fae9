"""Real faces from zips or a folder, joined with their lists; what spoils a list or an image is specified elsewhere."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fewshot_diffusion.config.data import CelebAHQConfig
from fewshot_diffusion.data.index import hash_of
from fewshot_diffusion.errors import DataError
from source_helpers import all_images, listed

IDS = range(100, 120)
HELD_OUT = [101, 102, 103, 110]
NUMBERS = {hash_of(f"{i}.jpg"): i for i in IDS}


def jpeg(id_: int) -> bytes:
    # Flat colours survive the compression: the picture tells its id.
    file = io.BytesIO()
    Image.fromarray(np.full((32, 32, 3), (id_ - 100) * 12, dtype=np.uint8)).save(file, "JPEG", quality=95)
    return file.getvalue()


FACES = {f"{i}.jpg": jpeg(i) for i in IDS}


def pack(path: Path, members: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for member, data in members.items():
            archive.writestr(member, data)


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    for number, ids in enumerate((IDS[:9], IDS[9:])):
        pack(tmp_path / f"images-{number}.zip", {f"{i}.jpg": FACES[f"{i}.jpg"] for i in ids})
    rows = [f"{i}.jpg  {'1' if i % 2 else '-1'} {'1' if i % 3 == 0 else '-1'}" for i in IDS]
    (tmp_path / "list.txt").write_text("\n".join([str(len(IDS)), "Male Blond_Hair", *rows]) + "\n")
    (tmp_path / "held_out.csv").write_text("celebahq_file\n" + "".join(f"{i}.jpg\n" for i in HELD_OUT))
    return tmp_path


def settings(folder: Path, blond: str = "Blond_Hair") -> CelebAHQConfig:
    files = {"attribute_file": "list.txt", "held_out_ids": folder / "held_out.csv"}
    return CelebAHQConfig(folder=folder, **files, attributes={"Male": "Male", "Blond": blond})


def remove(folder: Path) -> None:
    for path in folder.glob("*.zip"):
        path.unlink()


def test_faces_keep_their_attributes(faces: Path) -> None:
    read = all_images(settings(faces), 16)
    assert (read.images.shape, read.images.dtype) == ((20, 3, 16, 16), torch.uint8)
    numbers = [NUMBERS[id_] for id_ in read.ids.tolist()]
    assert sorted(numbers) == list(IDS)
    assert read.attributes["Male"].tolist() == [number % 2 == 1 for number in numbers]
    assert read.attributes["Blond"].tolist() == [number % 3 == 0 for number in numbers]
    shown = read.images.float().mean((1, 2, 3))
    assert torch.allclose(shown, (torch.tensor(numbers) - 100).float() * 12, atol=3)


def test_held_out_faces_and_those_without_labels_are_marked(faces: Path) -> None:
    pack(faces / "images-2.zip", {"999.jpg": jpeg(100)})
    rows = listed(settings(faces))[1]
    assert {row.name for row in rows if row.held_out} == {f"{i}.jpg" for i in HELD_OUT}
    assert [row.name for row in rows if not row.labelled] == ["999.jpg"]


@pytest.mark.parametrize("place", ["one.zip", "img_align_celeba", "."])
def test_a_folder_of_images_or_one_zip_will_do(faces: Path, place: str) -> None:
    expected = all_images(settings(faces))
    remove(faces)
    if place.endswith("zip"):
        pack(faces / place, {f"inside/{name}": data for name, data in FACES.items()})
    else:
        (faces / place).mkdir(exist_ok=True)
        for name, data in FACES.items():
            (faces / place / name).write_bytes(data)
    read = all_images(settings(faces))
    assert (read.ids.tolist(), torch.equal(read.images, expected.images)) == (expected.ids.tolist(), True)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda folder: (folder / "list.txt").write_text("21\nMale\n"), "list.txt: line 1 announces '21' images"),
        (lambda folder: (folder / "held_out.csv").write_text("file\n1.jpg\n"), "held_out.csv: found the columns"),
        (lambda folder: (folder / "images-1.zip").write_bytes(b"PK"), "images-1.zip: not a readable archive"),
        (lambda folder: (folder / "images-1.zip").unlink(), "109.jpg, 110.jpg, 111.jpg and 8 more are in no"),
        (remove, ": found no images, expected images-*.zip, or a folder or zip of images"),
    ],
)  # fmt: skip
def test_what_is_spoilt_is_named(faces: Path, spoil: Callable[[Path], object], said: str) -> None:
    spoil(faces)
    with pytest.raises(DataError) as caught:
        all_images(settings(faces))
    assert str(caught.value).startswith(str(faces))
    assert said in str(caught.value)


def test_an_unknown_attribute_is_named_with_those_that_there_are(faces: Path) -> None:
    with pytest.raises(DataError, match=r"list\.txt: found no .*Smiling; it has: Male, Blond_Hair"):
        all_images(settings(faces, "Smiling"))
