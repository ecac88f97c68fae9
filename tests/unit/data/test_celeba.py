"""Real faces come from a folder whose faults are named."""

import io
import zipfile
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


def attribute_lines(value: str = "-1") -> list[str]:
    rows = [f"{i}.jpg  {'1' if i % 2 else value} {'1' if i % 3 == 0 else '-1'}" for i in IDS]
    return [str(len(IDS)), "Male Blond_Hair", *rows]


def pack(folder: Path, members: dict[str, bytes], name: str = "images-0.zip") -> None:
    with zipfile.ZipFile(folder / name, "w") as archive:
        for member, data in members.items():
            archive.writestr(member, data)


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    pack(tmp_path, {f"{i}.jpg": jpeg(i) for i in IDS if i < 109}, "images-0.zip")
    pack(tmp_path, {f"{i}.jpg": jpeg(i) for i in IDS if i >= 109}, "images-1.zip")
    (tmp_path / "list.txt").write_text("\n".join(attribute_lines()) + "\n")
    (tmp_path / "held_out.csv").write_text("celebahq_file\n" + "".join(f"{i}.jpg\n" for i in HELD_OUT))
    return tmp_path


def settings(folder: Path, **changes: object) -> CelebAHQConfig:
    given = {
        "folder": folder,
        "attribute_file": "list.txt",
        "held_out_ids": folder / "held_out.csv",
        "attributes": {"Male": "Male", "Blond": "Blond_Hair"},
        **changes,
    }
    return CelebAHQConfig.model_validate(given)


def test_faces_keep_their_attributes(faces: Path) -> None:
    read = all_images(settings(faces), 16)
    assert (read.images.shape, read.images.dtype) == ((20, 3, 16, 16), torch.uint8)
    numbers = [NUMBERS[id_] for id_ in read.ids.tolist()]
    assert sorted(numbers) == list(IDS)
    assert read.attributes["Male"].tolist() == [number % 2 == 1 for number in numbers]
    assert read.attributes["Blond"].tolist() == [number % 3 == 0 for number in numbers]
    shown = read.images.float().mean((1, 2, 3))
    assert torch.allclose(shown, (torch.tensor(numbers) - 100).float() * 12, atol=3)


def test_faces_that_no_denoiser_may_see_are_marked(faces: Path) -> None:
    assert {row.name for row in listed(settings(faces))[1] if row.held_out} == {f"{i}.jpg" for i in HELD_OUT}


@pytest.mark.parametrize("place", ["one.zip", "img_align_celeba", "."])
def test_a_folder_of_images_or_one_zip_will_do(faces: Path, place: str) -> None:
    expected = all_images(settings(faces))
    members = {f"{i}.jpg": jpeg(i) for i in IDS}
    for path in faces.glob("*.zip"):
        path.unlink()
    if place.endswith("zip"):
        pack(faces, {f"inside/{name}": data for name, data in members.items()}, place)
    else:
        (faces / place).mkdir(exist_ok=True)
        for name, data in members.items():
            (faces / place / name).write_bytes(data)
    read = all_images(settings(faces))
    assert (read.ids.tolist(), torch.equal(read.images, expected.images)) == (expected.ids.tolist(), True)


def test_a_face_without_labels_may_train_the_denoiser_alone(faces: Path) -> None:
    pack(faces, {"999.jpg": jpeg(100)}, "images-2.zip")
    assert [row.name for row in listed(settings(faces))[1] if not row.labelled] == ["999.jpg"]


def refusal(config: CelebAHQConfig) -> str:
    with pytest.raises(DataError) as caught:
        all_images(config)
    return str(caught.value)


@pytest.mark.parametrize("count", ["21", "²0", "-20", "many"])
def test_a_wrong_count_line(faces: Path, count: str) -> None:
    (faces / "list.txt").write_text("\n".join([count, *attribute_lines()[1:]]) + "\n")
    message = refusal(settings(faces))
    assert str(faces / "list.txt") in message
    assert f"announces {count!r} images, found 20" in message


