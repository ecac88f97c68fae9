"""Cells of Table 2: which there are, what they train on and how long, what is kept; the table, its figure, its text."""

from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml
from matplotlib.collections import PathCollection
from torch import Tensor

from class_helpers import shades
from fewshot_diffusion.classes import training
from fewshot_diffusion.classes.cells import CONTROLS, Cell, cells_of
from fewshot_diffusion.classes.classifier import ClassifierRecipe
from fewshot_diffusion.classes.figures import classes_figure
from fewshot_diffusion.classes.generated_set import GeneratedSet
from fewshot_diffusion.classes.table import CELL_COLUMNS, classes_table, poster_view, published_accuracies
from fewshot_diffusion.classes.training import CellImages, cell_epochs, run_cell, training_images
from fewshot_diffusion.config.classes import ArchitectureRecipe, ClassesConfig
from fewshot_diffusion.config.evaluation import ReportConfig
from fewshot_diffusion.config.supervised import SupervisedConfig
from fewshot_diffusion.data.class_set import ClassSet
from fewshot_diffusion.errors import ConfigError, DataError
from fewshot_diffusion.runtime import CPU
from fewshot_diffusion.tooling.readme import classes_section

CLASSES = ["dark", "light"]
REPORT = ReportConfig(show_real=True)
DEFAULT = ClassesConfig.model_validate(yaml.safe_load(Path("config/config.yaml").read_text())["classes"])
SETTINGS = DEFAULT.model_copy(
    update={
        "image_size": 16, "batch_size": 4, "precision": "float32", "generated_ratios": [0, 1, 2],
        "architectures": [ArchitectureRecipe(name="resnet18", epochs=2, seeds=[0, 1], controls=True)],
    }
)  # fmt: skip


EQUAL = ArchitectureRecipe(name="resnet18", updates=7, seeds=[0], controls=True)


def generated(per_class: int = 8) -> GeneratedSet:
    drawn = shades(CLASSES, per_class, 1)
    accepted = torch.arange(2 * per_class) % 2 == 0
    return GeneratedSet(drawn.images, drawn.labels, drawn.ids, accepted.float(), accepted, CLASSES)


IMAGES = CellImages("shades", real=shades(CLASSES, 2, 0), test=shades(CLASSES, 20, 2), generated=generated())


def plain(ratio: int = 0, control: str = "none") -> Cell:
    return Cell("resnet18", "plain", ratio, control)


def run(folder: Path, cell: Cell, images: CellImages = IMAGES) -> pd.Series:
    return run_cell(SETTINGS, cell, images, folder, CPU).iloc[0]


def test_the_tables_cells_are_every_ratio_with_and_without_mixing_and_the_controls_without() -> None:
    cells = cells_of(SETTINGS, SETTINGS.architectures[0])
    main = [(cell.mixing, cell.ratio) for cell in cells if cell.control == "none"]
    assert main == [(mixing, ratio) for mixing in ("plain", "mixed") for ratio in (0, 1, 2)]
    controls = {cell.control: (cell.mixing, cell.ratio) for cell in cells if cell.control != "none"}
    assert controls == {
        "matched_updates": ("plain", 0), "unfiltered": ("plain", 2), "generated_only": ("plain", 2)
    }  # fmt: skip
    assert [cell.name for cell in cells][-1] == "resnet18/plain/2_generated_only"
    assert len(cells_of(SETTINGS, SETTINGS.architectures[0].model_copy(update={"controls": False}))) == 6
    assert "matched_updates" not in {cell.control for cell in cells_of(SETTINGS, EQUAL)}, "all cells are"
    with pytest.raises(ConfigError, match=f"found 'half', expected one of none, {', '.join(CONTROLS)}"):
        plain(0, "half")


@pytest.mark.parametrize(
    ("control", "ratio", "n_real", "drawn"),
    [
        ("none", 0, 4, []),
        ("none", 2, 4, [0, 2, 4, 6, 8, 10, 12, 14]),
        ("unfiltered", 2, 4, [0, 1, 2, 3, 8, 9, 10, 11]),
        ("generated_only", 1, 0, [0, 2, 8, 10]),
        ("matched_updates", 0, 4, []),
    ],
)
def test_what_a_cell_trains_on(control: str, ratio: int, n_real: int, drawn: list[int]) -> None:
    """Real images first, then of every class the first that were accepted, or the first that were drawn."""
    images, labels = training_images(plain(ratio, control), IMAGES)
    assert torch.equal(images, torch.cat([IMAGES.real.images[:n_real], generated().images[drawn]]))
    assert torch.equal(labels, torch.cat([IMAGES.real.labels[:n_real], generated().labels[drawn]]))


