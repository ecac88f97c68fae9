"""Lists that people write: attributes, labels, annotations, ids. Every fault is named with its line.

Needs neither Pillow nor torch, so that a plan can be made of it. Names of files stay text, in Unicode's composed form.
"""

import codecs
import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from unicodedata import category, normalize

import numpy as np
import pandas as pd

from ..errors import DataError

MAX_BYTES = 2**28  # of one list: CelebA's, of 200,000 images, has a tenth of it
SHOWN = 3  # faults that one message names

# The longer marks first: one begins with another.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF32_LE, "utf-32-le"), (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"),
)  # fmt: skip
_BINARY = (
    (b"PK\x03\x04", "an Excel workbook or a zip"), (b"\xd0\xcf\x11\xe0", "an Excel workbook"),
    (b"\x1f\x8b", "a gzip file"), (b"\x89PNG", "an image"), (b"\xff\xd8\xff", "an image"), (b"%PDF", "a PDF"),
    (b"PAR1", "a parquet file"),
)  # fmt: skip

TRUTH = {
    **dict.fromkeys(("1", "1.0", "+1", "true", "t", "yes", "y"), True),
    **dict.fromkeys(("0", "0.0", "-1", "-1.0", "false", "f", "no", "n"), False),
}
"""What labels are written as, in lower case."""

_BLANKS = " \t"  # a non-breaking space is part of a name
_GAPS = {"", "nan", "na", "n/a", "null", "none", "?"}
_EXCEL = re.compile(r"\A\s*\"?sep=[^\n]?\"?[ ,;\t]*(?=\n)", re.IGNORECASE)  # tells it the separator
_PANDAS_INDEX = "Unnamed: 0"

Row = tuple[int, list[str]]
"""Number of a line, from 1, and its cells."""


def read_text(path: Path) -> str:
    r"""Return a text whose lines end in ``\n``, however they end in the file.

    Raises:
        DataError: If it is missing, a folder, too large, or no text in UTF-8, or UTF-16 or UTF-32 with a mark.
    """
    try:
        if not path.exists():
            raise DataError(f"{path}: there is no such file. Correct the path.")
        if not path.is_file():
            raise DataError(f"{path}: is not a file, expected a text.")
        if (size := path.stat().st_size) > MAX_BYTES:
            raise DataError(f"{path}: found {size} bytes, expected a list of at most {MAX_BYTES}.")
        return decode_text(path.read_bytes(), str(path))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error}).") from error


def decode_text(data: bytes, where: str) -> str:
    """Return the text of a file's bytes; ``where`` names it in errors. See ``read_text``."""
    for start, what in _BINARY:
        if data.startswith(start):
            raise DataError(f"{where}: found {what}, expected a text. Save it as CSV or plain text, in UTF-8.")
    mark, coding = next(((mark, coding) for mark, coding in _MARKS if data.startswith(mark)), (b"", "utf-8"))
    body = data[len(mark) :]
    try:
        text = body.decode(coding)
    except UnicodeDecodeError as error:
        line = body[: error.start].decode(coding, errors="replace").count("\n") + 1
        raise DataError(
            f"{where}, line {line}: byte 0x{body[error.start]:02x} is not {coding.upper()} (perhaps Latin-1 or "
            "Windows-1252). Save the list as UTF-8."
        ) from error
    text = normalize("NFC", text.replace("\r\n", "\n").replace("\r", "\n"))
    _refuse_controls(text, where)
    return text


def _refuse_controls(text: str, where: str) -> None:
    found = {character for character in set(text) if category(character) == "Cc"} - {"\n", "\t"}
    if found:
        first = min(found, key=text.index)
        line = text[: text.index(first)].count("\n") + 1
        raise DataError(f"{where}, line {line}: found the control character {first!r}, expected a text in UTF-8.")


def read_attribute_list(path: Path) -> pd.DataFrame:
    """Read CelebA's list: line 1 the count, line 2 the names, then a file and -1 or 1 for each name.

    Returns:
        One boolean column per attribute; the index holds the names of the files.

    Raises:
        DataError: If the file is no such list; names the lines.
    """
    return parse_attribute_list(read_text(path), path)


