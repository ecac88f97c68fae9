"""The network that names what is drawn: its labels are the generator's, it learns them, and its features are used."""

from pathlib import Path

import pandas as pd
import pytest
import torch
from dicebear import Avatar

from fewshot_diffusion.config.data import DatasetConfig
from fewshot_diffusion.config.evaluation import ExtractorConfig
from fewshot_diffusion.config.supervised import SupervisedConfig
from fewshot_diffusion.data.avatar_options import named_options
from fewshot_diffusion.data.avatars import avatar_options, load_style
from fewshot_diffusion.data.image_set import load_image_set
from fewshot_diffusion.data.option_set import load_options
from fewshot_diffusion.data.sources import make_images, make_options
from fewshot_diffusion.errors import DataError, WeightsError
from fewshot_diffusion.judges import AttributeClassifier
from fewshot_diffusion.metrics.extractors import extract_features, make_extractor
from fewshot_diffusion.metrics.semantic_training import judge_semantic_network, train_semantic_network
from fewshot_diffusion.runtime import CPU
from fewshot_diffusion.storage.tensors import read_tensors
from fewshot_diffusion.storage.weights import WEIGHTS_FILE, save_module
from support import smoke_config

RECIPE = SupervisedConfig(epochs=4, batch_size=16, learning_rate=3e-3, weight_decay=0.05, precision="float32")
SPLITS = {"judge": (0, 256), "controls": (256, 320)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images and options of two splits, and a network that was trained a little on the first."""
    folder = tmp_path_factory.mktemp("semantic")
    settings = drawn()
    for split, positions in SPLITS.items():
        make_images(settings, positions, folder / f"{split}.parquet")
        make_options(settings, positions, folder / f"{split}_options.parquet")
    train_semantic_network(RECIPE, folder / "judge.parquet", folder / "judge_options.parquet", folder / "net", "cpu")
    return folder


def drawn() -> DatasetConfig:
    config = smoke_config()
    return config.data.dataset(config.judged_together)


def test_labels_are_what_the_generator_picked(folder: Path) -> None:
    """Classes and attributes of the images come from the same pictures by another way; mirrored, a gradient is one."""
    images, options = load_image_set(folder / "judge.parquet"), load_options(folder / "judge_options.parquet")
    avatars = smoke_config().data.avatars
    assert avatars is not None
    joint = options.picked[avatars.classes].agg("-".join, axis=1).tolist()
    assert images.labels is not None
    assert joint == [images.classes[label] for label in images.labels]
    assert (options.picked["beardVariant"] != "none").tolist() == images.attributes["Beard"].tolist()
    for id_, named in zip(range(32), options.picked.to_dict("records"), strict=False):
        picked = Avatar(load_style(avatars.style), avatar_options(avatars, 16, id_)).to_json()["options"]
        texts = {name: min(picked[name]) if name.endswith("Color") else picked.get(name, "none") for name in named}
        assert named == {name: text.lstrip("#") for name, text in texts.items()}
    labels, names = options.labels_of(images.ids), sorted(named_options(avatars))
    assert labels.shape == (256, len(names)) and {"skinColor", "clothesVariant", "mouthVariant"} < set(names)
    for name, column in zip(names, labels.T, strict=True):
        assert [options.values[name][label] for label in column] == options.picked[name].tolist()
    with pytest.raises(DataError, match="those of 256 other images than the 256 of the split"):
        options.labels_of(images.ids + 1)


def test_a_little_training_beats_chance_on_images_that_it_has_not_seen(folder: Path) -> None:
    table = folder / "semantic.csv"
    held_out = (folder / "controls.parquet", folder / "controls_options.parquet")
    judge_semantic_network("smoke", folder / "net", *held_out, table, "cpu")
    found = pd.read_csv(table).set_index("option")
    background = found.loc["backgroundColor"]
    assert background["ci_low"] > background["chance"] and background["n_values"] == 8
    assert (found["n"] == 64).all() and (found["data_set"] == "smoke").all()
    tensors, _ = read_tensors(folder / "net" / WEIGHTS_FILE)
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float16, torch.int64}  # counts of batches


def test_features_are_those_before_the_heads(folder: Path) -> None:
    images = load_image_set(folder / "controls.parquet").pixels
    extractor = make_extractor(ExtractorConfig(kind="semantic", weights=folder / "net", lowpass=1), CPU)
    low = extract_features(images, extractor)
    plain = make_extractor(ExtractorConfig(kind="semantic", weights=folder / "net"), CPU)
    found = extract_features(images, plain)
    assert extractor.name == "semantic_lowpass1" and found.shape == low.shape == (64, 256)
    assert found.std(0).max() > 0.01 and not torch.allclose(found, low)
    tensors, _ = read_tensors(folder / "net" / WEIGHTS_FILE)
    assert tensors["heads.weight"].shape[1] == plain.dim


def test_a_judge_is_no_extractor(tmp_path: Path) -> None:
    judge = AttributeClassifier(["Blond"])
    save_module(judge, judge.config, tmp_path, {"role": "judge"})
    with pytest.raises(WeightsError, match="are of role 'judge', expected 'semantic'"):
        make_extractor(ExtractorConfig(kind="semantic", weights=tmp_path), CPU)
