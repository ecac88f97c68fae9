"""Files and names from elsewhere: archives that climb out, bombs, broken images, shell characters."""

import io
import random
import stat
import struct
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fewshot_diffusion.config.data import ImageFolderConfig
from fewshot_diffusion.data import archive as members
from fewshot_diffusion.data.archive import Members
from fewshot_diffusion.data.image_folder import read_class_images
from fewshot_diffusion.errors import DataError

SCRIPTS = Path(__file__).resolve().parents[2] / "workflow" / "scripts"
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


def refusal(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        found = Members(path)
        for name in found.names():
            found.image(name)
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
    path = packed(tmp_path / "set.zip", {"train/a/1.jpg": bytes(members.MAX_BYTES + 1)})
    assert path.stat().st_size < members.MAX_BYTES / 500
    assert f"found {members.MAX_BYTES + 1} bytes, expected at most {members.MAX_BYTES}" in refusal(path)


def test_a_bomb_that_lies_about_its_size(tmp_path: Path) -> None:
    path = packed(tmp_path / "set.zip", {"train/a/1.jpg": bytes(2**20)})
    data = path.read_bytes()
    assert data.count(struct.pack("<I", 2**20)) == 2
    path.write_bytes(data.replace(struct.pack("<I", 2**20), struct.pack("<I", 99)))
    assert "train/a/1.jpg: cannot be read" in refusal(path)


def test_damaged_archives_and_images_raise_nothing_else(tmp_path: Path) -> None:
    """Every flip or cut ends in an image or in the named error."""
    choose, refused, read = random.Random(0), 0, 0
    files = {"train/a/1.jpg": encoded(), "train/a/2.png": encoded(form="PNG"), "train/b/3.jpg": encoded(16)}
    data = packed(tmp_path / "set.zip", files).read_bytes()
    path = tmp_path / "damaged.zip"
    for _ in range(300):
        mutated = bytearray(data[: choose.choice([len(data), choose.randrange(1, len(data))])])
        for _ in range(choose.randint(1, 4)):
            mutated[choose.randrange(len(mutated))] = choose.randrange(256)
        path.write_bytes(mutated)
        try:
            found = Members(path)
            for name in found.names():
                found.image(name)
            read += 1
        except DataError as error:
            assert str(path) in str(error)
            refused += 1
    print(f"{refused} damaged archives refused, {read} read in full")
    assert refused > 200


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


def test_damaged_images_raise_nothing_else(tmp_path: Path) -> None:
    choose, refused = random.Random(1), 0
    for number in range(400):
        form = ("JPEG", "PNG")[number % 2]
        data = bytearray(encoded(form=form))
        for _ in range(choose.randint(1, 6)):
            data[choose.randrange(len(data))] = choose.randrange(256)
        folder_of(tmp_path, "1.jpg", bytes(data))
        try:
            Members(tmp_path).image("train/a/1.jpg")
        except DataError as error:
            assert "train/a/1.jpg" in str(error)
            refused += 1
    print(f"{refused} of 400 damaged images refused")
    assert refused > 50


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


def test_a_script_takes_any_path_and_names_it(tmp_path: Path) -> None:
    """A path with a newline and shell characters in it, absent: one message, no traceback, nothing run."""
    path = tmp_path / "a\n$(touch canary)`touch canary`;x"
    words = [sys.executable, str(SCRIPTS / "join_csv.py"), "--parts", str(path), "--output", str(tmp_path / "out.csv")]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert str(path) in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())
