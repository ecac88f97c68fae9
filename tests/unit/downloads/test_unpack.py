"""Archives that climb out, explode, link, lie or are damaged: nothing is written, inside or outside."""

import csv
import io
import stat
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fewshot_diffusion.config.downloads import ExtractConfig
from fewshot_diffusion.downloads.unpack import extract_archive
from fewshot_diffusion.errors import DataError, FewshotError

LIMITS = ExtractConfig(folder="set", max_bytes=10**6, max_files=4)
GOOD = {"a/1.txt": b"one", "2.txt": b"two"}


def zipped(files: dict[str, bytes], mode: int = 0, flags: int = 0) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(name)
            info.external_attr, info.compress_type = mode << 16, zipfile.ZIP_DEFLATED
            archive.writestr(info, content)
    data = bytearray(buffer.getvalue())
    for magic, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.rindex(magic) + place] |= flags
    return bytes(data)


def tarred(files: dict[str, bytes], compression: str = "gz", **fields: Any) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=f"w:{compression}", format=tarfile.PAX_FORMAT) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            for key, value in fields.items():
                setattr(info, key, value)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def twice(make: Callable[[dict[str, bytes]], bytes]) -> bytes:
    """Two members of one name: their second character is changed where it stands, in headers of one length."""
    if make is tarred:
        return tarred_members([("a", b"one"), ("a", b"two")])
    return zipped({"aa": b"one", "ab": b"two"}).replace(b"ab", b"aa")


