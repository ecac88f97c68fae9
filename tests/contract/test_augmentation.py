"""The scripts of Table 2, one behind the other in a folder, on the smoke configuration."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from fewshot_diffusion.classes.cells import CELL_COLUMNS
from fewshot_diffusion.classes.generation import load_generated
from fewshot_diffusion.config.model import Config
from fewshot_diffusion.diffusion.denoiser import build_unet, unet_config
from fewshot_diffusion.storage.tables import read_csv
from fewshot_diffusion.storage.weights import save_module
from support import run, smoke_config

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def smoke() -> Config:
    return smoke_config()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, smoke: Config) -> Path:
    """Everything that generation needs: labelled images, the two denoisers, the filter, the judge."""
    folder, classes = tmp_path_factory.mktemp("augmentation"), smoke.classification
    settings = smoke.data.model_dump_json(exclude={"splits"})
    for split, per_class in (("class_train", classes.train_per_class), ("class_test", 0), ("judge", 0)):
        place = smoke.data.split_range(split)
        run("make_class_split", "--settings", settings, "--positions", f"{place.start}:{place.stop}",
            "--per-class", per_class, "--output", folder / f"{split}.safetensors")  # fmt: skip
    torch.manual_seed(0)
    unet = build_unet(smoke.denoiser.architecture, smoke.data.image_size)
    save_module(unet, unet_config(unet), folder / "denoiser", {"schedule": smoke.denoiser.schedule.model_dump()})
    real = ["--images", folder / "class_train.safetensors", "--denoiser", folder / "denoiser"]
    run("finetune_conditional", "--settings", classes.conditional.model_dump_json(), *real,
        "--checkpoints", folder / "checkpoints", "--output", folder / "conditional")  # fmt: skip
    rejection = classes.rejection.model_dump_json()
    run("extract_class_features", "--settings", rejection, *real, "--output", folder / "features.safetensors")
    run("train_rejection_head", "--settings", rejection, "--features", folder / "features.safetensors",
        "--output", folder / "head")  # fmt: skip
    run("train_class_judge", "--settings", classes.judge.model_dump_json(),
        "--images", folder / "judge.safetensors", "--output", folder / "class_judge")  # fmt: skip
    return folder


def generate(folder: Path, smoke: Config, wanted: int, name: str, **changes: object) -> list[Path]:
    classes, paths = smoke.classification, []
    rejection = classes.rejection.model_copy(update=changes)
    for shard in ("1-of-2", "2-of-2"):
        paths.append(folder / name / f"{shard}.safetensors")
        run("generate_classes", "--settings", classes.sampling.model_dump_json(),
            "--rejection", rejection.model_dump_json(), "--wanted", wanted, "--denoiser", folder / "denoiser",
            "--conditional", folder / "conditional", "--head", folder / "head", "--shard", shard,
            "--checkpoints", folder / "units", "--output", paths[-1])  # fmt: skip
    return paths


def test_from_real_images_to_the_table(folder: Path, smoke: Config) -> None:
    generated = generate(folder, smoke, 1, "once")
    cells = []
    for mixed, ratio, control in (("false", 0, "none"), ("true", 1, "none"), ("false", 1, "unfiltered")):
        cells.append(folder / "cells" / f"{mixed}_{ratio}_{control}.csv")
        run("train_cell", "--settings", smoke.classification.model_dump_json(), "--recipe",
            smoke.classification.architectures[0].model_dump_json(), "--data-set", "smoke", "--mixup-cutmix", mixed,
            "--ratio", ratio, "--control", control, "--real", folder / "class_train.safetensors",
            *(["--generated", *generated] if ratio else []), "--test", folder / "class_test.safetensors",
            "--checkpoints", folder / "seeds", "--output", cells[-1])  # fmt: skip
    run("make_augmentation_table", "--cells", *cells, "--published", "config/published.csv", "--kind", "scaled-down",
        "--output", folder / "table.csv")  # fmt: skip
    run("evaluate_generated", "--data-set", "smoke", "--threshold", 0.0, "--generated", *generated,
        "--test", folder / "class_test.safetensors", "--denoiser", folder / "denoiser", "--head", folder / "head",
        "--judge", folder / "class_judge", "--acceptance", folder / "acceptance.csv",
        "--calibration", folder / "calibration.csv")  # fmt: skip
    run("draw_augmentation_figure", "--table", folder / "table.csv", "--acceptance", folder / "acceptance.csv",
        "--calibration", folder / "calibration.csv", "--output", folder / "figure.png")  # fmt: skip
    table = read_csv(folder / "table.csv")
    assert list(table.columns) == [*CELL_COLUMNS, "published", "kind"]
    assert (table["kind"] == "published").sum() == 24
    assert table["n_generated"][:3].tolist() == [0, 20, 20]
    acceptance = read_csv(folder / "acceptance.csv")
    assert len(acceptance) == 21
    assert acceptance["n_drawn"].iloc[:-1].sum() == acceptance["n_drawn"].iloc[-1] == 40
    with Image.open(folder / "figure.png") as image:
        assert len(image.convert("L").getcolors() or range(99)) > 10


def test_more_images_cost_only_the_new_ones(folder: Path, smoke: Config) -> None:
    few = load_generated(generate(folder, smoke, 1, "few"))
    before = {path: path.stat().st_mtime_ns for path in (folder / "units").rglob("unit-*.safetensors")}
    many = load_generated(generate(folder, smoke, 3, "many"))
    assert len(many.seeds) == 2 * len(few.seeds)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    for label in range(20):
        mine, more = few.images[few.labels == label], many.images[many.labels == label]
        assert torch.equal(mine, more[: len(mine)])


def test_a_threshold_that_nothing_passes_stops_with_the_class(folder: Path, smoke: Config) -> None:
    with pytest.raises(SystemExit, match=r"error: class '2c1b18-longStraight': 0 of 2 samples have p >= 1"):
        generate(folder, smoke, 1, "none", threshold=1.0)
    assert not (folder / "none").exists()