def test_a_cell_needs_the_images_that_it_names() -> None:
    with pytest.raises(ConfigError, match=r"generated images of the classes .* found None"):
        training_images(plain(1), CellImages("shades", IMAGES.real, IMAGES.test))
    other = ClassSet(IMAGES.real.images, IMAGES.real.labels, IMAGES.real.ids, ["a", "b"])
    with pytest.raises(ConfigError, match=r"found .'dark', 'light'"):
        training_images(plain(1), CellImages("shades", other, IMAGES.test, generated()))
    with pytest.raises(DataError, match="class 'dark': found"):
        training_images(plain(3), IMAGES)


class Brightness:
    """A classifier that is always right on shades."""

    def predict(self, images: Tensor) -> Tensor:
        return (images.float().mean((1, 2, 3)) > 125).long()


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> list[ClassifierRecipe]:
    """Recipes of the classifiers that were trained; none is really."""
    recipes: list[ClassifierRecipe] = []

    def train(recipe: ClassifierRecipe, *_rest: object) -> Brightness:
        recipes.append(recipe)
        return Brightness()

    monkeypatch.setattr(training, "train_classifier", train)
    return recipes


def test_a_row_holds_mean_and_deviation_of_its_seeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = iter([0.25, 0.75])
    monkeypatch.setattr(training, "top1_accuracy", lambda *_: next(found))
    row = run(tmp_path, plain(2))
    assert list(row.index) == CELL_COLUMNS
    assert row["top1_mean"] == 0.5
    assert row["top1_sd"] == pytest.approx(0.125**0.5)
    assert row[["data_set", "seeds", "n_classes", "n_real", "n_generated", "n_test"]].tolist() == [
        "shades", "0 1", 2, 4, 8, 40
    ]  # fmt: skip


def test_finished_seeds_are_kept_for_the_same_images_and_recipe_alone(
    tmp_path: Path, trainings: list[ClassifierRecipe]
) -> None:
    first = run(tmp_path, plain(1))
    assert [recipe.training.seed for recipe in trainings] == [0, 1]
    assert (first["top1_mean"], first["top1_sd"]) == (1, 0)
    assert run(tmp_path, plain(1)).equals(first)
    assert len(trainings) == 2
    more = CellImages("shades", IMAGES.real, IMAGES.test, generated(9))  # others, of which 1x takes others
    for cell, images in ((Cell("resnet18", "mixed", 1), IMAGES), (plain(1, "unfiltered"), IMAGES), (plain(1), more)):
        before = len(trainings)
        run(tmp_path, cell, images)
        assert len(trainings) == before + 2


def test_what_a_classifier_is_trained_with(tmp_path: Path, trainings: list[ClassifierRecipe]) -> None:
    run(tmp_path, plain())
    run(tmp_path, Cell("resnet18", "mixed", 0))
    assert [recipe.mixup_alpha for recipe in trainings] == [None, None, 0.2, 0.2]
    shared = {"batch_size": 4, "learning_rate": 1e-3, "weight_decay": 0.05, "precision": "float32"}
    expected = SupervisedConfig(**shared, epochs=2, seed=0)  # type: ignore[arg-type]
    assert trainings[0] == ClassifierRecipe("resnet18", 16, expected)


def test_matched_updates_are_those_of_the_largest_ratio(tmp_path: Path, trainings: list[ClassifierRecipe]) -> None:
    matched, largest = run(tmp_path, plain(0, "matched_updates")), run(tmp_path, plain(2))
    assert matched["updates"] == largest["updates"] == 3 * run(tmp_path, plain())["updates"]
    assert {recipe.training.epochs for recipe in trainings} == {2, 6}
    assert cell_epochs(SETTINGS, plain(0, "matched_updates"), n_real=9) == 6  # 2 x 6 updates, 2 an epoch
    assert cell_epochs(SETTINGS, plain(0, "matched_updates"), n_real=7) == 10  # 2 x 5, of one each


def test_updates_are_as_many_in_every_cell(tmp_path: Path, trainings: list[ClassifierRecipe]) -> None:
    settings = SETTINGS.model_copy(update={"architectures": [EQUAL]})
    found = [run_cell(settings, cell, IMAGES, tmp_path, CPU).iloc[0] for cell in (plain(), plain(2))]
    assert [(row["epochs"], row["updates"]) for row in found] == [(None, 7), (None, 9)]  # epochs of 1 update, and of 3
    assert [recipe.training.epochs for recipe in trainings] == [7, 3]


