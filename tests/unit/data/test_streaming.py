"""Splits of any size pass through memory batch by batch: the files are the same, and few images live at a time."""

import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import torch

from fewshot_diffusion.data import image_set
from fewshot_diffusion.data.image_set import ImageSet, iter_image_set, load_image_set, save_batches, save_image_set
from fewshot_diffusion.errors import CorruptFileError

BATCH = image_set.BATCH


def images(start: int, number: int, size: int = 8) -> ImageSet:
    ids = torch.arange(start, start + number)
    pixels = (ids[:, None, None, None] % 251).to(torch.uint8).expand(-1, 3, size, size)
    attributes = pd.DataFrame({"Odd": (ids % 2 == 1).numpy()})
    return ImageSet(pixels.contiguous(), ids, attributes, ids % 3, ["a", "b", "c"])


def batches(number: int, size: int = 8) -> Iterator[ImageSet]:
    return (images(start, min(BATCH, number - start), size) for start in range(0, max(number, 1), BATCH))


@pytest.mark.parametrize("number", [0, 1, BATCH, 2 * BATCH + 5])
def test_batches_give_the_bytes_of_the_whole(tmp_path: Path, number: int) -> None:
    save_image_set(images(0, number), tmp_path / "whole", {"split": "train"})
    save_batches(batches(number), tmp_path / "batches", {"split": "train"})
    assert (tmp_path / "batches").read_bytes() == (tmp_path / "whole").read_bytes()


@pytest.mark.parametrize("limit", [{"GROUP_ROWS": 2 * BATCH}, {"GROUP_BYTES": 1}])
def test_large_splits_are_the_same_in_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: dict[str, int]
) -> None:
    number, path = 5 * BATCH + 7, tmp_path / "parts"
    for name, value in limit.items():
        monkeypatch.setattr(image_set, name, value)
    save_batches(batches(number), path, {})
    parts = list(iter_image_set(path))
    assert [len(part) for part in parts] == [BATCH] * 5 + [7]
    for found in (load_image_set(path), images(0, number)):
        assert torch.equal(torch.cat([part.images for part in parts]), found.images)
        assert torch.equal(torch.cat([part.ids for part in parts]), found.ids)
        assert pd.concat([part.attributes for part in parts], ignore_index=True).equals(found.attributes)
    other = tmp_path / "other"
    save_batches(batches(number - 1), other, {})
    path.write_bytes(path.read_bytes().replace(_seal(path), _seal(other)))
    with pytest.raises(CorruptFileError, match="SHA-256"):
        list(iter_image_set(path))


def _seal(path: Path) -> bytes:
    data = path.read_bytes()
    start = data.index(b'"sha256"')
    return data[start : start + 80]


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_set, "GROUP_ROWS", BATCH)
    peaks = []
    for number in (4 * BATCH, 16 * BATCH):
        tracemalloc.start()
        save_batches(batches(number, 32), tmp_path / str(number), {})
        assert sum(map(len, iter_image_set(tmp_path / str(number)))) == number
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]
