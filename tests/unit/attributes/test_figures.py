"""Figures: pixels where they belong, equal bytes from equal data, frames that tell the truth."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib import pyplot as plt
from matplotlib.colors import to_hex
from PIL import Image
from torch import Tensor

from attribute_helpers import BLOND, DARK, described
from fewshot_diffusion.attributes import figures
from fewshot_diffusion.attributes.figures import (
    AGREES,
    DIFFERS,
    Strip,
    attributes_figure,
    gather_row,
    with_reservations,
)
from fewshot_diffusion.diffusion.samples import SampleSet, save_samples
from fewshot_diffusion.errors import CorruptFileError
from fewshot_diffusion.images import image_grid
from fewshot_diffusion.metrics.descriptions import save_description
from fewshot_diffusion.storage.tables import write_csv

METHODS = ["unguided", "exact", "readout"]


def flat(*values: int, size: int = 8) -> Tensor:
    return torch.stack([torch.full((3, size, size), value, dtype=torch.uint8) for value in values])


def strip(title: str = "unguided", n: int = 3, agrees: list[bool] | None = None) -> Strip:
    return Strip(title, flat(*range(10, 10 + n)), torch.tensor(agrees or [True, False, True][:n]))


def test_frames_tell_what_the_judge_says() -> None:
    figure = attributes_figure([("Red", [strip(agrees=[True, False, True])])])
    frames = figure.axes[0].patches
    assert [to_hex(frame.get_edgecolor()) for frame in frames] == [AGREES, DIFFERS, AGREES]
    assert AGREES != DIFFERS
    # Each frame goes around its image: 8 pixels and a gap of 4.
    assert [frame.get_x() for frame in frames] == [-1.5, 10.5, 22.5]
    assert {(frame.get_y(), frame.get_width(), frame.get_height()) for frame in frames} == {(-1.5, 10, 10)}
    plt.close(figure)


def test_rows_and_columns_are_labelled() -> None:
    rows = [("Red", [strip("unguided"), strip("ours")]), ("Blue", [strip("unguided"), strip("ours")])]
    figure = attributes_figure(rows)
    axes = figure.axes
    assert [axis.get_title() for axis in axes] == ["unguided", "ours", "", ""]
    assert [axis.get_ylabel() for axis in axes] == ["Red", "", "Blue", ""]
    shown = np.asarray(axes[3].images[0].get_array())
    assert np.array_equal(shown, image_grid(strip().images, 3, 4))
    plt.close(figure)


# --- from descriptions ---

REAL = "real/controls.safetensors"


@pytest.fixture
def descriptions(tmp_path: Path) -> Path:
    """Six images a file, the second, fourth and fifth of which the judge takes for blond."""
    for i, method in enumerate(("real", *METHODS)):
        whole = described(6, i, method=method)
        blond = torch.tensor([0.1, 0.9, 0.2, 0.8, 0.7, 0.1])
        description = replace(whole, probabilities={"Blond": blond}, gallery=flat(*range(40 * i, 40 * i + 6)))
        if method == "real":
            save_description(description, tmp_path / "real" / "controls.safetensors")
            continue
        for target in (BLOND, DARK):
            about = {"attribute": "Blond", "value": target.value}
            save_description(description, tmp_path / method / f"{target.name}.safetensors", about)
    shares = [{"attribute": t.label, "method": m, "n": 6, "judge_real": 0.6} for t in (BLOND, DARK) for m in METHODS]
    write_csv(tmp_path / "shares.csv", pd.DataFrame(shares))
    return tmp_path


def values(found: Strip) -> list[int]:
    return found.images[:, 0, 0, 0].tolist()


def test_a_row_shows_the_same_seeds_of_every_method(descriptions: Path) -> None:
    label, strips = gather_row(BLOND, descriptions, METHODS, 3, None)
    assert label == "Blond hair"
    assert [strip.title for strip in strips] == ["unguided", "ours, exact", "ours, readout"]
    assert [values(strip) for strip in strips] == [[40, 41, 42], [80, 81, 82], [120, 121, 122]]
    assert [strip.agrees.tolist() for strip in strips] == [[False, True, False]] * 3
    _, (only,) = gather_row(DARK, descriptions, ["exact"], 2, None)
    assert (values(only), only.agrees.tolist()) == ([80, 81], [True, False])


@pytest.mark.parametrize(("target", "shown"), [(BLOND, [1, 3, 4]), (DARK, [0, 2, 5])])
def test_real_images_are_shown_only_where_the_licence_allows(
    descriptions: Path, target: object, shown: list[int]
) -> None:
    _, strips = gather_row(target, descriptions, METHODS, 3, descriptions / REAL)  # type: ignore[arg-type]
    assert strips[0].title == "real"
    assert values(strips[0]) == shown
    assert strips[0].agrees.all()
    (descriptions / "real" / "controls.safetensors").unlink()
    gather_row(BLOND, descriptions, METHODS, 3, None)  # does not even read them


def test_a_description_in_anothers_place_is_refused(descriptions: Path) -> None:
    (descriptions / "exact" / "Dark.safetensors").replace(descriptions / "exact" / "Blond.safetensors")
    with pytest.raises(CorruptFileError, match="was made for value False, expected True"):
        gather_row(BLOND, descriptions, METHODS, 3, None)


@pytest.mark.parametrize("kind", ["described", "drawn"])
def test_a_sheet_has_a_labelled_block_of_exact_pixels_for_each_set(descriptions: Path, kind: str) -> None:
    sources = [descriptions / method / "Blond.safetensors" for method in ("exact", "readout")]
    if kind == "drawn":
        sources = [source.with_suffix(".parquet") for source in sources]
        for first, path in zip((80, 120), sources, strict=True):
            save_samples(SampleSet(flat(*range(first, first + 6)), torch.arange(6), 1.0), path, {})
    labels = ["exact, Blond hair", "readout, Blond hair"]
    figures.draw_sheet(sources, 2, descriptions / "sheet.png", labels, descriptions / "shares.csv", columns=2)
    with Image.open(descriptions / "sheet.png") as image:
        assert image.mode == "RGB", "transparency would take a fifth of the file"
        sheet = np.asarray(image)
    for block in (flat(80, 81, 82, 83), flat(120, 121, 122, 123)):
        scale = figures.SHEET_IMAGE // block.shape[-1]
        expected = image_grid(block, 2).repeat(scale, 0).repeat(scale, 1)
        height = len(expected)
        assert any(
            np.array_equal(sheet[top : top + height, : expected.shape[1]], expected)
            for top in range(len(sheet) - height + 1)
        )


def test_classes_are_labelled_with_n_and_what_their_judge_is_worth() -> None:
    rows = pd.DataFrame({"n": [6, 50], "judge_real": 0.625})
    assert with_reservations("Red", rows) == "Red\nn = 6 to 50\njudge right on 62.5 % of real images only"
    assert with_reservations("Red", rows[1:].assign(judge_real=0.8)) == "Red\nn = 50"
