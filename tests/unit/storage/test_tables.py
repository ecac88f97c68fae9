"""Tables of numbers: what is written comes back, and what is no table is named."""

from pathlib import Path

import pandas as pd
import pytest

from fewshot_diffusion.errors import DataError, FewshotError
from fewshot_diffusion.storage.tables import read_csv, read_source_csv, write_csv


def test_a_table_has_six_digits_and_plain_line_ends(tmp_path: Path) -> None:
    write_csv(tmp_path / "t.csv", pd.DataFrame({"x": [1 / 3, float("nan")], "y": ["a,b", "é"], "n": [1, 2]}))
    assert (tmp_path / "t.csv").read_bytes() == 'x,y,n\n0.333333,"a,b",1\n,é,2\n'.encode()


def test_a_table_comes_back(tmp_path: Path) -> None:
    frame = pd.DataFrame({"value": [1.5, 2.5], "name": ["a", "b"], "kept": [True, False]})
    write_csv(tmp_path / "t.csv", frame)
    pd.testing.assert_frame_equal(read_csv(tmp_path / "t.csv", "value"), frame)


@pytest.mark.parametrize("cell", ["", "NA", "1e5", "0010", 'say "x"', "a,b", "a\nb", " a ", "é", "True", "-0.0", "#"])
def test_any_text_leaves_the_rows_as_they_are(tmp_path: Path, cell: str) -> None:
    write_csv(tmp_path / "t.csv", pd.DataFrame({"name": [cell, "other"], "value": [1.5, 2.5]}))
    assert read_csv(tmp_path / "t.csv", "name")["value"].tolist() == [1.5, 2.5]


@pytest.mark.parametrize("text", ["", "\0\0\0", "a,b\n1", "value\n", "\ud800", 'value,y\n"1'])
def test_a_broken_table_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "table.csv").write_bytes(text.encode(errors="surrogatepass"))
    with pytest.raises(FewshotError, match=r"table\.csv"):
        read_csv(tmp_path / "table.csv", "value")
    if text != "value\n":  # a list of none is one
        with pytest.raises(DataError, match=r"table\.csv"):
            read_source_csv(tmp_path / "table.csv", "value")


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    for read in (read_csv, read_source_csv):
        with pytest.raises(FewshotError, match=r"absent\.csv"):
            read(tmp_path / "absent.csv")
