"""Whatever stands in a file of a data set: it is read, or one of our own errors names it. Nothing else is raised."""

import io
import random
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fewshot_diffusion.config.data import ImageFolderConfig
from fewshot_diffusion.data.files import Members
from fewshot_diffusion.data.image_folder import list_class_images
from fewshot_diffusion.data.lists import (
    decode_text,
    read_annotations,
    read_attribute_list,
    read_columns,
    read_id_list,
    read_numbers,
    read_truth,
)
from fewshot_diffusion.data.loading import load_image, load_mask, read_shape
from fewshot_diffusion.errors import DataError
from fewshot_diffusion.storage.tables import read_source_csv

RNG = np.random.default_rng(0)
PICTURE = Image.fromarray(RNG.integers(0, 256, (12, 16, 3), dtype=np.uint8))
IDS = Image.fromarray(RNG.integers(0, 3, (16, 16), dtype=np.uint8))
MUTANTS = 300  # of each kind
JUNK = [b"\0", b"\xff", b"\xe9", b"\n", b"\r", b"\t", b",", b'"', b";", b" ", b"-1", b"1e999", b"nan", b"\xc2\xa0",
    b"\xff\xfe", b"\xef\xbb\xbf", b"9" * 30, b"../", b"\\", b"/", b"e\xcc\x81", b"\xed\xa0\x80"]  # fmt: skip


def mutated(data: bytes, choose: random.Random) -> bytes:
    """Cut, change, insert and repeat a few bytes, most of them near the beginning, where headers are."""
    body = bytearray(data[: choose.choice([len(data), len(data), choose.randrange(len(data) + 1)])])
    for _ in range(choose.randint(1, 5)):
        place = min(choose.randrange(len(body) + 1), choose.randrange(len(body) + 1))
        match choose.randrange(4):
            case 0:
                body[place : place + 1] = bytes([choose.randrange(256)])
            case 1:
                body[place:place] = choose.choice(JUNK)
            case 2:
                body[place : place + choose.randrange(9)] = b""
            case _:
                body[place:place] = body[place : place + choose.randrange(40)]
    return bytes(body)


def encoded(image: Image.Image, form: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def exif() -> Image.Exif:
    found = Image.Exif()
    found[0x0112] = 6
    return found


def zipped(names: list[str]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(zipfile.ZipInfo(name), "3.png\ta\n" if name.endswith(".txt") else encoded(PICTURE, "PNG"))
    return buffer.getvalue()


def read_image(path: Path) -> None:
    load_image(path.read_bytes(), str(path), 8)


def read_mask(path: Path) -> None:
    shape = read_shape(path.read_bytes(), str(path))
    load_mask(path.read_bytes(), str(path), 8, ignore=2, image=shape)


def read_zip(path: Path) -> None:
    members = Members(path)
    for name in members.names():
        members.read(name)
    list_class_images(ImageFolderConfig(path=path), [])


def read_renamed(path: Path) -> None:
    """Its content is the names of a zip, one a line."""
    names = path.read_bytes().decode("utf-8", errors="replace").split("\n")
    path.write_bytes(zipped(names))
    read_zip(path)


def read_labels(path: Path) -> None:
    table = read_columns(path, "file")
    for name in table.columns.drop("file"):
        read_truth(path, table[name])


def read_shots(path: Path) -> None:
    read_numbers(path, read_columns(path, "id", "file")["id"])
    read_id_list(path, "file")


LIST = b"3\nMale Blond\n1.jpg 1 -1\n2.jpg -1 -1\n3.jpg -1 1\n"
LABELS = 'file,Male,x y\n1.jpg,1,0\n"b,2.jpg",no,yes\n\u00e9.jpg,0,1\n'.encode()
NAMES = ["set/train/a/1.png", "set/train/b/2.png", "set/val/val_annotations.txt", "set/val/images/3.png", "README"]
PHOTOS: list[tuple[str, dict[str, Any]]] = [
    ("JPEG", {"exif": exif()}), ("PNG", {"exif": exif()}), ("GIF", {"save_all": True, "append_images": [PICTURE]}),
    ("TIFF", {}), ("TIFF", {"compression": "tiff_lzw", "exif": exif()}), ("WEBP", {}), ("BMP", {}),
]  # fmt: skip
KINDS: dict[str, tuple[Callable[[Path], object], list[bytes]]] = {
    "attribute lists": (read_attribute_list, [LIST, LIST.decode().encode("utf-16")]),
    "labels": (read_labels, [LABELS, LABELS.replace(b",", b"\t"), LABELS.decode().encode("utf-16")]),
    "ids": (read_shots, [b"id,file\n1,a.jpg\n2,b.jpg\n"]),
    "tables": (lambda path: read_source_csv(path, "a"), [b"a,b\n1,2\n,x\n"]),
    "annotations": (
        lambda path: read_annotations(decode_text(path.read_bytes(), str(path)), str(path)),
        [b"1.jpg\ta\t0\t0\t9\t9\n2.jpg\tb\n"],
    ),
    "images": (read_image, [encoded(PICTURE, form, **options) for form, options in PHOTOS]),
    "images of odd modes": (
        read_image,
        [encoded(PICTURE.convert(mode), form) for mode, form in (
            ("RGBA", "PNG"), ("LA", "PNG"), ("P", "PNG"), ("1", "PNG"), ("CMYK", "JPEG"), ("F", "TIFF"), ("P", "TIFF"),
            ("CMYK", "TIFF"),
        )] + [encoded(Image.new("I;16", (9, 9), 300), "PNG")],
    ),
    "masks": (
        read_mask,
        [encoded(IDS.convert(mode), form) for mode in ("L", "1", "RGB") for form in ("PNG", "TIFF", "BMP")],
    ),
    "bytes of zips": (read_zip, [zipped(NAMES)]),
    "names in zips": (read_renamed, ["\n".join(NAMES).encode()]),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_mutated_inputs_are_read_or_named(tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    (read, originals), choose, path = KINDS[kind], random.Random(kind), tmp_path / "x"
    refusals = []
    for turn in range(MUTANTS):
        path.write_bytes(mutated(originals[turn % len(originals)], choose))
        try:
            read(path)
        except DataError as error:  # anything else fails the test
            refusals.append(str(error))
    with capsys.disabled():
        print(f"\n{MUTANTS} mutated {kind}: {len(refusals)} refused by name, no other error", end=" ")
    named = re.compile(rf"{re.escape(str(path))}[^\x00-\x1f\x7f]+")
    assert [message for message in refusals if not named.fullmatch(message)] == []
    assert MUTANTS / 10 < len(refusals) < MUTANTS
