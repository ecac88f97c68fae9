"""Rows in files are what they are in memory, and files that are written row by row have the bytes of others."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from fewshot_diffusion.errors import CorruptFileError
from fewshot_diffusion.storage import rows
from fewshot_diffusion.storage.rows import (
    FileRows,
    flatten_rows,
    gather_rows,
    in_memory,
    join_rows,
    select_rows,
)  # fmt: skip
from fewshot_diffusion.storage.tensors import (
    open_tensors,
    pixel_digest,
    read_tensors,
    write_rows,
    write_tensors,
    writing_rows,
)  # fmt: skip
from support import ROOT

VALUES = torch.randn(60, 3, 2, generator=torch.Generator().manual_seed(0))
INDICES = (
    torch.tensor([5, 5, 59, 0]),
    torch.arange(60) % 3 == 0,
    slice(3, 9),
    slice(None),
    torch.tensor([], dtype=int),
)


def in_file(folder: Path, monkeypatch: pytest.MonkeyPatch, values: Tensor = VALUES) -> FileRows:
    monkeypatch.setattr(rows, "IN_MEMORY", 0)
    found = gather_rows(values.split(7), folder)
    assert isinstance(found, FileRows)
    assert not list(folder.iterdir()), "the file has no name, so that nothing is left of a killed job"
    return found


def test_rows_of_a_file_are_indexed_as_tensors_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = in_file(tmp_path, monkeypatch)
    joined = join_rows([found, VALUES[:4]])
    chosen = torch.tensor([7, 3, 3, 40])
    for index in INDICES:
        assert torch.equal(found[index], VALUES[index])
        assert torch.equal(join_rows([VALUES[:20], in_file(tmp_path, monkeypatch, VALUES[20:])])[index], VALUES[index])
    assert torch.equal(in_memory(select_rows(found, chosen)), VALUES[chosen])
    assert torch.equal(select_rows(select_rows(found, chosen), chosen[:1] - 6)[:], VALUES[[3]])
    assert torch.equal(flatten_rows(found)[torch.tensor([4])], VALUES.flatten(0, 1)[[4]])
    assert [len(part) for part in found.split(25)] == [len(part) for part in VALUES.split(25)]
    digests = [pixel_digest(each) for each in (VALUES, found, join_rows([found[:9], found[9:]]), joined, VALUES[:4])]
    assert digests[0] == digests[1] == digests[2]
    assert pixel_digest(VALUES, VALUES[:4]) == digests[3]
    for wrong in (torch.tensor([60]), torch.tensor([-1])):
        with pytest.raises(IndexError, match="expected 0 to 59"):
            found[wrong]


def test_few_rows_stay_in_memory(tmp_path: Path) -> None:
    found = gather_rows(VALUES.split(7), tmp_path)
    assert isinstance(found, Tensor) and torch.equal(found, VALUES)


@pytest.mark.parametrize("number", [0, 1, 60])
def test_files_written_by_rows_have_the_bytes_of_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    tensors = {
        "b.features": VALUES[:number], "ids": torch.arange(number), "a.half": VALUES[:number].half(),
        "gallery": (VALUES[:number] * 9).to(torch.uint8), "c": VALUES[:number, 0].clone(),
    }  # fmt: skip
    about = {"method": 'ex"act', "cost": {"é": float("nan")}}
    write_tensors(tmp_path / "whole", tensors, about)
    write_rows(tmp_path / "rows", tensors, about)
    shapes = {name: (each.dtype, each.shape) for name, each in tensors.items()}
    with writing_rows(tmp_path / "parts", shapes, about) as writer:
        for name in reversed(tensors):
            for part in tensors[name].split(7):
                writer.append(name, part)
    whole = (tmp_path / "whole").read_bytes()
    assert (tmp_path / "rows").read_bytes() == (tmp_path / "parts").read_bytes() == whole
    monkeypatch.setattr(rows, "IN_MEMORY", 0)
    found, said = open_tensors(tmp_path / "whole", "ids", expected={"method": 'ex"act'})
    assert (said["method"], list(said["cost"])) == ('ex"act', ["é"])
    assert all(isinstance(found[name], FileRows) == (number > 0) for name in tensors)
    for name, each in read_tensors(tmp_path / "whole")[0].items():
        assert torch.equal(in_memory(found[name]), tensors[name]) and torch.equal(each, tensors[name])


def test_rows_that_are_missing_too_many_or_damaged_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = {"values": (torch.float32, (60, 3, 2))}
    for part, said in (
        (VALUES[:59], "fewer rows"), (VALUES.half(), "found rows torch.float16"), (VALUES[:59].repeat(2, 1, 1), "rest"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=said), writing_rows(tmp_path / "a", shapes, {}) as writer:
            writer.append("values", part)
    assert not list(tmp_path.iterdir())
    write_rows(tmp_path / "a", {"values": VALUES}, {})
    with (tmp_path / "a").open("r+b") as file:
        file.seek(-3, os.SEEK_END)
        file.write(b"\0")
    monkeypatch.setattr(rows, "IN_MEMORY", 0)
    with pytest.raises(CorruptFileError, match="SHA-256"):
        open_tensors(tmp_path / "a")


@pytest.mark.slow
@pytest.mark.parametrize(("stage", "data"), [("train", 12), ("describe", 8), ("evaluate", 8), ("cache", 4)])
def test_memory_does_not_grow_with_the_number_of_images(tmp_path: Path, stage: str, data: int) -> None:
    """``data``: kilobytes of an image or of its features. Four times as many images take far less than these."""
    peaks = []
    for number in (10_000, 40_000):
        (tmp_path / str(number)).mkdir()
        words = [sys.executable, "tests/memory.py", stage, str(number), str(tmp_path / str(number)), "16"]
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
        peaks.append(int(done.stdout.split()[-1]))
    assert peaks[1] - peaks[0] < 0.25 * 30_000 * data / 1024