def tarred_members(members: list[tuple[str, bytes]]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def lying() -> bytes:
    data = zipped({"a": bytes(2**20)})
    return data.replace(struct.pack("<I", 2**20), struct.pack("<I", 99))


LINK, PIPE = stat.S_IFLNK | 0o777, stat.S_IFIFO | 0o644
OUT, CONTROL, LINKED, DEVICE = "leads out of the", "a control character", "is a link", "is a device or a pipe"
DAMAGED, MANY = "the archive is damaged or no archive", "more files than the 4 of extract.max_files"
BOMB = "expected at most 1000000 (extract.max_bytes)"
HOSTILE: dict[str, tuple[str, Callable[[], bytes], str]] = {  # case -> file, content, what is said
    "zip parent": ("s.zip", lambda: zipped(GOOD | {"a/../../out": b"x"}), OUT),
    "zip absolute": ("s.zip", lambda: zipped(GOOD | {"/outside/out": b"x"}), OUT),
    "zip backslash": ("s.zip", lambda: zipped(GOOD | {"..\\out": b"x"}), OUT),
    "zip control": ("s.zip", lambda: zipped(GOOD | {"a\x1b[31m": b"x"}), CONTROL),
    "zip link": ("s.zip", lambda: zipped({"a": b"/etc/passwd"}, mode=LINK), LINKED),
    "zip pipe": ("s.zip", lambda: zipped({"a": b""}, mode=PIPE), DEVICE),
    "zip twice": ("s.zip", lambda: twice(zipped), "stands in the archive twice"),
    "zip encrypted": ("s.zip", lambda: zipped(GOOD, flags=1), "is encrypted"),
    "zip truncated": ("s.zip", lambda: zipped(GOOD)[:-30], DAMAGED),
    "zip flipped": ("s.zip", lambda: zipped(GOOD).replace(b"\x03\x04", b"\x03\x05", 1), DAMAGED),
    "zip of html": ("s.zip", lambda: b"<html>Sorry</html>", DAMAGED),
    "zip bomb": ("s.zip", lambda: zipped(GOOD | {"b": bytes(10**6)}), BOMB),
    "zip bomb of many": ("s.zip", lambda: zipped({f"{n}": bytes(300_000) for n in range(4)}), BOMB),
    "zip liar": ("s.zip", lying, DAMAGED),
    "zip files": ("s.zip", lambda: zipped({f"{n}": b"x" for n in range(5)}), MANY),
    "zip below": ("s.zip", lambda: zipped({"a": b"x", "a/b": b"x"}), "lies below a file"),
    "zip empty": ("s.zip", lambda: zipfile_of_nothing(), "found no file in it"),
    "zip long": ("s.zip", lambda: zipped(GOOD | {"x" * 256: b"x"}), "a name of more than 255 bytes"),
    "tar parent": ("s.tar.gz", lambda: tarred(GOOD | {"a/../../out": b"x"}), OUT),
    "tar absolute": ("s.tar.gz", lambda: tarred(GOOD | {"/outside/out": b"x"}), OUT),
    "tar control": ("s.tar.xz", lambda: tarred(GOOD | {"a\n": b"x"}, "xz"), CONTROL),
    "tar link out": ("s.tar.gz", lambda: tarred({"a": b""}, type=tarfile.SYMTYPE, linkname="../../out"), LINKED),
    "tar link within": ("s.tar.gz", lambda: tarred({"a": b""}, type=tarfile.SYMTYPE, linkname="b"), LINKED),
    "tar hard link": ("s.tar.gz", lambda: tarred({"a": b""}, type=tarfile.LNKTYPE, linkname="/etc/passwd"), LINKED),
    "tar device": ("s.tar.gz", lambda: tarred({"a": b""}, type=tarfile.CHRTYPE), DEVICE),
    "tar block": ("s.tar", lambda: tarred({"a": b""}, "", type=tarfile.BLKTYPE), DEVICE),
    "tar pipe": ("s.tar", lambda: tarred({"a": b""}, "", type=tarfile.FIFOTYPE), DEVICE),
    "tar twice": ("s.tar", lambda: twice(tarred), "stands in the archive twice"),
    "tar truncated": ("s.tar.gz", lambda: tarred({"a": bytes(range(256)) * 99})[:-40], DAMAGED),
    "xz truncated": ("s.tar.xz", lambda: tarred({"a": bytes(range(256)) * 99}, "xz")[:-40], DAMAGED),
    "tar cut in a file": ("s.tar", lambda: tarred({"a": bytes(9999)}, "")[:5000], "unexpected end of data"),
    "tar cut behind a file": ("s.tar", lambda: tarred(GOOD, "")[:1024], "ends without the mark of a tar's end"),
    "tar of nothing": ("s.tar", lambda: b"", "found an empty file"),
    "tar of html": ("s.tar.gz", lambda: b"<html>Sorry</html>", DAMAGED),
    "tar bomb": ("s.tar.gz", lambda: tarred({"a": bytes(10**6 + 1)}), BOMB),
    "tar bomb in a header": ("s.tar.gz", lambda: tarred(GOOD, pax_headers={"path": "x" * 2**23}), "has a header of 8"),
    "tar files": ("s.tar.xz", lambda: tarred({f"{n}": b"x" for n in range(5)}, "xz"), MANY),
    "tar below": ("s.tar", lambda: tarred_members([("a", b"x"), ("a/b", b"x")]), "lies below a file"),
}


def zipfile_of_nothing() -> bytes:
    buffer = io.BytesIO()
    zipfile.ZipFile(buffer, "w").close()
    return buffer.getvalue()


@pytest.mark.parametrize("case", HOSTILE)
def test_what_archives_of_data_do_not_hold_is_refused(tmp_path: Path, case: str) -> None:
    name, content, said = HOSTILE[case]
    archive = tmp_path / "in" / "set" / name
    archive.parent.mkdir(parents=True)
    archive.write_bytes(content())
    with pytest.raises(FewshotError) as caught:
        extract_archive(LIMITS, archive, archive.parent / "set.csv")
    assert said in str(caught.value)
    assert str(caught.value).startswith(str(archive)) and str(caught.value).isprintable()
    assert sorted(tmp_path.rglob("*")) == [tmp_path / "in", archive.parent, archive]
    assert not Path("/outside").exists()


@pytest.mark.parametrize(
    ("name", "make"),
    [("s.zip", zipped), ("s.tar", lambda files: tarred(files, "")), ("s.tgz", tarred),
        ("s.tar.xz", lambda files: tarred(files, "xz"))],
)  # fmt: skip
def test_an_archive_is_unpacked_and_listed_and_an_older_one_goes(
    tmp_path: Path, name: str, make: Callable[[dict[str, bytes]], bytes]
) -> None:
    archive, listing = tmp_path / name, tmp_path / "set.csv"
    archive.write_bytes(make({"old": b"x"}))
    extract_archive(LIMITS, archive, listing)
    archive.write_bytes(make(GOOD))
    extract_archive(LIMITS, archive, listing)
    first = listing.read_bytes()
    rows = list(csv.reader(first.decode().splitlines()))
    assert [row[:2] for row in rows] == [["name", "bytes"], ["2.txt", "3"], ["a/1.txt", "3"]]
    files = {path.relative_to(tmp_path / "set").as_posix(): path for path in (tmp_path / "set").rglob("*.*")}
    assert {name: path.read_bytes() for name, path in files.items()} == GOOD
    archive.write_bytes(make(dict(reversed(GOOD.items()))))
    extract_archive(LIMITS, archive, listing)
    assert listing.read_bytes() == first, "in whatever order they are packed"
    archive.write_bytes(b"PK")
    with pytest.raises(DataError, match="Nothing was unpacked"):
        extract_archive(LIMITS, archive, listing)
    assert listing.read_bytes() == first and len(list((tmp_path / "set").rglob("*.*"))) == 2
