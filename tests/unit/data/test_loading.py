"""Images as viewers show them and masks as they were written, whatever program saved them."""

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from fewshot_diffusion.data.loading import (
    IGNORED,
    Changes,
    Shape,
    load_image,
    load_mask,
    log_changes,
    open_image,
    read_shape,
)  # fmt: skip
from fewshot_diffusion.errors import DataError

SIZE = 16
RNG = np.random.default_rng(0)
PICTURE = Image.fromarray(RNG.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8))
RAMP = np.tile(np.arange(SIZE, dtype=np.uint8) * 17, (SIZE, 1))  # 0..255 from left to right


def encoded(image: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(bits: int, rows: bytes, side: int = SIZE, kind: int = 0, extra: bytes = b"") -> bytes:
    """A PNG of any depth: rows, each of which begins with a zero."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, bits, kind, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + extra + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def load(data: bytes, *arguments: Any) -> np.ndarray:
    found = load_image(data, "set, x", SIZE, *arguments)
    assert (found.shape, found.dtype) == ((3, SIZE, SIZE), np.uint8)
    return found.transpose(1, 2, 0)


def refusal(read: Callable[..., Any], data: bytes, **options: Any) -> str:
    with pytest.raises(DataError, match=r"^set, x: ") as caught:
        read(data, "set, x", SIZE, **options)
    return str(caught.value)


# --- images ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [SIZE, 40, 7])
@pytest.mark.parametrize(
    ("form", "options"),
    [("JPEG", {"quality": 95}), ("PNG", {}), ("WEBP", {"lossless": True}), ("BMP", {}), ("TIFF", {})],
)
def test_a_square_in_colour_is_only_resized(size: int, form: str, options: dict[str, Any]) -> None:
    data, changes = encoded(PICTURE.resize((size, size)), form, **options), Changes()
    plain = Image.open(io.BytesIO(data)).resize((SIZE, SIZE), Image.Resampling.LANCZOS)
    assert (load(data, "crop", changes) == np.asarray(plain)).all()
    assert not changes


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_photos_are_turned_as_viewers_do(orientation: int, form: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(PICTURE, form, exif=exif, **({"lossless": True} if form == "WEBP" else {}))
    assert (load(data) == np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))).all()


def test_damaged_exif_is_passed_over() -> None:
    assert (load(encoded(PICTURE, exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")) == np.asarray(PICTURE)).all()


def grey(bits: int) -> bytes:
    levels = (RAMP.astype(np.uint32) * (2**bits - 1) // 255).astype(np.uint32)
    if bits == 16:
        return png(16, b"".join(b"\0" + row.astype(">u2").tobytes() for row in levels))
    packed = [
        np.packbits((row[:, None] >> np.arange(bits - 1, -1, -1) & 1).astype(np.uint8)).tobytes() for row in levels
    ]
    return png(bits, b"".join(b"\0" + row for row in packed))


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_grey_of_any_depth(bits: int) -> None:
    levels = RAMP.astype(int) * (2**bits - 1) // 255
    expected = (levels * 255 / (2**bits - 1)).round()
    assert (load(grey(bits)) == expected[..., None]).all()


DOTS = Image.new("P", (SIZE, SIZE), 0)
DOTS.putpalette([200, 100, 0, 0, 0, 0])
SMOOTH = Image.fromarray(RAMP)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (encoded(Image.fromarray(RAMP.astype(np.int32) * 257), "TIFF"), RAMP),
        (encoded(Image.fromarray(RAMP.astype(np.float32) / 255), "TIFF"), RAMP),
        (encoded(Image.fromarray(RAMP.astype(np.float32)), "TIFF"), RAMP),
        (encoded(SMOOTH.convert("P")), RAMP),
        (encoded(SMOOTH.convert("RGB").convert("CMYK"), "TIFF"), RAMP),
        (encoded(SMOOTH.convert("RGB").convert("CMYK"), "JPEG", quality=100, subsampling=0), RAMP),
        (encoded(SMOOTH, "GIF"), RAMP),
        (encoded(SMOOTH, "GIF", save_all=True, append_images=[PICTURE.convert("L")]), RAMP),
        (encoded(SMOOTH.convert("RGB"), "WEBP", save_all=True, lossless=True, append_images=[PICTURE]), RAMP),
        (encoded(SMOOTH.convert("RGB"), "TIFF", save_all=True, append_images=[PICTURE]), RAMP),
        (encoded(SMOOTH.convert("RGB"), save_all=True, append_images=[PICTURE]), RAMP),
    ],
    ids=[
        "32 bits", "fractions", "floats", "palette", "CMYK", "CMYK JPEG", "GIF", "animated GIF", "animated WebP",
        "pages", "APNG",
    ],
)  # fmt: skip
def test_images_of_every_mode_become_rgb(data: bytes, expected: np.ndarray) -> None:
    assert abs(load(data).astype(int) - expected[..., None]).max() <= 2


@pytest.mark.parametrize("values", [-1, 70_000, np.float32(300), np.float32("nan")])
def test_grey_values_beyond_every_scale(values: Any) -> None:
    pixels = np.full((SIZE, SIZE), values, dtype=np.float32 if isinstance(values, np.float32) else np.int32)
    assert "not a readable image (found grey values" in refusal(load_image, encoded(Image.fromarray(pixels), "TIFF"))


ONES = {2: b"\x55" * 4, 4: b"\x11" * 8, 8: b"\1" * 16, 16: b"\0\1" * 16}  # a row of the grey value 1, by bits


@pytest.mark.parametrize(
    "data",
    [
        encoded(Image.fromarray(np.dstack([np.asarray(PICTURE), np.zeros((SIZE, SIZE), np.uint8)]))),
        encoded(Image.fromarray(np.dstack([RAMP, RAMP * 0]), "LA")),
        encoded(DOTS, transparency=0),
        encoded(Image.fromarray(RAMP * 0 + 3), transparency=3),
        encoded(Image.new("RGB", (SIZE, SIZE), (1, 2, 3)), transparency=(1, 2, 3)),
        encoded(DOTS, "GIF", transparency=0),
        *(png(bits, (b"\0" + row) * SIZE, extra=chunk(b"tRNS", b"\0\1")) for bits, row in ONES.items()),
        encoded(Image.new("RGBA", (SIZE, SIZE), (1, 2, 3, 0)), "WEBP", lossless=True, exact=True),
    ],
    ids=["RGBA", "LA", "palette", "grey key", "colour key", "GIF", *map(str, ONES), "WebP"],
)  # fmt: skip
def test_transparent_pixels_are_white(data: bytes) -> None:
    changes = Changes()
    assert (load(data, "crop", changes) == 255).all()
    assert changes["transparent, composited on white"] == 1


def test_an_opaque_alpha_channel_changes_nothing() -> None:
    changes = Changes()
    assert (load(encoded(PICTURE.convert("RGBA")), "crop", changes) == np.asarray(PICTURE)).all()
    assert changes == {"converted to RGB": 1}


@pytest.mark.parametrize("size", [(16, 24), (24, 16), (178, 218)])
def test_images_that_are_not_square(size: tuple[int, int]) -> None:
    """Red beyond the square in the middle."""
    side = min(size)
    image, corner = Image.new("RGB", size, "red"), tuple((length - side) // 2 for length in size)
    image.paste(Image.new("RGB", (side, side), "blue"), corner)
    changes = Changes()
    assert (load(encoded(image), "crop", changes)[..., 2] == 255).all()
    assert (load(encoded(image), "squash", changes)[..., 0] > 200).any()
    assert changes == {"cut to the square in their middle": 1, "squashed to a square": 1}
    assert f"found {size[0]} x {size[1]} pixels, expected a square" in refusal(load_image, encoded(image), fit="refuse")


def test_what_was_done_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    log_changes(Path("set"), Changes({"turned as EXIF says": 3, "converted to RGB": 1}))
    log_changes(Path("set"), Changes())
    assert caplog.messages == ["set: 1 images converted to RGB; 3 images turned as EXIF says"]


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP"])
def test_truncated_images_are_named(form: str) -> None:
    data = encoded(PICTURE.resize((64, 64)), form)
    assert "not a readable image" in refusal(load_image, data[: len(data) * 2 // 3])


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "it is empty; expected JPEG, PNG"),
        (b"\0\0\0\x18ftypheic", "HEIC and AVIF are not read"),
        (b"<svg/>", "it begins with b'<svg/>'; expected JPEG, PNG"),
    ],
)
def test_what_is_no_image(data: bytes, words: str) -> None:
    assert words in refusal(load_image, data)


@pytest.mark.parametrize("side", [9_000, 60_000])
@pytest.mark.filterwarnings("error")
def test_giant_images_are_not_decoded(side: int) -> None:
    assert "pixels" in refusal(load_image, png(8, b"\0", side))


# --- masks ----------------------------------------------------------------------------------------------------------

LEFT = np.zeros((SIZE, SIZE), dtype=np.uint8)
LEFT[:, : SIZE // 2] = 1
PALETTE = chunk(b"PLTE", bytes([9, 9, 9, 200, 0, 0]))
HALVES = {
    1: b"\xff\0",
    2: b"\x55\x55\0\0",
    4: b"\x11" * 4 + b"\0" * 4,
    8: b"\1" * 8 + b"\0" * 8,
    16: b"\0\1" * 8 + b"\0" * 16,
}


def ids(data: bytes, **options: Any) -> np.ndarray:
    found = load_mask(data, "set, x", SIZE, **options)
    assert (found.shape, found.dtype) == ((SIZE, SIZE), np.uint8)
    return found


@pytest.mark.parametrize(("bits", "kind"), [(1, 0), (2, 0), (4, 0), (8, 0), (16, 0), (1, 3), (2, 3), (4, 3), (8, 3)])
def test_ids_are_those_that_were_written(bits: int, kind: int) -> None:
    data = png(bits, (b"\0" + HALVES[bits]) * SIZE, kind=kind, extra=PALETTE if kind == 3 else b"")
    assert (ids(data) == LEFT).all()


@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF"])
@pytest.mark.parametrize("mode", ["1", "L", "RGB"])
def test_masks_of_any_program(form: str, mode: str) -> None:
    image = Image.fromarray(LEFT > 0) if mode == "1" else Image.fromarray(LEFT).convert(mode)
    assert (ids(encoded(image, form)) == LEFT).all()
    assert (ids(encoded(Image.fromarray(LEFT).convert("RGBA"))) == LEFT).all()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (encoded(PICTURE), "is not a mask (it is in colour); expected a grey or palette PNG"),
        (png(16, (b"\0" + b"\0\2" * 3 * SIZE) * SIZE, kind=2), "is not a mask (Pillow halves its 16 bits"),
        (png(16, (b"\0" + b"\0\2\xff\xff" * SIZE) * SIZE, kind=4), "is not a mask (Pillow halves its 16 bits"),
        (encoded(Image.fromarray(LEFT), "JPEG"), "is not a mask (JPEG changes or reorders ids)"),
        (encoded(Image.fromarray(LEFT), "GIF"), "is not a mask (GIF changes or reorders ids)"),
        (encoded(Image.fromarray(LEFT), "WEBP", lossless=True), "is not a mask (WEBP changes or reorders ids)"),
        (encoded(Image.fromarray(np.dstack([LEFT, LEFT]), "LA")), "is not a mask (it has transparent pixels)"),
        (encoded(Image.fromarray(LEFT.astype(np.float32)), "TIFF"), "is not a mask (found mode F)"),
        (png(16, (b"\0" + b"\1\0" * SIZE) * SIZE), "found the value 256, expected class ids of 0..255"),
        (encoded(Image.fromarray(LEFT))[:50], "not a readable image"),
    ],
)  # fmt: skip
def test_what_is_no_mask(data: bytes, words: str) -> None:
    assert words in refusal(load_mask, data)


@pytest.mark.parametrize("value", [0, 7, 255])
def test_pixels_without_a_class(value: int) -> None:
    mask = np.where(LEFT == 1, 1, value).astype(np.uint8)
    assert (ids(encoded(Image.fromarray(mask)), ignore=value) == np.where(LEFT == 1, 1, IGNORED)).all()
    beyond = np.where(LEFT == 1, 255, value).astype(np.uint8)
    if value != 255:
        assert "found the value 255" in refusal(load_mask, encoded(Image.fromarray(beyond)), ignore=value)


@pytest.mark.parametrize("fit", ["crop", "squash"])
def test_a_mask_is_cut_like_its_image(fit: Any) -> None:
    wide = np.zeros((64, 96), dtype=np.uint8)
    wide[:, 40:] = 1
    picture = encoded(Image.fromarray(wide * 255).convert("RGB"))
    assert (ids(encoded(Image.fromarray(wide)), fit=fit) == (load(picture, fit)[..., 0] > 127)).mean() > 0.9


@pytest.mark.parametrize(
    ("size", "shape", "fits"),
    [
        ((16, 16), Shape((64, 64), 1), True),
        ((50, 33), Shape((100, 67), 1), True),
        ((33, 32), Shape((32, 32), 1), False),
        ((16, 24), Shape((24, 16), 6), True),
        ((24, 16), Shape((24, 16), 6), True),
        ((24, 16), Shape((16, 24), 3), False),
    ],
)
def test_a_mask_has_the_shape_of_its_image(size: tuple[int, int], shape: Shape, fits: bool) -> None:
    data = encoded(Image.new("L", size, 1))
    if fits:
        assert (ids(data, image=shape) == 1).all()
    else:
        words = (
            f"found {size[0]} x {size[1]} pixels, expected the shape of its image, {shape.size[0]} x {shape.size[1]}"
        )
        assert words in refusal(load_mask, data, image=shape)


def test_the_shape_of_an_image_is_as_it_is_stored() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    assert read_shape(encoded(Image.new("RGB", (24, 16)), "JPEG", exif=exif), "x") == Shape((24, 16), 6)
    assert open_image(encoded(PICTURE), "x").mode == "RGB"
