"""Lists as people and spreadsheets write them, and every fault by the number of its line."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from fewshot_diffusion.data.lists import (
    read_annotations,
    read_attribute_list,
    read_columns,
    read_id_list,
    read_text,
    read_truth,
)
from fewshot_diffusion.errors import DataError
from support import ROOT

LIST = "3\nMale Blond\n000001.jpg 1 -1\n000002.jpg -1 -1\ncaf\u00e9.jpg -1 1\n"
LABELS = "file,Male,Blond\n000001.jpg,1,0\nb/2.jpg,0,0\ncaf\u00e9.jpg,0,1\n"


@pytest.fixture
def written(tmp_path: Path) -> Callable[[str | bytes], Path]:
    def write(content: str | bytes) -> Path:
        (tmp_path / "list.txt").write_bytes(content if isinstance(content, bytes) else content.encode())
        return tmp_path / "list.txt"

    return write


Written = Callable[[str | bytes], Path]


def read_labels(path: Path) -> pd.DataFrame:
    """Return the columns that are labels, as readers of sources do."""
    table = read_columns(path, "file")
    labels = {name: read_truth(path, table[name]).to_numpy() for name in ("Male", "Blond") if name in table}
    return pd.DataFrame(labels, index=table["file"])


def refusal(read: Callable[..., Any], path: Path, *arguments: Any) -> str:
    with pytest.raises(DataError) as caught:
        read(path, *arguments)
    assert str(caught.value).startswith(str(path))
    return str(caught.value).removeprefix(str(path))


# --- texts ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("coding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_texts_of_every_editor(written: Written, coding: str, ends: str) -> None:
    assert read_text(written(LIST.replace("\n", ends).encode(coding))) == LIST
    assert read_text(written(LIST.replace("\u00e9", "e\u0301").encode(coding))) == LIST


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("a\nb\ncaf\u00e9".encode("latin-1"), ", line 3: byte 0xe9 is not UTF-8 (perhaps Latin-1 or Windows-1252)"),
        (b"\xff\xfea\0\n", ", line 1: byte 0x0a is not UTF-16-LE"),
        (b"a\nb\0c", ", line 2: found the control character '\\x00', expected a text"),
        ("a".encode("utf-16-le") + "\n".encode("utf-16-le"), ", line 1: found the control character '\\x00'"),
        (b"a\x1b[31m", ", line 1: found the control character '\\x1b'"),
        (b"PK\x03\x04...", ": found an Excel workbook or a zip, expected a text. Save it as CSV"),
        (b"\x89PNG\r\n", ": found an image, expected a text"),
        (b"\x1f\x8b\x08", ": found a gzip file, expected a text"),
    ],
)
def test_what_is_no_text(written: Written, content: bytes, fault: str) -> None:
    assert refusal(read_text, written(content)).startswith(fault)


def test_what_is_no_file(tmp_path: Path) -> None:
    assert refusal(read_text, tmp_path / "absent.txt") == ": there is no such file. Correct the path."
    assert refusal(read_text, tmp_path) == ": is not a file, expected a text."
    assert "cannot be read (" in refusal(read_text, tmp_path / ("x" * 300))


# --- attributes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        LIST, LIST.replace(" ", "  "), LIST.replace("\n", " \t\n"), LIST.replace("\n", "\n\n"),
        f"\ufeff\n{LIST}".replace("\n", "\r\n"),
    ],
)  # fmt: skip
def test_an_attribute_list(written: Written, text: str) -> None:
    found = read_attribute_list(written(text))
    assert found.index.tolist() == ["000001.jpg", "000002.jpg", "caf\u00e9.jpg"]
    assert found.dtypes.tolist() == [bool, bool]
    assert (found["Male"].tolist(), found["Blond"].tolist()) == ([True, False, False], [False, False, True])


def test_a_name_with_a_space_that_does_not_break(written: Written) -> None:
    assert read_attribute_list(written("1\nMale\nScreenshot\u00a01.jpg 1\n")).index.tolist() == [
        "Screenshot\u00a01.jpg"
    ]


@pytest.mark.parametrize(
    ("before", "after", "fault"),
    [
        ("3\n", "4\n", ": line 1 announces '4' images, found 3 lines."),
        ("3\n", "\u00b3\n", ": line 1 announces '\u00b3' images"),
        ("3\n", "", ": line 1 announces 'Male Blond' images, found 2 lines."),
        ("3\n", "9" * 5000 + "\n", "' images, found 3 lines."),
        ("000002", "000001", ", 000001.jpg stands twice, in lines 3 and 4."),
        ("000002.jpg -1 -1", "000002.jpg -1", ", line 4: found 2 values, expected a file and 2 values."),
        ("000002.jpg", "two words.jpg", ", line 4: found 4 values, expected a file and 2 values."),
        ("000002.jpg -1", "000002.jpg 0", ", line 4: attribute values other than -1 and 1: 0."),
        (" -1", " ?", ", line 3: attribute values other than -1 and 1: ?; line 4: "),
        ("Male Blond", "Male Male", ": the column 'Male' stands twice in the line of names."),
        ("Male Blond", "", ": line 1 announces '3' images, found 2 lines."),
        (LIST, "", ": found 0 lines, expected the count"),
    ],
)
def test_faults_of_an_attribute_list(written: Written, before: str, after: str, fault: str) -> None:
    assert fault in refusal(read_attribute_list, written(LIST.replace(before, after)))


def test_of_many_faults_the_first_are_shown(written: Written) -> None:
    text = "9\nMale\n" + "".join(f"{i}.jpg 7\n" for i in range(9))
    message = refusal(read_attribute_list, written(text))
    assert message.count("line") == 3
    assert message.endswith("line 5: attribute values other than -1 and 1: 7 (6 more).")


# --- labels ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", ["sep=;\n", "SEP=;\n", '"sep=;"\n'])
def test_the_line_by_which_excel_knows_the_separator(written: Written, first: str) -> None:
    assert read_columns(written(f"{first}file;S\na;1\n"), "file")["S"].to_dict() == {3: "1"}


@pytest.mark.parametrize(
    ("true", "false"),
    [
        ("1", "0"),
        ("true", "false"),
        ("True", "False"),
        ("YES", "no"),
        ("1", "-1"),
        ("t", "F"),
        ("1.0", "0.0"),
        ('"1"', " 0 "),
    ],
)
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_labels_in_every_spelling(written: Written, true: str, false: str, separator: str) -> None:
    text = LABELS.replace(",1", f",{true}").replace(",0", f",{false}").replace(",", separator)
    found = read_labels(written(text))
    assert found.index.tolist() == ["000001.jpg", "b/2.jpg", "caf\u00e9.jpg"]
    assert (found["Male"].tolist(), found["Blond"].tolist()) == ([True, False, False], [False, False, True])


@pytest.mark.parametrize(
    "text",
    [
        LABELS.replace("\n", "\r\n\r\n"),
        "\ufeff" + LABELS.replace("\n", ",\n"),
        "".join(f'"{cells[0]}", {cells[1]},{cells[2]}\n' for cells in (line.split(",") for line in LABELS.split())),
        "".join(f"{i or ''},{line}\n" for i, line in enumerate(LABELS.split())),
        "".join(f"{line},{note}\n" for line, note in zip(LABELS.split(), ["age", "3", "", "old"], strict=True)),
    ],
    ids=["blank lines", "mark and last commas", "quotes", "row numbers of pandas", "another column"],
)
def test_labels_of_every_program(written: Written, text: str) -> None:
    found = read_labels(written(text))
    assert found.index.tolist() == ["000001.jpg", "b/2.jpg", "caf\u00e9.jpg"]
    assert found.to_numpy().tolist() == [[True, False], [False, False], [False, True]]


def test_names_may_hold_separators_and_no_labels_are_needed(written: Written) -> None:
    assert read_labels(written('file,x\n"a,b.jpg",1\n')).index.tolist() == ["a,b.jpg"]
    assert read_labels(written("file\na b.jpg\n")).index.tolist() == ["a b.jpg"]


@pytest.mark.parametrize(
    ("before", "after", "fault"),
    [
        ("file,", "name,", ": found the columns 'name,Male,Blond', expected file"),
        (LABELS, "", ": found the columns '', expected file"),
        (LABELS, "file,Male\n", ": found nothing below the line of names"),
        ("b/2.jpg,0,0", "b/2.jpg,0", ", line 3: found 2 values, expected 3 (file, Male, Blond)"),
        ("b/2.jpg,0,0", "b/2.jpg,0,0,1", ", line 3: found 4 values, expected 3"),
        ("b/2.jpg,0", "b/2.jpg,", ", line 3, column 'Male': found no value, expected 0 or 1"),
        ("b/2.jpg,0", "b/2.jpg,NaN", ", line 3, column 'Male': found no value, expected 0 or 1"),
        ("b/2.jpg,0", "b/2.jpg,2", ", line 3, column 'Male': found '2', expected 0 or 1"),
        ("b/2.jpg,0", "b/2.jpg,-1", ", column 'Male': found both 0 and -1, expected 0 / 1 or -1 / 1"),
        ("b/2.jpg", "", ", line 3, column 'file': found no value"),
        ("Blond", "Male", ": the column 'Male' stands twice in the line of names."),
        ("b/2.jpg", '"b/2.jpg', ", line 4: unexpected end of data. Look for an unpaired quotation mark."),
        ("b/2.jpg", "x" * 200_000, ", line 3: field larger than field limit"),
    ],
)  # fmt: skip
def test_faults_of_labels(written: Written, before: str, after: str, fault: str) -> None:
    assert fault in refusal(read_labels, written(LABELS.replace(before, after)))


def test_columns_that_a_list_lacks(written: Written) -> None:
    assert "found the columns 'file,Male,Blond', expected file, Hat." in refusal(
        read_columns, written(LABELS), "file", "Hat"
    )


# --- annotations and ids --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["va.jpg\ta\t0\t0\t62\t62\nv b.jpg\tb c\t0\t0\t1\t1\n", "\n\nva.jpg \t a\t\nv b.jpg\tb c\t\n\t\n"]
)
def test_annotations(text: str) -> None:
    assert read_annotations(text, "x") == {"va.jpg": "a", "v b.jpg": "b c"}


def test_annotations_without_tabs() -> None:
    assert read_annotations("va.jpg a 0 0 62 62\nvb.jpg  b\n", "x") == {"va.jpg": "a", "vb.jpg": "b"}


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("a.jpg\tx\nb.jpg\n", "x, line 2: expected <file>, tab, <class>"),
        ("a.jpg\tx\n\n\tx\ty\n", "x, line 3: expected <file>, tab, <class>"),
        ("a.jpg\tx\nb.jpg\ty\na.jpg\ty", "x, a.jpg stands twice, in lines 1 and 3."),
    ],
)
def test_faults_of_annotations(text: str, fault: str) -> None:
    with pytest.raises(DataError) as caught:
        read_annotations(text, "x")
    assert str(caught.value).startswith(fault)


def test_ids_are_text(written: Written) -> None:
    assert read_id_list(written("n;celebahq_file\n1;003.jpg\n2;4.jpg\n"), "celebahq_file") == ["003.jpg", "4.jpg"]
    assert "4 stands twice, in lines 2 and 3" in refusal(read_id_list, written("id\n4\n4\n"), "id")
    assert read_columns(written("a,b\n\n007,x\n"), "b").to_dict() == {"a": {3: "007"}, "b": {3: "x"}}


def test_planning_needs_neither_torch_nor_pillow() -> None:
    code = "import sys; from fewshot_diffusion.data import files, lists; print({'torch', 'PIL'} & set(sys.modules))"
    environment = {"PYTHONPATH": str(ROOT / "workflow/scripts")}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.stdout == "set()\n", done.stderr
