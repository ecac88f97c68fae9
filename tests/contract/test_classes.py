"""The jobs of experiment 3, one behind the other in a folder, on the smoke configuration."""

from pathlib import Path

import pytest
import torch

from fewshot_diffusion.classes.cells import Cell
from fewshot_diffusion.classes.classifier import train_class_judge
from fewshot_diffusion.classes.conditional import train_generator
from fewshot_diffusion.classes.filter import extract_class_features, train_class_filter
from fewshot_diffusion.classes.filter_report import ReportedImages, ReportModels, evaluate_filter
from fewshot_diffusion.classes.generated_set import load_generated
from fewshot_diffusion.classes.generation import ClassModelFolders, ClassShare, Quota, sample_classes
from fewshot_diffusion.classes.training import CellFiles, train_cell
from fewshot_diffusion.config.classes import ClassesConfig
from fewshot_diffusion.data.shots import ClassShots
from fewshot_diffusion.data.sources import make_images
from fewshot_diffusion.diffusion.denoiser import build_unet, unet_config
from fewshot_diffusion.diffusion.unets import unet_of_config
from fewshot_diffusion.errors import CorruptFileError, WeightsError
from fewshot_diffusion.storage.weights import load_module, save_module
from support import smoke_config

pytestmark = pytest.mark.slow

CONFIG = smoke_config()
assert CONFIG.classes is not None
CLASSES: ClassesConfig = CONFIG.classes


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything that generation needs: labelled images, the two denoisers, the filter, the judge."""
    folder = tmp_path_factory.mktemp("classes")
    for split in ("class_train", "class_test", "judge"):
        place = CONFIG.split_range(split)
        make_images(CONFIG.data, (place.start, place.stop), folder / f"{split}.parquet")
    torch.manual_seed(0)
    unet = build_unet(CONFIG.denoiser.architecture, CONFIG.data.image_size)
    save_module(unet, unet_config(unet), folder / "denoiser", {"schedule": CONFIG.denoiser.schedule.model_dump()})
    real = ClassShots(folder / "class_train.parquet", CLASSES.train_per_class)
    train_generator(CLASSES.conditional, real, folder / "denoiser", folder / "checkpoints", folder / "generator", "cpu")
    extract_class_features(CLASSES.filter, real, folder / "denoiser", folder / "features.safetensors", "cpu")
    train_class_filter(CLASSES.filter, folder / "features.safetensors", folder / "filter", "cpu")
    train_class_judge(CLASSES.judge, folder / "judge.parquet", folder / "class_judge", "cpu")
    return folder


def sample(folder: Path, wanted: int, name: str, generator: str = "generator") -> list[Path]:
    models = ClassModelFolders(folder / "denoiser", folder / generator, folder / "filter")
    paths = [folder / name / f"{shard}.parquet" for shard in ("1-of-2", "2-of-2")]
    for path in paths:
        share = ClassShare(path.stem, folder / "units")
        quota = Quota(wanted, CLASSES.filter.max_attempts, threshold=0.0)
        sample_classes(CLASSES.sampling, quota, models, share, path, "cpu")
    return paths


def evaluate(folder: Path, generated: list[Path], threshold: float) -> tuple[Path, Path]:
    tables = folder / "acceptance.csv", folder / "calibration.csv"
    images = ReportedImages("smoke", generated, folder / "class_test.parquet", threshold)
    models = ReportModels(folder / "denoiser", folder / "filter", folder / "class_judge")
    evaluate_filter(images, models, *tables, device="cpu")
    return tables


def test_more_images_cost_only_the_new_ones(folder: Path) -> None:
    few = load_generated(sample(folder, 1, "few"))
    before = {path: path.stat().st_mtime_ns for path in (folder / "units").rglob("unit-*.safetensors")}
    many = load_generated(sample(folder, 3, "many"))
    assert len(many.seeds) == 2 * len(few.seeds)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    for label in range(20):
        mine, more = few.images[few.labels == label], many.images[many.labels == label]
        assert torch.equal(mine, more[: len(mine)])


def test_what_was_made_for_something_else_is_refused_when_it_is_read(folder: Path) -> None:
    generated = sample(folder, 1, "place")
    with pytest.raises(CorruptFileError, match=r"was made for threshold 0\.0, expected 0\.2"):
        evaluate(folder, generated, 0.2)
    other = CLASSES.model_copy(update={"sampling": CLASSES.sampling.model_copy(update={"classifier_free_scale": 9})})
    files = CellFiles("smoke", folder / "class_train.parquet", folder / "class_test.parquet", tuple(generated))
    with pytest.raises(CorruptFileError, match="was made for settings"):
        train_cell(other, Cell("resnet18", "plain", 1), files, folder / "seeds", folder / "row.csv", "cpu")


def test_generator_and_filter_must_have_seen_the_same_images(folder: Path) -> None:
    unet, about = load_module(unet_of_config, folder / "generator")
    save_module(unet, unet_config(unet), folder / "stranger", {**about, "images": "others"})
    with pytest.raises(WeightsError, match="stranger: the weights are of images 'others'"):
        sample(folder, 1, "strange", generator="stranger")
