"""Files and names from elsewhere, in folders and zips alike: clutter, wrappers, links, bombs, names of every kind."""

import os
import stat
import struct
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from fewshot_diffusion.data.files import MAX_BYTES, Members, is_image
from fewshot_diffusion.errors import DataError

COMPOSED, DECOMPOSED = "caf\u00e9.jpg", "cafe\u0301.jpg"
Make = Callable[[Path, Iterable[str]], Path]


def folder_of(path: Path, names: Iterable[str]) -> Path:
    """Write files that hold their names; one that ends in a slash is an empty folder."""
    for name in names:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).mkdir(parents=True) if name.endswith("/") else (path / name).write_text(name)
    return path


def zip_of(path: Path, names: Iterable[str]) -> Path:
    with zipfile.ZipFile(path.with_suffix(".zip"), "w") as archive:
        for name in names:
            archive.writestr(name, "" if name.endswith("/") else name)
    return path.with_suffix(".zip")


def packed(path: Path, name: str, content: bytes, **changes: int) -> Path:
    member = zipfile.ZipInfo(name)
    for key, value in changes.items():
        setattr(member, key, value)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(member, content, zipfile.ZIP_DEFLATED)
    return path


def read_all(path: Path) -> None:
    members = Members(path)
    for name in members.names():
        members.read(name)


