"""The README's strip: rows of the first images, one above the other, and no file in another's place."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from fewshot_diffusion.data.mask_set import MaskSet, save_masks
from fewshot_diffusion.diffusion.samples import SampleSet, save_samples
from fewshot_diffusion.errors import CorruptFileError
from fewshot_diffusion.storage.tensors import pixel_digest
from fewshot_diffusion.tooling.strip import Block, Followed, draw_strip, strip_figure


def grey(*levels: int) -> Tensor:
    return torch.tensor(levels, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 8, 8).contiguous()


@pytest.fixture
def files(tmp_path: Path) -> Followed:
    wanted = MaskSet(grey(0, 1, 2)[:, 0].contiguous(), torch.arange(3), ["background", "skin", "hair"])
    save_masks(wanted, tmp_path / "masks", {})
    about = {"method": "exact", "preset": "main", "shots": 20, "masks": pixel_digest(wanted.masks[:2])}
    save_samples(SampleSet(grey(10, 20, 30, 40), torch.arange(4), 1.0), tmp_path / "samples", about)
    places = {"masks": tmp_path / "masks", "samples": tmp_path / "samples"}
    return Followed(**places, wanted=2, follower="exact", preset="main", shots=20)


def test_rows_stand_above_each_other_in_order() -> None:
    upper, lower = strip_figure([Block("t", ("upper", "lower"), (grey(1, 2), grey(3, 4)))]).axes
    assert (upper.get_ylabel(), lower.get_ylabel()) == ("upper", "lower")
    assert upper.get_position().y0 >= lower.get_position().y1
    assert [set(axes.images[0].get_array().flatten()) for axes in (upper, lower)] == [{1, 2, 255}, {3, 4, 255}]


def test_a_strip_is_written_in_every_format(files: Followed, tmp_path: Path) -> None:
    draw_strip(files, [tmp_path / "strip.png", tmp_path / "strip.pdf"])
    assert (tmp_path / "strip.pdf").stat().st_size > 0


@pytest.mark.parametrize("wrong", [{"follower": "readout"}, {"preset": "other"}, {"shots": 5}, {"wanted": 3}], ids=str)
def test_samples_of_another_kind_are_refused(files: Followed, tmp_path: Path, wrong: dict[str, str]) -> None:
    with pytest.raises(CorruptFileError):
        draw_strip(replace(files, **wrong), [tmp_path / "strip.png"])
