"""The jobs that draw, report on and learn from generated classes, on tiny files: which models, images and seeds."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from torch import Tensor

from attribute_helpers import save_denoiser
from class_helpers import shades
from fewshot_diffusion.classes import filter_comparison, filter_report, training
from fewshot_diffusion.classes.cells import Cell
from fewshot_diffusion.classes.conditional import make_conditional
from fewshot_diffusion.classes.filter import RejectionHead, load_filter, score
from fewshot_diffusion.classes.filter_comparison import FilteredImages, measure_class_filter
from fewshot_diffusion.classes.filter_report import ReportedImages, ReportModels, calibration_rows, evaluate_filter
from fewshot_diffusion.classes.generated_set import load_generated, made_with
from fewshot_diffusion.classes.generation import CLASS_STRIDE, ClassModelFolders, ClassShare, Quota, sample_classes
from fewshot_diffusion.classes.training import CellFiles, train_cell
from fewshot_diffusion.config.classes import ClassSamplingConfig
from fewshot_diffusion.data.image_set import ImageSet, save_image_set
from fewshot_diffusion.diffusion.denoiser import Denoiser, load_denoiser, unet_config
from fewshot_diffusion.diffusion.unets import unet_of_config
from fewshot_diffusion.errors import CorruptFileError, DataError, WeightsError
from fewshot_diffusion.runtime import CPU
from fewshot_diffusion.storage.tables import read_csv
from fewshot_diffusion.storage.weights import load_module, save_module, weights_digest
from support import smoke_config

CLASSES = ["round", "square", "long"]
SHAPE = {"tap": "mid_block", "timesteps": [300], "hidden_channels": 32, "dropout": 0.2, "precision": "float32"}
SAMPLING = ClassSamplingConfig(
    num_inference_steps=2, classifier_free_scale=2, unit_size=3, shards=2, precision="float32"
)


class Opinion:
    """A judge that takes light images for class 2, dark ones for class 0."""

    def __init__(self, *_: object) -> None:
        self.classes = CLASSES

    def predict(self, images: Tensor) -> Tensor:
        return (images.float().mean((1, 2, 3)) / 86).long().clamp(max=2)


@pytest.fixture
def folder(tiny_denoiser: Denoiser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Models of three classes with random weights, two filters, and real images."""
    denoiser = save_denoiser(tiny_denoiser, tmp_path / "denoiser")
    unet = make_conditional(denoiser.unet, 3)
    unet.class_embedding.weight.data.normal_(generator=torch.Generator().manual_seed(2))
    about = {"denoiser": denoiser.digest, "images": "these"}
    save_module(unet, unet_config(unet), tmp_path / "generator", about)
    for name, seed in (("filter", 0), ("other", 1)):
        torch.manual_seed(seed)
        head = RejectionHead(16, CLASSES, SHAPE)
        save_module(head, head.config, tmp_path / name, about)
    real = shades(CLASSES, 4)
    save_image_set(
        ImageSet(real.images, real.ids, pd.DataFrame(index=range(12)), real.labels, CLASSES), tmp_path / "real", {}
    )
    monkeypatch.setattr(filter_report, "load_class_judge", Opinion)
    return tmp_path


def draw(folder: Path, wanted: int = 2, head: str = "filter", generator: str = "generator") -> list[Path]:
    models = ClassModelFolders(folder / "denoiser", folder / generator, folder / head)
    paths = [folder / f"{wanted}-{head}" / f"{shard}.parquet" for shard in ("1-of-2", "2-of-2")]
    for path in paths:
        share = ClassShare(path.stem, folder / "units")
        sample_classes(SAMPLING, Quota(wanted, 9, 0.0), models, share, path, "cpu")
    return paths


def test_shards_hold_whole_units_of_their_classes_and_say_what_made_them(folder: Path) -> None:
    paths, names = draw(folder), {"denoiser": "denoiser", "generator": "generator", "filter": "filter"}
    digests = {key: weights_digest(folder / name) for key, name in names.items()}
    made = load_generated(paths, {**digests, **made_with(SAMPLING, 0.0), "precision": "torch.float32"})
    assert made.seeds.tolist() == [CLASS_STRIDE * (label + 1) + i for label in range(3) for i in range(3)]
    denoiser = load_denoiser(folder / "denoiser", CPU)
    log_prob = score(denoiser, load_filter(folder / "filter", denoiser)[0], made.images)
    torch.testing.assert_close(made.log_prob, log_prob[torch.arange(9), made.labels], rtol=0, atol=1e-3)
    units = {path: path.stat().st_mtime_ns for path in (folder / "units").rglob("unit-*")}
    draw(folder, head="other")  # a filter draws nothing
    assert {path: path.stat().st_mtime_ns for path in (folder / "units").rglob("unit-*")} == units
    more = load_generated(draw(folder, wanted=4))
    assert torch.equal(more.images.unflatten(0, (3, 6))[:, :3].flatten(0, 1), made.images), "more extend fewer"
    assert {path: path.stat().st_mtime_ns for path in units} == units


