"""The curve of labels: each number and draw has its own head, and samples say which one steered them."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from snakemake.utils import update_config

from fewshot_diffusion.attributes import labels
from fewshot_diffusion.attributes.guidance import Steering
from fewshot_diffusion.attributes.labels_figure import labels_figure
from fewshot_diffusion.attributes.sweep import Swept
from fewshot_diffusion.config.attributes import LabelCurveConfig
from fewshot_diffusion.config.model import load_config
from fewshot_diffusion.diffusion.samples import SampleSet, save_samples
from fewshot_diffusion.errors import ConfigError, CorruptFileError
from fewshot_diffusion.metrics.intervals import wilson_interval
from fewshot_diffusion.storage.tables import read_csv
from fewshot_diffusion.storage.weights import save_module, weights_digest
from support import default, smoke_config

SETTINGS = LabelCurveConfig(methods=["exact"], numbers=[5, 20], draws=2, units=1)
POINTS = [(5, 0), (5, 1), (20, 0), (20, 1)]


class Brightness:
    """Finds the attribute in bright images."""

    attributes = ("Blond",)

    def probability(self, images: torch.Tensor, _attribute: str) -> torch.Tensor:
        return images.float().mean((1, 2, 3)) / 255


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> labels.CurveFiles:
    """Of point k, k + 1 of eight samples are bright."""
    monkeypatch.setattr(labels, "load_judge", lambda _folder, role: {"judge": Brightness()}[role])
    samples, heads = [], []
    for k in range(len(POINTS)):
        torch.manual_seed(k)
        module = torch.nn.Linear(2, 1)
        save_module(module, {}, tmp_path / f"head{k}", {})
        images = torch.zeros(8, 3, 4, 4, dtype=torch.uint8)
        images[: k + 1] = 250
        about = Steering("exact", "Blond", True, 3.0).about | {"head": weights_digest(tmp_path / f"head{k}")}
        save_samples(SampleSet(images, torch.arange(8), 2.5), tmp_path / f"{k}.parquet", about)
        samples.append(tmp_path / f"{k}.parquet")
        heads.append(tmp_path / f"head{k}" / "diffusion_pytorch_model.safetensors")
    return labels.CurveFiles(samples=samples, heads=heads, judge=tmp_path)


def curve() -> Swept:
    config = smoke_config()
    assert config.attributes
    return Swept("a", config.attributes.target("Blond"), "exact")


def test_a_row_is_of_its_number_and_draw(files: labels.CurveFiles, tmp_path: Path) -> None:
    labels.judge_label_curve(SETTINGS, curve(), files, tmp_path / "curve.csv")
    table = read_csv(tmp_path / "curve.csv")
    assert list(table.columns) == labels.LABEL_COLUMNS
    assert list(zip(table["labels"], table["draw"], strict=True)) == POINTS
    intervals = [wilson_interval(k + 1, 8) for k in range(4)]
    assert table["judge_accuracy"].tolist() == pytest.approx([found.value for found in intervals])
    assert table["ci_high"].tolist() == pytest.approx([found.high for found in intervals], rel=1e-4)
    assert set(table["n"]) == {8} and set(table["guidance_scale"]) == {3} and set(table["seeds"]) == {"0-7"}


def test_samples_of_another_head_are_refused(files: labels.CurveFiles, tmp_path: Path) -> None:
    swapped = labels.CurveFiles(samples=files.samples[::-1], heads=files.heads, judge=files.judge)
    with pytest.raises(CorruptFileError, match="was made for head"):
        labels.judge_label_curve(SETTINGS, curve(), swapped, tmp_path / "curve.csv")


def test_a_head_of_a_number_and_draw_learns_from_as_many_of_both_kinds() -> None:
    attributes = load_config(default()).attributes
    assert attributes
    head = attributes.head_of(5, 2)
    assert (head.positive_shots, head.negative_shots, head.shots_seed) == (5, 5, attributes.head.shots_seed + 2)
    assert attributes.head_of(attributes.head.positive_shots, 0) == attributes.head, "the table's own"
    assert [target.name for target in attributes.curve_targets] == ["Blond", "Beard"] and not attributes.curve_problem


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"labels": {"numbers": [3, 50]}}, "attributes.labels.numbers: found 3, expected at least head.folds (5)"),
        ({"labels": {"methods": ["direct"]}}, "Blond: guidance_scale.direct is missing, "),
        ({"shots_file": {"Blond": "a.csv", "Beard": "b.csv"}}, "no row with value true whose labels are drawn"),
    ],
)
def test_a_curve_that_cannot_be_is_refused_where_it_is_asked_for(changes: dict[str, Any], said: str) -> None:
    raw = default()
    update_config(raw["attributes"], changes)
    attributes = load_config(raw).attributes
    assert attributes and said in attributes.curve_problem


def test_labels_of_a_person_are_as_many_as_they_are() -> None:
    raw = default()
    raw["attributes"]["shots_file"] = {"Blond": "mine.csv"}
    attributes = load_config(raw).attributes
    assert attributes and [target.name for target in attributes.curve_targets] == ["Beard"]


def test_rows_that_want_an_absence_are_of_the_curve_if_asked_for() -> None:
    raw = default()
    raw["attributes"]["labels"]["absence"] = True
    attributes = load_config(raw).attributes
    assert attributes and attributes.curve_targets == attributes.targets


@pytest.mark.parametrize(("key", "twice"), [("numbers", [5, 5]), ("methods", ["exact", "exact"])])
def test_a_point_that_stands_twice_is_refused(key: str, twice: list[object]) -> None:
    raw = default()
    raw["attributes"]["labels"][key] = twice
    with pytest.raises(ConfigError, match=rf"attributes\.labels\.{key}: found .*expected each once"):
        load_config(raw)


def test_the_figure_has_a_dot_a_draw_and_a_line_of_means() -> None:
    rows = [
        {
            "attribute": attribute,
            "method": "exact",
            "labels": number,
            "draw": draw,
            "judge_accuracy": 0.1 * draw,
            "n": 9,
        }
        for attribute in ("Blond", "Beard")
        for number, draw in POINTS
    ]
    axes = labels_figure(pd.DataFrame(rows)).axes
    assert [axis.get_title(loc="left") for axis in axes] == ["Blond", "Beard"]
    dots, line = axes[0].lines
    assert len(dots.get_xdata()) == 4 and list(line.get_xdata()) == [5, 20]  # type: ignore[arg-type]
    assert list(line.get_ydata()) == pytest.approx([5.0, 5.0])  # type: ignore[arg-type]