def refusal(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        read_all(path)
    assert str(path) in str(caught.value)
    assert str(caught.value).isprintable(), "it would reach the terminal"
    return str(caught.value)


# --- what is listed -------------------------------------------------------------------------------------------------

PLAIN = ["train/a/1.jpg", "train/b/2.jpg"]


@pytest.mark.parametrize("make", [folder_of, zip_of])
@pytest.mark.parametrize(
    ("names", "listed", "left_out"),
    [
        (PLAIN, PLAIN, 0),
        ([*PLAIN, ".DS_Store", "train/a/._1.jpg", "train/.ipynb_checkpoints/1.jpg", "train/Thumbs.db"], PLAIN, 4),
        ([*PLAIN, "__MACOSX/train/a/1.jpg", "@eaDir/1.jpg/x.jpg", "train/desktop.ini", "train/.x/"], PLAIN, 3),
        ([f"set/{name}" for name in PLAIN], PLAIN, 0),
        ([f"set/my set/{name}" for name in PLAIN], PLAIN, 0),
        ([*(f"set/{name}" for name in PLAIN), "README.txt", "LICENSE"], ["LICENSE", "README.txt", *PLAIN], 0),
        ([*(f"set/{name}" for name in PLAIN), "set/README", "README"], ["README", *PLAIN], 0),
        (["set/1.jpg", "2.jpg"], ["2.jpg", "set/1.jpg"], 0),
        (["train/1.jpg", "notes.txt"], ["notes.txt", "train/1.jpg"], 0),
        (["a/1.jpg", "b/1.jpg"], ["a/1.jpg", "b/1.jpg"], 0),
        (["x\u00a01.jpg", "two\u200dparts.jpg", "\u202e.jpg"], ["two\u200dparts.jpg", "x\u00a01.jpg", "\u202e.jpg"], 0),
        (["$(touch x).jpg", "-rf *.jpg", "a'b\"c.jpg"], ["$(touch x).jpg", "-rf *.jpg", "a'b\"c.jpg"], 0),
        ([DECOMPOSED], [COMPOSED], 0),
        (["x/"], [], 0),
    ],
)  # fmt: skip
def test_a_folder_and_a_zip_list_the_same(
    tmp_path: Path, make: Make, names: list[str], listed: list[str], left_out: int
) -> None:
    members = Members(make(tmp_path / "set", names))
    assert (members.names(), members.left_out) == (listed, left_out)
    assert all(members.read(name).decode().endswith(name) or name == COMPOSED for name in listed)
    assert all(members.size(name) == len(members.read(name)) for name in listed)


@pytest.mark.parametrize("make", [folder_of, zip_of])
def test_folders_are_listed_even_if_they_are_empty(tmp_path: Path, make: Make) -> None:
    members = Members(make(tmp_path / "set", ["s/train/b/1.jpg", "s/train/a/", "s/train/.c/1.jpg", "s/val/x.jpg"]))
    assert [members.folders(parent) for parent in ("train", "train/a", "", "absent")] == [
        ["a", "b"],
        [],
        ["train", "val"],
        [],
    ]


@pytest.mark.parametrize("make", [folder_of, zip_of])
@pytest.mark.parametrize(
    "written", [COMPOSED, DECOMPOSED, f"./{COMPOSED}", f"set/{DECOMPOSED}", f"set\\{COMPOSED}", f"set//{COMPOSED}"]
)
def test_lists_may_write_names_in_their_way(tmp_path: Path, make: Make, written: str) -> None:
    members = Members(make(tmp_path / "x", [f"set/{DECOMPOSED}", "set/b.jpg"]))
    assert members.find(written) == COMPOSED
    assert members.read(written) == f"set/{DECOMPOSED}".encode()
    assert members.find("absent.jpg") is None


@pytest.mark.parametrize("name", ["train\\a\\1.jpg", "./train/a/1.jpg", "train//a/1.jpg"])
def test_zips_of_other_systems(tmp_path: Path, name: str) -> None:
    assert Members(zip_of(tmp_path / "set", [name, name.replace("1", "2")])).names() == [
        "train/a/1.jpg",
        "train/a/2.jpg",
    ]


def test_a_zip_whose_names_are_not_marked_as_utf8(tmp_path: Path) -> None:
    path = zip_of(tmp_path / "set", [COMPOSED])
    data = path.read_bytes()
    path.write_bytes(
        data.replace(b"PK\x03\x04\x14\0\0\x08", b"PK\x03\x04\x14\0\0\0").replace(b"\x14\0\0\x08", b"\x14\0\0\0")
    )
    assert Members(path).names() == [COMPOSED]
    assert Members(path).read(COMPOSED) == COMPOSED.encode()


def test_links_are_followed_and_loops_end(tmp_path: Path) -> None:
    folder_of(tmp_path / "elsewhere", ["images/1.jpg", "2.jpg"])
    folder = folder_of(tmp_path / "set", ["train/a/0.jpg"])
    (folder / "train/b").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (folder / "train/a/2.jpg").symlink_to(tmp_path / "elsewhere/2.jpg")
    (folder / "train/a/up").symlink_to(folder)
    (folder / "train/a/self").symlink_to(folder / "train/a/self")
    os.mkfifo(folder / "train/a/pipe.jpg")
    members = Members(folder)
    assert [name for name in members.names() if is_image(name)] == [
        "train/a/0.jpg", "train/a/2.jpg", "train/b/2.jpg", "train/b/images/1.jpg",
    ]  # fmt: skip
    assert members.folders("train") == ["a", "b"]
    with pytest.raises(DataError, match="train/a/self: cannot be read"):
        members.read("train/a/self")


def test_a_checksum_changes_with_the_content(tmp_path: Path) -> None:
    before = [Members(make(tmp_path / "set", PLAIN)) for make in (folder_of, zip_of)]
    known = [members.checksum(PLAIN[0]) for members in before]
    assert [len(text) for text in known] == [64, 8]
    (tmp_path / "set" / PLAIN[0]).write_text("other")
    packed(tmp_path / "set.zip", PLAIN[0], b"other")
    after = [Members(members.path).checksum(PLAIN[0]) for members in before]
    assert all(one != two for one, two in zip(known, after, strict=True))


# --- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["../out.jpg", "/etc/out.jpg", "train/../../out.jpg", "train\\..\\out.jpg", "C:\\out.jpg", "\\\\host\\out.jpg"],
)
def test_members_that_lead_out(tmp_path: Path, name: str) -> None:
    message = refusal(zip_of(tmp_path / "set", ["train/a/1.jpg", name]))
    assert "leads out of the archive" in message
    assert "out.jpg" in message
    assert {path.name for path in tmp_path.iterdir()} == {"set.zip"}