def test_generator_and_filter_must_have_seen_the_same_images(folder: Path) -> None:
    unet, about = load_module(unet_of_config, folder / "generator")
    save_module(unet, unet_config(unet), folder / "stranger", {**about, "images": "others"})
    with pytest.raises(WeightsError, match="stranger: the weights are of images 'others'"):
        draw(folder, generator="stranger")


def test_a_report_is_of_its_own_filter_threshold_and_judge(folder: Path) -> None:
    models = ReportModels(folder / "denoiser", folder / "filter", folder / "judge")
    tables = folder / "acceptance.csv", folder / "calibration.csv"
    evaluate_filter(ReportedImages("here", draw(folder), folder / "real", 0.0), models, *tables, "cpu")
    kept, calibration = map(read_csv, tables)
    assert list(kept.columns) == filter_report.ACCEPTANCE_COLUMNS
    assert kept["class"].tolist() == [*CLASSES, "all"] and kept["n_accepted"].tolist() == [3, 3, 3, 9]
    assert set(kept["data_set"]) == {"here"} and set(kept["threshold"]) == {0}
    generated = load_generated(draw(folder))
    right = float((Opinion().predict(generated.images) == generated.labels).double().mean())
    assert kept["judge_accuracy_accepted"].iloc[-1] == pytest.approx(right, rel=1e-4)
    assert kept["judge_accuracy_real"].tolist() == [1, 1, 1, 1]
    assert list(calibration.columns) == filter_report.CALIBRATION_COLUMNS
    assert calibration["n"].iloc[-1] == 12 and set(calibration["split"]) == {"class_test"}
    for shards, threshold in ((draw(folder), 0.2), (draw(folder, head="other"), 0.0)):
        with pytest.raises(CorruptFileError, match=r"was made for (threshold|filter)"):
            evaluate_filter(ReportedImages("here", shards, folder / "real", threshold), models, *tables, "cpu")


def test_any_filter_is_asked_about_everything_that_was_drawn_and_about_images_it_has_not_seen(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filter_comparison, "load_class_judge", Opinion)
    models, table = ReportModels(folder / "denoiser", folder / "other", folder / "judge"), folder / "filters.csv"
    shards, denoiser = draw(folder), load_denoiser(folder / "denoiser", CPU)
    images = FilteredImages("here", "held_out", folder / "real", shards)
    measure_class_filter([0.0, 0.33], images, models, table, "cpu")
    found, (head, _), drawn = read_csv(table), load_filter(folder / "other", denoiser), load_generated(shards)
    assert list(found.columns) == filter_comparison.FILTER_COLUMNS and set(found["split"]) == {"held_out"}
    assert set(found["tap"]) == {"mid_block"} and set(found["timesteps"]) == {300} and set(found["n_real"]) == {12}
    real = calibration_rows(denoiser, head, shades(CLASSES, 4)).iloc[-1]
    assert found["accuracy"].tolist() == pytest.approx([real["accuracy"]] * 2, rel=1e-4)
    own = score(denoiser, head, drawn.images)[torch.arange(9), drawn.labels].exp()
    assert found["n_kept"].tolist() == [9, int((own >= 0.33).sum())] and 0 < found["n_kept"][1] < 9
    monkeypatch.setattr(Opinion, "__init__", lambda self, *_: setattr(self, "classes", ["a"]))
    with pytest.raises(DataError, match="the judge: found the classes"):
        measure_class_filter([0.0], images, models, table, "cpu")


def test_a_cell_learns_from_the_few_real_and_the_kept_images_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[Any, ...]] = []
    monkeypatch.setattr(training, "train_classifier", lambda *given: seen.append(given) or Opinion())
    classes = smoke_config().classes
    assert classes is not None
    kept = classes.filter.model_copy(update={"threshold": 0.0})
    settings = classes.model_copy(update={"sampling": SAMPLING, "filter": kept, "train_per_class": 2})
    files = CellFiles("here", folder / "real", folder / "real", tuple(draw(folder)))
    name = settings.architectures[0].name
    for _ in range(2):
        train_cell(settings, Cell(name, "mixed", 1), files, folder / "seeds", folder / "row.csv", "cpu")
    row = read_csv(folder / "row.csv").iloc[0]
    assert (row["n_real"], row["n_generated"], row["n_test"], row["top1_mean"]) == (6, 6, 12, 1)
    assert len(seen) == len(settings.architectures[0].seeds), "the second time, all are finished"
    other = settings.model_copy(update={"sampling": SAMPLING.model_copy(update={"classifier_free_scale": 9})})
    with pytest.raises(CorruptFileError, match="was made for settings"):
        train_cell(other, Cell(name, "mixed", 1), files, folder / "seeds", folder / "never.csv", "cpu")
    recipe, known, images, labels, _ = seen[0]
    real = shades(CLASSES, 4)
    assert (recipe.architecture, known, recipe.mixup_alpha) == (name, CLASSES, settings.mixup_alpha)
    assert bool(row["mixup_cutmix"])
    assert torch.equal(images[:6], real.images[[0, 1, 4, 5, 8, 9]]) and labels[:6].tolist() == [0, 0, 1, 1, 2, 2]
