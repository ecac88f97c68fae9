"""Files and names from elsewhere: archives that climb out, bombs, broken images, shell characters."""

import io
import random
import stat
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fewshot_diffusion.config.data import ImageFolderConfig
from fewshot_diffusion.data.archive import MAX_BYTES, Members
from fewshot_diffusion.data.image_folder import read_class_images
from fewshot_diffusion.errors import DataError

METACHARACTERS = ["$(touch canary)", "`touch canary`", "; touch canary;", "a'b\"c", "-rf *", "{input}", "a&b|c>canary"]


def encoded(size: int = 8, form: str = "JPEG") -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(0).integers(256, size=(size, size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, form)
    return buffer.getvalue()


def packed(path: Path, files: dict[str, bytes], **changes: int) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            member = zipfile.ZipInfo(name)
            for key, value in changes.items():
                setattr(member, key, value)
            archive.writestr(member, content, zipfile.ZIP_DEFLATED)
    return path


def read_all(path: Path) -> None:
    found = Members(path)
    for name in found.names():
        found.image(name)


def refusal(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        read_all(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


# --- archives -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["../out.jpg", "/etc/out.jpg", "train/../../out.jpg", "train\\..\\out.jpg"])
def test_members_that_climb_out(tmp_path: Path, name: str) -> None:
    message = refusal(packed(tmp_path / "set.zip", {"train/a/1.jpg": encoded(), name: encoded()}))
    assert "leads out of the archive" in message
    assert "out.jpg" in message
    assert {path.name for path in tmp_path.iterdir()} == {"set.zip"}


@pytest.mark.parametrize("name", ["train/a/1\n.jpg", "train/a\x1b[31m/1.jpg"])
def test_control_characters_in_names(tmp_path: Path, name: str) -> None:
    message = refusal(packed(tmp_path / "set.zip", {name: encoded()}))
    assert "control character" in message
    assert message.isprintable(), "it would reach the terminal"


def test_members_that_are_links(tmp_path: Path) -> None:
    link = packed(tmp_path / "set.zip", {"train/a/1.jpg": b"/etc/passwd"}, external_attr=(stat.S_IFLNK | 0o777) << 16)
    assert "train/a/1.jpg': is a link" in refusal(link)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_members_of_one_name(tmp_path: Path) -> None:
    path = packed(tmp_path / "set.zip", {"train/a/1.jpg": encoded()})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("train/a/1.jpg", encoded(16))
    assert "stands in it twice" in refusal(path)


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    path = packed(tmp_path / "set.zip", {"train/a/1.jpg": bytes(MAX_BYTES + 1)})
    assert path.stat().st_size < MAX_BYTES / 500
    assert f"found {MAX_BYTES + 1} bytes, expected at most {MAX_BYTES}" in refusal(path)


def test_a_bomb_that_lies_about_its_size(tmp_path: Path) -> None:
    path = packed(tmp_path / "set.zip", {"train/a/1.jpg": bytes(2**20)})
    data = path.read_bytes()
    assert data.count(struct.pack("<I", 2**20)) == 2
    path.write_bytes(data.replace(struct.pack("<I", 2**20), struct.pack("<I", 99)))
    assert "train/a/1.jpg: cannot be read" in refusal(path)


def damaged(data: bytes, choose: random.Random) -> bytes:
    mutated = bytearray(data[: choose.choice([len(data), choose.randrange(1, len(data))])])
    for _ in range(choose.randint(1, 4)):
        mutated[choose.randrange(len(mutated))] = choose.randrange(256)
    return bytes(mutated)


@pytest.mark.parametrize("kind", ["zip", "JPEG", "PNG"])
def test_damaged_archives_and_images_raise_nothing_else(tmp_path: Path, kind: str) -> None:
    """Every flip or cut ends in an image or in the named error."""
    choose, refused, path = random.Random(0), 0, tmp_path / "set"
    files = {"train/a/1.jpg": encoded(), "train/a/2.png": encoded(form="PNG"), "train/b/3.jpg": encoded(16)}
    data = packed(tmp_path / "set.zip", files).read_bytes() if kind == "zip" else encoded(form=kind)
    for _ in range(300):
        mutated = damaged(data, choose)
        path.write_bytes(mutated) if kind == "zip" else folder_of(path, "1.jpg", mutated)
        try:
            read_all(path)
        except DataError as error:
            refused += str(path) in str(error)
    print(f"{kind}: {refused} of 300 damaged files refused")
    assert refused > 100


# --- images ---------------------------------------------------------------------------------------------------------


def folder_of(path: Path, name: str, content: bytes) -> Path:
    (path / "train/a").mkdir(parents=True, exist_ok=True)
    (path / "train/a" / name).write_bytes(content)
    return path


def png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [9_000, 12_000, 60_000])
@pytest.mark.filterwarnings("error")
def test_giant_images_are_not_decoded(tmp_path: Path, side: int) -> None:
    message = refusal(folder_of(tmp_path, "1.png", png(side, side)))
    assert "train/a/1.png: not a readable image" in message
    assert "pixels" in message


def test_an_image_of_another_format_is_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "TIFF")
    assert "not a readable image" in refusal(folder_of(tmp_path, "1.jpg", buffer.getvalue()))


@pytest.mark.parametrize("name", ["../../../secret.jpg", "/etc/hostname", "absent.jpg"])
def test_a_list_that_names_files_elsewhere(tmp_path: Path, name: str) -> None:
    folder_of(tmp_path / "set", "1.jpg", encoded())
    (tmp_path / "secret.jpg").write_bytes(encoded())
    (tmp_path / "set/val/images").mkdir(parents=True)
    (tmp_path / "set/val/val_annotations.txt").write_text(f"{name}\ta\n")
    with pytest.raises(DataError, match="cannot be read"):
        read_class_images(ImageFolderConfig(path=tmp_path / "set"), 8, range(1, 2))


# --- names ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*METACHARACTERS, "two\nlines"])
def test_names_of_classes_are_only_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    (tmp_path / "set/train" / name).mkdir(parents=True)
    (tmp_path / "set/train" / name / "1.jpg").write_bytes(encoded())
    found = read_class_images(ImageFolderConfig(path=tmp_path / "set"), 8, range(1))
    assert found.classes == [name]
    assert not list(tmp_path.rglob("canary"))