def rows() -> pd.DataFrame:
    row = {"data_set": "shades", "architecture": "resnet18", "mixup_cutmix": False, "n_real": 4, "n_generated": 0,
           "n_test": 9, "epochs": 1, "updates": 1, "seeds": "0", "top1_sd": 0.01}  # fmt: skip
    cells = ((0, "none", 0.5), (3, "none", 0.6), (3, "unfiltered", 0.55))
    return pd.DataFrame([{**row, "generated_ratio": r, "control": c, "top1_mean": top1} for r, c, top1 in cells])


def test_published_numbers_stand_beside_ours_only_on_the_papers_data() -> None:
    same = {"shades": ["tiny-imagenet"]}
    ours = classes_table(rows(), REPORT.model_copy(update={"stands_for": same, "kind": "reproduced"}))
    assert ours["published"].tolist()[:3] == pytest.approx([0.5224, 0.5937, float("nan")], nan_ok=True)
    for stands_for, number in ((same, 24), ({"other": ["tiny-imagenet"]}, 0), ({}, 0)):
        other = classes_table(rows(), REPORT.model_copy(update={"stands_for": stands_for}))
        assert other["published"].isna()[:3].all()
        assert (other["kind"] == "published").sum() == number


def test_a_published_row_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "paper.csv").write_text("item,data_set,row,value\ntable2,x,resnet18;mixup_cutmix=perhaps,1\n")
    with pytest.raises(DataError, match="a row of table2 is not named"):
        published_accuracies(tmp_path / "paper.csv")


def test_the_posters_layout() -> None:
    view = poster_view(classes_table(rows(), REPORT))
    assert list(view.columns) == ["seeds", "0x", "3x"]
    assert (view["seeds"] == 1).all()
    assert view.loc["resnet18, plain", "3x"] == "60.0 ± 1.0"
    assert view.loc["resnet18, plain (unfiltered)", "0x"] == ""


def test_the_section_says_what_was_measured_and_what_the_filter_did() -> None:
    table = classes_table(rows().assign(n_classes=2, image_size=16), REPORT)
    total = {"class": "all", "n_drawn": 20, "n_accepted": 15, "acceptance_rate": 0.75, "judge_accuracy_accepted": 0.8,
             "judge_accuracy_rejected": 0.3, "judge_accuracy_real": 0.95}  # fmt: skip
    text = classes_section(table, pd.DataFrame([total]))
    assert "the mean of 2 classes, on 9 real images at 16 pixels" in text
    assert "| resnet18, plain | 1 | 50.0 ± 1.0 | 60.0 ± 1.0 |" in text
    assert "kept 75 % of 20 samples" in text
    assert "80.0 % of the kept and 30.0 % of the discarded" in text
    weak = classes_section(table, pd.DataFrame([total | {"judge_accuracy_real": 0.71}]))
    assert "right on 71.0 % of real images (**judge right on 71.0 % of real images only**)" in weak
    everything = pd.DataFrame([total | {"n_accepted": 20, "judge_accuracy_rejected": float("nan")}])
    assert "nan" not in classes_section(table, everything)


def test_the_figure_draws_every_line_bar_and_filled_bin() -> None:
    acceptance = pd.DataFrame(
        {"class": ["all"], "n_drawn": [20], "acceptance_rate": [0.7], "judge_accuracy_accepted": [0.8],
         "judge_accuracy_rejected": [0.3], "judge_accuracy_real": [0.79]}
    )  # fmt: skip
    calibration = pd.DataFrame(
        {"confidence_low": [0.0, 0.5, 0.8, 0.0], "confidence_high": [0.5, 0.8, 1.0, 1.0], "n": [2, 0, 8, 10],
         "confidence": [0.4, float("nan"), 0.9, 0.8], "accuracy": [0.5, float("nan"), 0.7, 0.8]}
    )  # fmt: skip
    left, middle, right = classes_figure(classes_table(rows(), REPORT), acceptance, calibration).axes
    assert "judge right on 79.0 %" in middle.get_title().replace("\n", " ")
    assert left.get_legend_handles_labels()[1] == ["resnet18, one seed", "unfiltered"]
    markers = [found for found in left.collections if isinstance(found, PathCollection)]
    assert [point for found in markers for point in found.get_offsets().tolist()] == [[3, pytest.approx(55)]]
    assert [bar.get_height() for bar in middle.patches] == pytest.approx([80, 30, 79])  # type: ignore[attr-defined]
    assert right.lines[1].get_xydata().tolist() == [[0.4, 0.5], [0.9, 0.7]]  # type: ignore[union-attr]