@pytest.mark.parametrize("value", ["0", "2", "x", "nan"])
def test_a_value_that_is_neither_minus_one_nor_one(faces: Path, value: str) -> None:
    (faces / "list.txt").write_text("\n".join(attribute_lines(value)) + "\n")
    message = refusal(settings(faces))
    assert str(faces / "list.txt") in message
    assert "other than -1 and 1" in message


@pytest.mark.parametrize(
    "line", ["x.jpg 1 1", "105.jpg 1 1 1 1", "105.jpg 1"], ids=["no number", "too many values", "too few values"]
)
def test_a_malformed_line(faces: Path, line: str) -> None:
    lines = attribute_lines()
    (faces / "list.txt").write_text("\n".join([*lines[:7], line, *lines[8:]]) + "\n")
    assert str(faces / "list.txt") in refusal(settings(faces))


def test_a_face_that_is_in_no_archive(faces: Path) -> None:
    (faces / "images-1.zip").unlink()
    message = refusal(settings(faces))
    assert str(faces) in message
    assert "108.jpg" not in message
    assert "109.jpg, 110.jpg, 111.jpg and 8 more are in no images-*.zip" in message


def test_a_truncated_face(faces: Path) -> None:
    pack(faces, {f"{i}.jpg": jpeg(i)[:-400] if i == 115 else jpeg(i) for i in IDS if i >= 109}, "images-1.zip")
    message = refusal(settings(faces))
    assert "115.jpg" in message
    assert "not a readable image" in message


def test_a_face_with_a_flipped_bit(faces: Path) -> None:
    data = bytearray((faces / "images-1.zip").read_bytes())
    position = data.index(jpeg(115)) + 300
    data[position] ^= 1
    (faces / "images-1.zip").write_bytes(data)
    assert "115.jpg" in refusal(settings(faces))


def test_a_truncated_archive(faces: Path) -> None:
    data = (faces / "images-1.zip").read_bytes()
    (faces / "images-1.zip").write_bytes(data[: len(data) // 2])
    assert "images-1.zip" in refusal(settings(faces))


def test_no_archives(faces: Path) -> None:
    for path in faces.glob("*.zip"):
        path.unlink()
    message = refusal(settings(faces))
    assert f"{faces}: found no images, expected images-*.zip, or a folder or zip of images" in message


def test_an_unknown_attribute(faces: Path) -> None:
    message = refusal(settings(faces, attributes={"Smile": "Smiling"}))
    assert "Smiling" in message
    assert "it has: Male, Blond_Hair" in message
    assert "list.txt" in message


def test_a_missing_list(faces: Path) -> None:
    (faces / "list.txt").unlink()
    assert f"{faces / 'list.txt'}: there is no such file" in refusal(settings(faces))


def test_names_are_text(faces: Path) -> None:
    """CelebA's own names have six digits."""
    for path in sorted(faces.glob("*.zip")):
        with zipfile.ZipFile(path) as archive:
            members = {f"000{name}": archive.read(name) for name in archive.namelist()}
        pack(faces, members, path.name)
    count, names, *rows = attribute_lines()
    (faces / "list.txt").write_text("\n".join([count, names, *(f"000{row}" for row in rows)]) + "\n")
    read = all_images(settings(faces, held_out_ids=None))
    assert sorted(read.ids.tolist()) == sorted(hash_of(f"000{i}.jpg") for i in IDS)
    (faces / "list.txt").write_text("\n".join([count, names, *rows]) + "\n")
    assert "100.jpg, 101.jpg, 102.jpg and 17 more are in no" in refusal(settings(faces))


def test_a_missing_list_of_held_out_faces(faces: Path) -> None:
    (faces / "held_out.csv").unlink()
    assert str(faces / "held_out.csv") in refusal(settings(faces))
    (faces / "held_out.csv").write_text("file\n1.jpg\n")
    message = refusal(settings(faces))
    assert str(faces / "held_out.csv") in message
    assert "celebahq_file" in message
