"""Cells of Table 2: what they train on, how, and the table beside the paper's."""

from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml

from fewshot_diffusion.classes.cells import CELL_COLUMNS, CONTROLS, cell_data, run_cell
from fewshot_diffusion.classes.classifier import ClassClassifier, accuracy, load_class_judge, train_class_classifier
from fewshot_diffusion.classes.figures import augmentation_figure
from fewshot_diffusion.classes.generation import GeneratedSet
from fewshot_diffusion.classes.table import augmentation_table, poster_view, published_accuracies
from fewshot_diffusion.config.classification import ArchitectureRecipe, ClassificationConfig
from fewshot_diffusion.config.classifiers import SupervisedConfig
from fewshot_diffusion.config.model import load_config
from fewshot_diffusion.data.class_set import ClassSet
from fewshot_diffusion.errors import ConfigError, DataError, WeightsError
from fewshot_diffusion.runtime import CPU
from fewshot_diffusion.storage.files import write_sealed_json
from fewshot_diffusion.storage.weights import save_module
from fewshot_diffusion.tooling.sections import augmentation_section

CLASSES = ["dark", "light"]
DEFAULT = load_config(yaml.safe_load(Path("config/config.yaml").read_text())).classification
SETTINGS: ClassificationConfig = DEFAULT.model_copy(
    update={"image_size": 16, "batch_size": 4, "precision": "float32", "generated_ratios": [0, 1, 2]}
)
RECIPE = ArchitectureRecipe(name="resnet18", epochs=2, seeds=[0, 1], controls=True)


def shades(per_class: int, seed: int) -> ClassSet:
    stream = torch.Generator().manual_seed(seed)
    labels = torch.arange(2).repeat_interleave(per_class)
    images = torch.randint(100, (2 * per_class, 3, 16, 16), generator=stream) + 150 * labels[:, None, None, None]
    return ClassSet(images.to(torch.uint8), labels, torch.arange(2 * per_class), CLASSES)


def generated(per_class: int = 8) -> GeneratedSet:
    drawn = shades(per_class, 1)
    accepted = torch.arange(2 * per_class) % 2 == 0
    return GeneratedSet(drawn.images, drawn.labels, drawn.ids, accepted.float(), accepted, CLASSES)


def cell(control: str = "none", ratio: int = 0, mixed: bool = False) -> dict[str, object]:
    return {
        "data_set": "shades", "architecture": "resnet18", "mixup_cutmix": mixed, "generated_ratio": ratio,
        "control": control,
    }  # fmt: skip


def run(folder: Path, **wanted: object) -> pd.Series:
    return run_cell(
        cell(**wanted), real=shades(2, 0), generated=generated(), test=shades(20, 2), recipe=RECIPE,
        settings=SETTINGS, checkpoints=folder, runtime=CPU,
    ).iloc[0]  # type: ignore[arg-type]  # fmt: skip