def parse_attribute_list(text: str, path: object) -> pd.DataFrame:
    """Return what a text in CelebA's layout says, as ``read_attribute_list`` does; ``path`` names it in errors."""
    lines = list(_lines(text))
    if len(lines) < 2:
        raise DataError(f"{path}: found {len(lines)} lines, expected the count, the names of attributes, and images.")
    (_, count), (_, header), *lines = lines
    names = _words(header)
    _require_count(path, count.strip(_BLANKS), len(lines))
    _require_header(path, names)
    # Line by line, each time anew: the cells of CelebA's 200,000 lines would take half a gigabyte.
    _refuse(path, _wrong_lengths(_cells_of(lines), 1 + len(names), f"a file and {len(names)} values"))
    known = {"1", "-1"}
    _refuse(
        path,
        (
            f"line {number}: attribute values other than -1 and 1: {', '.join(sorted(set(cells[1:]) - known))}"
            for number, cells in _cells_of(lines)
            if not known.issuperset(cells[1:])
        ),
    )
    values = np.empty((len(lines), len(names)), dtype=bool)
    for row, (_, cells) in zip(values, _cells_of(lines), strict=True):
        row[:] = [cell == "1" for cell in cells[1:]]
    index = _unique(path, ((number, cells[0]) for number, cells in _cells_of(lines)))
    return pd.DataFrame(values, index=index, columns=names)


def _cells_of(lines: Iterable[tuple[int, str]]) -> Iterator[Row]:
    return ((number, _words(line)) for number, line in lines)


def _require_count(path: object, count: str, found: int) -> None:
    if not (count.isascii() and count.isdecimal() and int(count[:20]) == found):
        raise DataError(f"{path}: line 1 announces {count!r} images, found {found} lines.")


def read_truth(path: Path, cells: "pd.Series[str]") -> "pd.Series[bool]":
    """Return a column of labels, however they are written.

    Args:
        path: Where it was read from.
        cells: Of a table of ``read_columns``, whose index holds the lines.

    Raises:
        DataError: If a label is missing or unknown, or the column mixes 0 and -1, of which one may mean unknown.
    """
    lower, where = cells.str.lower(), f"column {cells.name!r}: found"
    _refuse(
        path,
        (f"line {line}, {where} {_shown(cell)}, expected 0 or 1" for line, cell in lower.items() if cell not in TRUTH),
    )
    if {"0", "-1"} <= set(lower):
        raise DataError(f"{path}, {where} both 0 and -1, expected 0 / 1 or -1 / 1.")
    return lower.map(TRUTH).astype(bool)


def read_numbers(path: Path, cells: "pd.Series[str]") -> list[int]:
    """Return a column of ids.

    Raises:
        DataError: If one is no whole number, or stands twice; names the lines.
    """
    faults = (
        f"line {line}, column {cells.name!r}: found {cell!r}, expected a whole number"
        for line, cell in cells.items()
        if not (cell.isascii() and cell.isdecimal() and len(cell) < 20 and int(cell) < 2**63)
    )
    _refuse(path, faults)
    return [int(cell) for cell in _unique(path, cells.items())]


def _shown(cell: str) -> str:
    return "no value" if cell in _GAPS else repr(cell)


def read_annotations(text: str, where: str) -> dict[str, str]:
    """Return file -> class of a list like Tiny-ImageNet's: a file, a class, and perhaps a box, separated by tabs.

    Raises:
        DataError: If a line lacks the class, or a file stands twice; names the lines.
    """
    rows = [
        (number, [cell.strip(" ") for cell in line.split("\t")] if "\t" in line.strip(_BLANKS) else _words(line))
        for number, line in _lines(text)
    ]
    _refuse(where, (f"line {n}: expected <file>, tab, <class>, ..." for n, cells in rows if not all((*cells, "")[:2])))
    index = _unique(where, [(number, cells[0]) for number, cells in rows])
    return dict(zip(index, (cells[1] for _, cells in rows), strict=True))


