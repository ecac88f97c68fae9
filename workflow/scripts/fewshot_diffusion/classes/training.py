"""Training a cell of Table 2: a classifier on real and generated images, over several seeds."""

import math
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from ..config.classes import ClassesConfig
from ..config.supervised import SupervisedConfig
from ..data.class_set import ClassSet
from ..data.image_set import load_image_set
from ..errors import ConfigError
from ..runtime import Runtime, make_runtime
from ..storage.checkpoints import CheckpointFolder
from ..storage.files import fingerprint, read_json, write_json
from ..storage.rows import Rows, join_rows
from ..storage.tables import write_csv
from ..storage.tensors import pixel_digest
from ..supervised import updates_per_epoch
from .cells import Cell
from .classifier import ClassifierRecipe, accuracy, train_classifier
from .generated_set import GeneratedSet, load_generated, made_with
from .table import CELL_COLUMNS


@dataclass(frozen=True)
class CellFiles:
    """Images that a cell reads.

    Attributes:
        data_set: Its name.
        real: Split whose first images of every class are trained on, parquet.
        test: Real labelled images to test on, parquet.
        generated: Shards of generated images, parquet; none without any.
    """

    data_set: str
    real: Path
    test: Path
    generated: tuple[Path, ...] = ()


@dataclass(frozen=True)
class CellImages:
    """The same, read.

    Attributes:
        data_set: Its name.
        real: The few real labelled images.
        test: Real images, of no other split.
        generated: Every sample that was drawn, if the cell needs any.
    """

    data_set: str
    real: ClassSet
    test: ClassSet
    generated: GeneratedSet | None = None


def train_cell(
    settings: ClassesConfig, cell: Cell, files: CellFiles, checkpoints: Path, output: Path, device: str = "auto"
) -> None:
    """Train one cell of Table 2, once per seed, and test it; finished seeds are kept.

    Args:
        settings: Section classes, JSON.
        cell: Which cell.
        files: What it reads.
        checkpoints: Folder that holds the finished seeds of all cells.
        output: Row to write, CSV.
        device: auto, cpu, cuda or cuda:<n>.

    Raises:
        CorruptFileError: If a shard was drawn or filtered otherwise than configured.
    """
    runtime = make_runtime(device, settings.precision, cpu_threads=1)
    real = load_image_set(files.real).class_set().first_of_each(settings.train_per_class)
    expected = made_with(settings.sampling, settings.filter.threshold)
    generated = load_generated(files.generated, expected) if files.generated else None
    images = CellImages(files.data_set, real, load_image_set(files.test).class_set(), generated)
    write_csv(output, run_cell(settings, cell, images, checkpoints, runtime))


def run_cell(
    settings: ClassesConfig, cell: Cell, images: CellImages, checkpoints: Path, runtime: Runtime
) -> pd.DataFrame:
    """Return one row of the table: mean and standard deviation of the accuracy over the seeds.

    Args:
        settings: What all cells share, and the architectures' epochs and seeds.
        cell: Which cell.
        images: What it trains on, and is tested on.
        checkpoints: Folder that holds the finished seeds of all cells.
        runtime: Device and precision.
    """
    seeds, n_real = settings.recipe(cell.architecture).seeds, len(images.real) * cell.trains_on.real
    epochs, examples = cell_epochs(settings, cell, len(images.real)), training_images(cell, images)
    recipes = [classifier_recipe(settings, cell, epochs, seed) for seed in seeds]
    top1 = pd.Series([top1_accuracy(recipe, examples, images.test, checkpoints, runtime) for recipe in recipes])
    row = {
        "data_set": images.data_set,
        "n_classes": len(images.real.classes),
        "architecture": cell.architecture,
        "image_size": settings.image_size,
        "mixup_cutmix": cell.mixing == "mixed",
        "generated_ratio": cell.ratio,
        "control": cell.control,
        "n_real": n_real,
        "n_generated": len(examples[0]) - n_real,
        "n_test": len(images.test),
        "epochs": None if settings.recipe(cell.architecture).updates else epochs,  # updates are as many in all cells
        "updates": epochs * updates_per_epoch(len(examples[0]), settings.batch_size),
        "seeds": " ".join(map(str, seeds)),
        "top1_mean": top1.mean(),
        "top1_sd": top1.std(ddof=1),
    }
    return pd.DataFrame([row])[CELL_COLUMNS]


def training_images(cell: Cell, images: CellImages) -> tuple[Rows, Tensor]:
    """Return what a cell trains on: images uint8 [N, 3, H, W] and labels [N]; real ones first.

    Raises:
        ConfigError: If generated images are needed and missing, or have other classes.
        DataError: If too few were generated.
    """
    real, generated = images.real, images.generated
    parts: list[tuple[Rows, Tensor]] = [(real.images, real.labels)] if cell.trains_on.real else []
    if cell.ratio:
        if generated is None or real.classes != generated.classes:
            found = None if generated is None else generated.classes[:3]
            raise ConfigError(f"generated images of the classes {real.classes[:3]}... are needed, found {found}.")
        parts.append(generated.take(len(real) // len(real.classes) * cell.ratio, cell.trains_on.filtered))
    pixels, labels = zip(*parts, strict=True)
    return join_rows(pixels), torch.cat(labels)


def cell_epochs(settings: ClassesConfig, cell: Cell, n_real: int) -> int:
    """Return a cell's epochs: the recipe's, or as many as its updates need, or those of the largest ratio, rounded up.

    Args:
        settings: The architectures' epochs or updates.
        cell: Which cell.
        n_real: Real labelled images.
    """
    recipe = settings.recipe(cell.architecture)
    images = n_real * (cell.trains_on.real + cell.ratio)
    if recipe.epochs is None:
        assert recipe.updates is not None
        return math.ceil(recipe.updates / updates_per_epoch(images, settings.batch_size))
    if not cell.trains_on.matched:
        return recipe.epochs
    wanted = recipe.epochs * updates_per_epoch(n_real * (1 + settings.max_ratio), settings.batch_size)
    return math.ceil(wanted / updates_per_epoch(images, settings.batch_size))


def classifier_recipe(settings: ClassesConfig, cell: Cell, epochs: int, seed: int) -> ClassifierRecipe:
    """Return how a cell's classifier of one seed is trained."""
    shared = settings.model_dump(include={"batch_size", "learning_rate", "weight_decay", "precision"})
    mixup_alpha = settings.mixup_alpha if cell.mixing == "mixed" else None
    training = SupervisedConfig(**shared, epochs=epochs, seed=seed)
    return ClassifierRecipe(cell.architecture, settings.image_size, training, mixup_alpha)


def top1_accuracy(
    recipe: ClassifierRecipe, examples: tuple[Rows, Tensor], test: ClassSet, checkpoints: Path, runtime: Runtime
) -> float:
    """Train a classifier and return its accuracy on the test images, 0..1; a finished one is not trained again.

    Args:
        recipe: Architecture, training and seed.
        examples: Images uint8 [N, 3, H, W] and labels [N].
        test: Images of no other split, and the names of the classes.
        checkpoints: Folder that holds what is finished.
        runtime: Device and precision.
    """
    pixels = pixel_digest(*examples, test.images, test.labels)
    identity = fingerprint(asdict(recipe), test.classes, pixels, str(runtime.dtype))
    path = CheckpointFolder(checkpoints, identity).path / "top1.json"
    if not path.is_file():
        model = train_classifier(recipe, test.classes, *examples, runtime)
        predicted = model.predict(test.images)
        write_json(path, {"top1": accuracy(predicted, test.labels, len(test.classes))})
    return float(read_json(path)["top1"])