@pytest.mark.parametrize("make", [folder_of, zip_of])
@pytest.mark.parametrize("name", ["a/1\n.jpg", "a\x1b[31m/1.jpg", "a/\x7f.jpg"])
def test_control_characters_in_names(tmp_path: Path, make: Make, name: str) -> None:
    assert "control character" in refusal(make(tmp_path / "set", [name, "b/1.jpg"]))


def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"caf\xe9.jpg")).write_bytes(b"")
    assert "not UTF-8" in refusal(tmp_path)


@pytest.mark.parametrize("name", ["train/a/1.jpg", "./train/a/1.jpg"])
def test_members_that_are_links(tmp_path: Path, name: str) -> None:
    link = packed(tmp_path / "set.zip", name, b"/etc/passwd", external_attr=(stat.S_IFLNK | 0o777) << 16)
    assert "train/a/1.jpg': is a link" in refusal(link)


def test_encrypted_members(tmp_path: Path) -> None:
    archive = zip_of(tmp_path / "set", ["a/1.jpg"])
    data, entry = bytearray(archive.read_bytes()), archive.read_bytes().index(b"PK\1\2")
    data[entry + 8] |= 1
    archive.write_bytes(data)
    assert "a/1.jpg': is encrypted" in refusal(archive)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("names", [["a/1.jpg", "a/1.jpg"], ["a\\1.jpg", "a/1.jpg"], [COMPOSED, DECOMPOSED]])
def test_two_members_of_one_name(tmp_path: Path, names: list[str]) -> None:
    assert "stands in it twice" in refusal(zip_of(tmp_path / "set", names))


def test_two_files_of_one_name(tmp_path: Path) -> None:
    assert "stands in it twice" in refusal(folder_of(tmp_path, [COMPOSED, DECOMPOSED]))


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    path = packed(tmp_path / "set.zip", "1.jpg", bytes(MAX_BYTES + 1))
    assert path.stat().st_size < MAX_BYTES / 500
    assert f"1.jpg: found {MAX_BYTES + 1} bytes, expected at most {MAX_BYTES}" in refusal(path)


def test_a_bomb_that_lies_about_its_size(tmp_path: Path) -> None:
    path = packed(tmp_path / "set.zip", "1.jpg", bytes(2**20))
    data = path.read_bytes()
    assert data.count(struct.pack("<I", 2**20)) == 2
    path.write_bytes(data.replace(struct.pack("<I", 2**20), struct.pack("<I", 99)))
    assert "1.jpg: cannot be read" in refusal(path)


def test_an_encrypted_member(tmp_path: Path) -> None:
    path = zip_of(tmp_path / "set", ["1.jpg"])
    data = bytearray(path.read_bytes())
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    assert "is encrypted" in refusal(path)


@pytest.mark.parametrize("content", [b"", b"Rar!\x1a\x07", b"PK\x03\x04"])
def test_a_file_that_is_no_zip(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "set.rar").write_bytes(content)
    assert "not a readable archive" in refusal(tmp_path / "set.rar")
    assert "Expected a folder or a .zip" in refusal(tmp_path / "set.rar")


def test_a_missing_path_is_called_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "absent.zip: there is no such file or folder. Correct" in refusal(tmp_path / "absent.zip")
    assert f"absent: there is no such file or folder in {tmp_path}" in refusal(Path("absent"))


@pytest.mark.parametrize("name", ["../secret.jpg", "/etc/hostname", "absent.jpg", ""])
def test_only_what_is_listed_is_read(tmp_path: Path, name: str) -> None:
    folder_of(tmp_path, ["secret.jpg", "set/a/1.jpg", "set/b/1.jpg"])
    with pytest.raises(DataError, match=r"cannot be read \(there is no such file in it"):
        Members(tmp_path / "set").read(name)
