"""Figures: pixels where they belong, equal bytes from equal data, frames that tell the truth."""

from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt
from matplotlib.colors import to_hex
from PIL import Image
from torch import Tensor

from fewshot_diffusion.attributes.figures import AGREES, DIFFERS, Strip, attributes_figure, gather_row
from fewshot_diffusion.config.attributes import GuidanceConfig, TargetConfig
from fewshot_diffusion.figures import save_figure
from fewshot_diffusion.images import image_grid, save_sheet
from fewshot_diffusion.metrics.descriptions import Description, save_description

TARGET = TargetConfig(
    name="Red", attribute="Red", value=True, label="Red car", guidance_scale=GuidanceConfig(exact=1, readout=1)
)


def flat(*values: int, size: int = 8) -> Tensor:
    return torch.stack([torch.full((3, size, size), value, dtype=torch.uint8) for value in values])


def strip(title: str = "unguided", n: int = 3, agrees: list[bool] | None = None) -> Strip:
    return Strip(title, flat(*range(10, 10 + n)), torch.tensor(agrees or [True, False, True][:n]))


# --- grids ----------------------------------------------------------------------------------------------------------


def test_a_grid_pixel_by_pixel() -> None:
    images = torch.arange(5 * 3 * 2 * 2, dtype=torch.uint8).reshape(5, 3, 2, 2)
    grid = image_grid(images, columns=2, gap=1)
    expected = np.full((3 * 3 - 1, 2 * 3 - 1, 3), 255, dtype=np.uint8)
    for i, (top, left) in enumerate([(0, 0), (0, 3), (3, 0), (3, 3), (6, 0)]):
        for y in range(2):
            for x in range(2):
                expected[top + y, left + x] = images[i, :, y, x]
    assert grid.dtype == np.uint8
    assert np.array_equal(grid, expected)


@pytest.mark.parametrize(("n", "columns", "shape"), [(1, 1, (8, 8, 3)), (4, 4, (8, 38, 3)), (5, 4, (18, 38, 3))])
def test_the_size_of_a_grid(n: int, columns: int, shape: tuple[int, int, int]) -> None:
    assert image_grid(flat(*range(n)), columns).shape == shape


def test_a_sheet_enlarges_pixels_without_smoothing(tmp_path: Path) -> None:
    save_sheet(flat(0, 90, 180), 2, tmp_path / "sheet.png", scale=3)
    with Image.open(tmp_path / "sheet.png") as image:
        found = np.asarray(image)
    assert np.array_equal(found, image_grid(flat(0, 90, 180), 2).repeat(3, 0).repeat(3, 1))
    assert [path.name for path in tmp_path.iterdir()] == ["sheet.png"]


# --- the figure of all classes --------------------------------------------------------------------------------------


def test_equal_data_give_equal_bytes(tmp_path: Path) -> None:
    rows = [("Red", [strip("unguided"), strip("ours")]), ("Blue", [strip(), strip()])]
    for folder in ("a", "b"):
        save_figure(attributes_figure(rows), [tmp_path / folder / "f.png", tmp_path / folder / "f.pdf"])
        save_sheet(flat(1, 2), 2, tmp_path / folder / "s.png")
    for name in ("f.png", "f.pdf", "s.png"):
        one, two = ((tmp_path / folder / name).read_bytes() for folder in ("a", "b"))
        assert one == two, name
        assert len(one) > 100
    assert (tmp_path / "a" / "f.pdf").read_bytes().startswith(b"%PDF")
    assert b"CreationDate" not in (tmp_path / "a" / "f.pdf").read_bytes()
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["f.pdf", "f.png", "s.png"]


def test_other_data_give_other_bytes(tmp_path: Path) -> None:
    for name, agrees in (("a", [True, False, True]), ("b", [True, True, True])):
        save_figure(attributes_figure([("Red", [strip(agrees=agrees)])]), [tmp_path / f"{name}.png"])
    assert (tmp_path / "a.png").read_bytes() != (tmp_path / "b.png").read_bytes()


def test_saving_closes_the_figure(tmp_path: Path) -> None:
    before = plt.get_fignums()
    save_figure(attributes_figure([("Red", [strip()])]), [tmp_path / "f.png"])
    assert plt.get_fignums() == before


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


# --- gathering ------------------------------------------------------------------------------------------------------


@pytest.fixture
def descriptions(tmp_path: Path) -> Path:
    files = ["controls", "samples/unguided/all", "samples/exact/Red", "samples/readout/Red"]
    for i, file in enumerate(files):
        red = torch.tensor([0.1, 0.9, 0.2, 0.8, 0.7, 0.1])
        gallery = flat(*range(40 * i, 40 * i + 6))
        description = Description(torch.arange(6), {}, {"Red": red}, 0, gallery)
        save_description(description, tmp_path / f"{file}.safetensors", {})
    return tmp_path


def values(found: Strip) -> list[int]:
    return found.images[:, 0, 0, 0].tolist()


def test_a_row_shows_the_same_seeds_of_every_method(descriptions: Path) -> None:
    label, strips = gather_row(TARGET, descriptions, 3, show_real=False)
    assert label == "Red car"
    assert [strip.title for strip in strips] == ["unguided", "ours, exact", "ours, readout"]
    assert [values(strip) for strip in strips] == [[40, 41, 42], [80, 81, 82], [120, 121, 122]]
    assert [strip.agrees.tolist() for strip in strips] == [[False, True, False]] * 3


def test_real_images_are_shown_only_where_the_licence_allows(descriptions: Path) -> None:
    _, strips = gather_row(TARGET, descriptions, 3, show_real=True)
    assert strips[0].title == "real"
    assert values(strips[0]) == [1, 3, 4]
    assert strips[0].agrees.all()
    (descriptions / "controls.safetensors").unlink()
    gather_row(TARGET, descriptions, 3, show_real=False)  # does not even read them


def test_the_absent_class(descriptions: Path) -> None:
    target = TARGET.model_copy(update={"value": False})
    _, strips = gather_row(target, descriptions, 3, show_real=True)
    assert values(strips[0]) == [0, 2, 5]
    assert strips[1].agrees.tolist() == [True, False, True]