@pytest.mark.parametrize(
    ("control", "ratio", "n_real", "n_generated"),
    [
        ("none", 0, 4, 0),
        ("none", 2, 4, 8),
        ("unfiltered", 2, 4, 8),
        ("generated_only", 2, 0, 8),
        ("matched_updates", 0, 4, 0),
    ],
)
def test_what_a_cell_trains_on(control: str, ratio: int, n_real: int, n_generated: int) -> None:
    images, labels = cell_data(shades(2, 0), generated(), ratio, CONTROLS[control])
    assert len(images) == len(labels) == n_real + n_generated
    assert labels.bincount().tolist() == [len(labels) // 2] * 2
    if n_real:
        assert torch.equal(images[:4], shades(2, 0).images)


def test_unfiltered_takes_the_first_drawn_and_filtered_the_first_accepted() -> None:
    filtered, _ = cell_data(shades(2, 0), generated(), 1, CONTROLS["generated_only"])
    everything, _ = cell_data(shades(2, 0), generated(), 1, CONTROLS["unfiltered"])
    assert torch.equal(filtered[:2], generated().images[[0, 2]])
    assert torch.equal(everything[4:6], generated().images[[0, 1]])


def test_a_cell_needs_the_images_that_it_names() -> None:
    with pytest.raises(ConfigError, match="generated images of the classes"):
        cell_data(shades(2, 0), None, 1, CONTROLS["none"])
    with pytest.raises(DataError, match="class 'dark': found"):
        cell_data(shades(2, 0), generated(), 3, CONTROLS["none"])


def test_a_row_holds_the_seeds_mean_and_deviation_and_finished_seeds_are_kept(tmp_path: Path) -> None:
    row = run(tmp_path)
    assert list(row.index) == CELL_COLUMNS
    assert row["seeds"] == "0 1"
    assert row["n_test"] == 40
    files = sorted(tmp_path.glob("seed-*.json"))
    assert len(files) == 2
    write_sealed_json(files[0], {"top1": 0.25})
    write_sealed_json(files[1], {"top1": 0.75})
    again = run(tmp_path)
    assert again["top1_mean"] == 0.5
    assert again["top1_sd"] == pytest.approx(0.125**0.5)


def test_matched_updates_are_those_of_the_largest_ratio(tmp_path: Path) -> None:
    matched = run(tmp_path / "a", control="matched_updates")
    largest = run(tmp_path / "b", ratio=2)
    assert matched["updates"] == largest["updates"] == 3 * run(tmp_path / "c")["updates"]


@pytest.mark.parametrize("mixup_alpha", [None, 0.2])
def test_it_learns_and_repeats_bit_for_bit(mixup_alpha: float | None) -> None:
    data, settings = shades(16, 0), SupervisedConfig(
        epochs=8, batch_size=8, learning_rate=1e-3, weight_decay=0.0, seed=3, precision="float32"
    )  # fmt: skip
    models = []
    for _ in range(2):
        torch.rand(5)  # the global stream must not matter
        models.append(
            train_class_classifier("resnet18", CLASSES, 16, data.images, data.labels, settings, CPU, mixup_alpha)
        )
    first, second = (model.state_dict() for model in models)
    assert all(torch.equal(first[name], second[name]) for name in first)
    if mixup_alpha is None:  # mixed images take longer
        assert accuracy(models[0].predict(shades(20, 2).images), shades(20, 2).labels, 2) > 0.9


@pytest.mark.parametrize("name", ["resnet18", "wide_resnet50_2", "resnext50_32x4d"])
def test_the_three_architectures_are_torchvisions(name: str) -> None:
    model = ClassClassifier(name, CLASSES, 32)
    expected = {"resnet18": 11.2e6, "wide_resnet50_2": 66.8e6, "resnext50_32x4d": 23.0e6}[name]
    assert sum(p.numel() for p in model.parameters()) == pytest.approx(expected, rel=0.01)


def test_accuracy_is_the_mean_over_classes() -> None:
    predicted, labels = torch.tensor([0, 0, 0, 1, 0]), torch.tensor([0, 0, 0, 1, 1])
    assert accuracy(predicted, labels, 3) == pytest.approx((1 + 0.5) / 2)


def test_only_a_judge_judges(tmp_path: Path) -> None:
    model = ClassClassifier("resnet18", CLASSES, 16)
    save_module(model, model.config, tmp_path, {"role": "cell"})
    with pytest.raises(WeightsError, match="not the judge"):
        load_class_judge(tmp_path)


def test_the_posters_24_cells() -> None:
    paper = published_accuracies(Path("config/published.csv"))
    assert len(paper) == 24
    first = paper[(paper["architecture"] == "resnet18") & ~paper["mixup_cutmix"] & (paper["generated_ratio"] == 0)]
    assert first["published"].tolist() == [0.5224]


def rows() -> pd.DataFrame:
    measured = {"n_real": 4, "n_generated": 0, "n_test": 9, "epochs": 1, "updates": 1, "seeds": "0", "top1_sd": 0.01}
    return pd.DataFrame(
        [
            {**cell(), **measured, "top1_mean": 0.5},
            {**cell(ratio=3), **measured, "top1_mean": 0.6},
            {**cell("unfiltered", 3), **measured, "top1_mean": 0.55},
        ]
    )


def test_published_numbers_stand_beside_ours_only_on_the_papers_data() -> None:
    paper = published_accuracies(Path("config/published.csv"))
    ours = augmentation_table(rows(), paper, "tiny-imagenet", "reproduced")
    assert ours["published"].tolist()[:3] == pytest.approx([0.5224, 0.5937, float("nan")], nan_ok=True)
    other = augmentation_table(rows(), paper, None, "scaled-down")
    assert other["published"].isna()[:3].all()
    assert (other["kind"] == "published").sum() == 24


def test_the_posters_layout() -> None:
    view = poster_view(augmentation_table(rows(), None, None, "scaled-down"))
    assert list(view.columns) == ["0x", "3x"]
    assert view.loc["resnet18, plain", "3x"] == "60.0 ± 1.0"
    assert view.loc["resnet18, plain (unfiltered)", "0x"] == ""


def test_the_readmes_section_says_what_was_measured_and_what_the_filter_did() -> None:
    table = augmentation_table(rows().assign(n_classes=2, image_size=16), None, None, "scaled-down")
    total = {"class": "all", "n_drawn": 20, "n_accepted": 15, "acceptance_rate": 0.75, "judge_accuracy_accepted": 0.8,
             "judge_accuracy_rejected": 0.3, "judge_accuracy_real": 0.95}  # fmt: skip
    text = augmentation_section(table, pd.DataFrame([total]))
    assert "the mean of 2 classes, on 9 real images at 16 pixels" in text
    assert "| resnet18, plain | 50.0 ± 1.0 | 60.0 ± 1.0 |" in text
    assert "kept 75 % of 20 samples" in text
    assert "80.0 % of the kept and 30.0 % of the discarded" in text
    everything = pd.DataFrame([total | {"n_accepted": 20, "judge_accuracy_rejected": float("nan")}])
    assert "nan" not in augmentation_section(table, everything)


def test_the_figure_draws_every_line() -> None:
    acceptance = pd.DataFrame(
        {"class": ["all"], "acceptance_rate": [0.7], "judge_accuracy_accepted": [0.8],
         "judge_accuracy_rejected": [0.3], "judge_accuracy_real": [0.9]}
    )  # fmt: skip
    calibration = pd.DataFrame(
        {"confidence_low": [0.0, 0.5, 0.0], "confidence_high": [0.5, 1.0, 1.0], "n": [2, 8, 10],
         "confidence": [0.4, 0.9, 0.8], "accuracy": [0.5, 0.9, 0.8]}
    )  # fmt: skip
    figure = augmentation_figure(augmentation_table(rows(), None, None, "x"), acceptance, calibration)
    left = figure.axes[0]
    labels = [text.get_text() for text in left.get_legend().get_texts()]
    assert labels == ["resnet18", "matched updates", "unfiltered", "generated only"]
