"""Real faces come from a folder whose faults are named."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fewshot_diffusion.config.data import CelebAHQConfig
from fewshot_diffusion.data.celeba import read_faces
from fewshot_diffusion.data.order import fixed_order
from fewshot_diffusion.errors import DataError

IDS = range(100, 120)
HELD_OUT = [101, 102, 103, 110]


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
    read = read_faces(settings(faces), 16, range(20))
    assert read.images.shape == (20, 3, 16, 16)
    assert read.images.dtype == torch.uint8
    assert sorted(read.ids.tolist()) == list(IDS)
    assert read.attributes["Male"].tolist() == [id_ % 2 == 1 for id_ in read.ids.tolist()]
    assert read.attributes["Blond"].tolist() == [id_ % 3 == 0 for id_ in read.ids.tolist()]
    shown = read.images.float().mean((1, 2, 3))
    assert torch.allclose(shown, (read.ids - 100).float() * 12, atol=3)


def test_the_order_is_fixed_and_no_matter_how_the_list_is_sorted(faces: Path) -> None:
    ids = read_faces(settings(faces), 8, range(20)).ids.tolist()
    lines = attribute_lines()
    (faces / "list.txt").write_text("\n".join([*lines[:2], *reversed(lines[2:])]) + "\n")
    assert read_faces(settings(faces), 8, range(20)).ids.tolist() == ids
    assert ids != sorted(ids)
    assert fixed_order(np.arange(6), set()).tolist() == fixed_order(np.arange(6)[::-1], set()).tolist()


def test_held_out_faces_come_last(faces: Path) -> None:
    ids = read_faces(settings(faces), 8, range(20)).ids.tolist()
    assert set(ids[-len(HELD_OUT) :]) == set(HELD_OUT)
    free = read_faces(settings(faces, held_out_ids=None), 8, range(20)).ids.tolist()
    assert [id_ for id_ in free if id_ not in HELD_OUT] == ids[: -len(HELD_OUT)]
    assert set(free[-len(HELD_OUT) :]) != set(HELD_OUT)


def refusal(config: CelebAHQConfig, positions: range = range(20)) -> str:
    with pytest.raises(DataError) as caught:
        read_faces(config, 8, positions)
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
    assert "none of the archives" in message


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
    assert f"{faces}: no images-*.zip" in message
    assert "data.celebahq.folder" in message


def test_an_unknown_attribute(faces: Path) -> None:
    message = refusal(settings(faces, attributes={"Smile": "Smiling"}))
    assert "Smiling" in message
    assert "it has: Male, Blond_Hair" in message
    assert "list.txt" in message


def test_faces_without_attributes(faces: Path) -> None:
    read = read_faces(settings(faces, attributes={}), 8, range(5))
    assert (len(read.attributes), len(read.attributes.columns), len(read.select(read.ids > 110))) == (
        5,
        0,
        sum(read.ids > 110),
    )


def test_more_images_than_there_are(faces: Path) -> None:
    message = refusal(settings(faces), range(15, 21))
    assert str(faces) in message
    assert "ask for 21 images, found 20" in message
    assert "data.splits" in message


def test_a_missing_list(faces: Path) -> None:
    (faces / "list.txt").unlink()
    assert f"{faces / 'list.txt'}: there is no such file" in refusal(settings(faces))


def test_names_are_text(faces: Path) -> None:
    """CelebA's own names have six digits."""
    expected = read_faces(settings(faces), 8, range(20))
    for path in sorted(faces.glob("*.zip")):
        with zipfile.ZipFile(path) as archive:
            members = {f"000{name}": archive.read(name) for name in archive.namelist()}
        pack(faces, members, path.name)
    count, names, *rows = attribute_lines()
    (faces / "list.txt").write_text("\n".join([count, names, *(f"000{row}" for row in rows)]) + "\n")
    read = read_faces(settings(faces), 8, range(20))
    assert (read.ids.tolist(), torch.equal(read.images, expected.images)) == (expected.ids.tolist(), True)
    (faces / "list.txt").write_text("\n".join([count, names, *rows[1:], f"000{rows[1]}"]) + "\n")
    assert "101.jpg and 000101.jpg have one id" in refusal(settings(faces))


def test_a_missing_list_of_held_out_faces(faces: Path) -> None:
    (faces / "held_out.csv").unlink()
    assert str(faces / "held_out.csv") in refusal(settings(faces))
    (faces / "held_out.csv").write_text("file\n1.jpg\n")
    message = refusal(settings(faces))
    assert str(faces / "held_out.csv") in message
    assert "celebahq_file" in message
