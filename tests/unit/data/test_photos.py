"""A folder of photos and a CSV, however its rows name the files."""

from pathlib import Path

import pytest

from fewshot_diffusion.config.data import FolderConfig
from fewshot_diffusion.data.index import SourceIndex
from fewshot_diffusion.data.photos import list_photos
from fewshot_diffusion.errors import DataError


def listed(folder: Path, files: list[str], *rows: str, columns: str = "S", wanted: str = "S") -> SourceIndex:
    for file in files:
        (folder / "photos" / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / "photos" / file).write_bytes(b"")
    (folder / "labels.csv").write_text("\n".join([f"file,{columns}", *rows]))
    return list_photos(FolderConfig(images=folder / "photos", labels=folder / "labels.csv"), [wanted])


@pytest.mark.parametrize(
    "row", ["s/u/a.png", "./s/u/a.png", "s\\u\\a.png", "photos/s/u/a.png", "u/a.png", "a.png", "{}/photos/s/u/a.png"]
)
def test_a_file_is_found_however_it_is_named(tmp_path: Path, row: str) -> None:
    found = listed(tmp_path, ["s/u/a.png", "s/b.png"], f"{row.format(tmp_path)},1", "b.png,0")
    assert found.attributes == {"S": {"s/u/a.png"}}
    assert [row.labelled for row in found.rows] == [True, True]


def test_an_image_beside_a_lone_folder_renames_no_other(tmp_path: Path) -> None:
    before = {row.name for row in listed(tmp_path, ["s/a.png", "s/b.png"], "a.png,1").rows}
    assert before < {row.name for row in listed(tmp_path, ["t/c.png"], "a.png,1").rows}


def test_rows_and_images_without_each_other_are_told(tmp_path: Path) -> None:
    found = listed(tmp_path, ["s/a.png", "t/a.png", "b.png"], "a.png,1", "x.png,1", "b.png,1")
    rows, images = found.remarks
    assert "no image, or several, of the rows a.png, x.png" in rows
    assert "no labels of s/a.png, t/a.png" in images


@pytest.mark.parametrize(
    ("rows", "columns", "wanted", "words"),
    [
        (["a,1"], "S", "S", "its first row names 'a', and no row a file of "),
        (["a.png,1", "photos/a.png,1"], "S", "S", "a.png stands twice, in lines 2 and 3"),
        (["a.png,1,0"], "Big hair,Big-hair", "Big-hair", "the columns 'Big hair' and 'Big-hair' are both Big-hair"),
        (["a.png,1"], "S", "T", "found no attribute T; it has: S"),
    ],
)
def test_what_is_refused(tmp_path: Path, rows: list[str], columns: str, wanted: str, words: str) -> None:
    with pytest.raises(DataError, match=str(tmp_path)) as caught:
        listed(tmp_path, ["a.png"], *rows, columns=columns, wanted=wanted)
    assert words in str(caught.value)