def read_id_list(path: Path, column: str) -> list[str]:
    """Return one column of a CSV, as text.

    Raises:
        DataError: If there is no such column, or a value is missing or stands twice; names the lines.
    """
    return list(_unique(path, read_columns(path, column)[column].items()))


def read_columns(path: Path, *columns: str) -> pd.DataFrame:
    """Read a CSV as text; the index holds the number of each line.

    Raises:
        DataError: If it lacks one of these columns, a line has more or fewer cells than the first, or a cell of these
            columns is empty.
    """
    (_, header), *rows = _cells(path, columns)
    rows = [(number, cells[: len(header)] if not any(cells[len(header) :]) else cells) for number, cells in rows]
    _require_header(path, header)
    _refuse(path, _wrong_lengths(rows, len(header), f"{len(header)} ({', '.join(header)})"))
    if not rows:
        raise DataError(f"{path}: found nothing below the line of names.")
    table = pd.DataFrame([cells for _, cells in rows], columns=header, index=[n for n, _ in rows], dtype=str)
    table = table.drop(columns=[name for name in header if name in ("", _PANDAS_INDEX)])
    for name in columns:
        _refuse(
            path, (f"line {line}, column {name!r}: found no value" for line, cell in table[name].items() if not cell)
        )
    return table


def _cells(path: Path, columns: Sequence[str]) -> list[Row]:
    """Return the rows of a CSV under whichever separator its first line has these columns."""
    text = _EXCEL.sub("", read_text(path))
    first = next((line for _, line in _lines(text)), "")
    headers = {separator: next(_split(path, first, separator, strict=False), (1, [""]))[1] for separator in ",;\t"}
    fitting = [separator for separator, header in headers.items() if set(columns) <= set(header)]
    if not (first and fitting):
        raise DataError(f"{path}: found the columns {first[:200]!r}, expected {', '.join(columns) or 'some'}.")
    separator = max(fitting, key=lambda separator: len(headers[separator]))
    return [(number, cells) for number, cells in _split(path, text, separator) if any(cells)]


def _split(path: Path, text: str, separator: str, strict: bool = True) -> Iterator[Row]:
    rows = csv.reader(io.StringIO(text), delimiter=separator, strict=strict, skipinitialspace=True)
    try:
        for cells in rows:
            yield rows.line_num, [cell.strip(_BLANKS) for cell in cells]
    except csv.Error as error:
        why = str(error).replace("\t", "tab")
        raise DataError(f"{path}, line {rows.line_num}: {why}. Look for an unpaired quotation mark.") from error


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield the number and content of every line that is not blank."""
    return ((number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip(_BLANKS))


def _words(line: str) -> list[str]:
    return line.split() if line.isascii() else re.split(f"[{_BLANKS}]+", line.strip(_BLANKS))


def _require_header(path: object, names: list[str]) -> None:
    repeated = sorted({name for name in names if names.count(name) > 1 and name})
    if repeated:
        raise DataError(f"{path}: the column {repeated[0]!r} stands twice in the line of names.")


def _wrong_lengths(rows: Iterable[Row], expected: int, words: str) -> Iterator[str]:
    for number, cells in rows:
        if len(cells) != expected:
            yield f"line {number}: found {len(cells)} values, expected {words}"


def _unique(where: object, lines: Iterable[tuple[object, str]]) -> pd.Index:
    """Return names as an index, unless one stands twice."""
    seen: dict[str, object] = {}
    faults = []
    for number, name in lines:
        if (first := seen.setdefault(name, number)) is not number:
            faults.append(f"{name} stands twice, in lines {first} and {number}")
    _refuse(where, faults)
    return pd.Index(list(seen), dtype=str, name="file")


def _refuse(where: object, faults: Iterable[str]) -> None:
    """Raise ``DataError`` with the first faults and the number of the others, if there are any."""
    if found := list(faults):
        more = f" ({len(found) - SHOWN} more)" if len(found) > SHOWN else ""
        shown = "; ".join(found[:SHOWN]).translate({9: " ", 10: " "})  # a message is one line, whatever cells hold
        raise DataError(f"{where}, {shown}{more}.")
