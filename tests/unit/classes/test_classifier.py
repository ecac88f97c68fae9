"""The classifiers: torchvision's networks at their own image size, Mixup and CutMix, the judge and its role."""

from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import Tensor

from fewshot_diffusion.classes.classifier import (
    ClassClassifier,
    ClassifierRecipe,
    accuracy,
    augmentation,
    load_class_judge,
    train_class_judge,
    train_classifier,
)
from fewshot_diffusion.config.supervised import SupervisedConfig
from fewshot_diffusion.data.class_set import ClassSet
from fewshot_diffusion.data.image_set import ImageSet, save_image_set
from fewshot_diffusion.errors import DataError, WeightsError
from fewshot_diffusion.runtime import CPU
from fewshot_diffusion.storage.weights import save_module

CLASSES = ["dark", "light"]
TRAINING = SupervisedConfig(
    epochs=8, batch_size=8, learning_rate=1e-3, weight_decay=0.0, seed=3, precision="float32"
)  # fmt: skip
SHORT = TRAINING.model_copy(update={"epochs": 1})
RECIPE = ClassifierRecipe("resnet18", 16, TRAINING)


def shades(per_class: int, seed: int) -> ClassSet:
    stream = torch.Generator().manual_seed(seed)
    labels = torch.arange(2).repeat_interleave(per_class)
    images = torch.randint(100, (2 * per_class, 3, 16, 16), generator=stream) + 150 * labels[:, None, None, None]
    return ClassSet(images.to(torch.uint8), labels, torch.arange(2 * per_class), CLASSES)


def test_it_learns() -> None:
    data, test = shades(16, 0), shades(20, 2)
    model = train_classifier(RECIPE, CLASSES, data.images, data.labels, CPU)
    assert accuracy(model.predict(test.images), test.labels, 2) > 0.9


@pytest.mark.parametrize("mixup_alpha", [None, 0.2])
def test_a_training_repeats_bit_for_bit(mixup_alpha: float | None) -> None:
    data, models = shades(8, 0), []
    for _ in range(2):
        torch.rand(5)  # the global stream must not matter
        recipe = ClassifierRecipe("resnet18", 16, SHORT, mixup_alpha)
        models.append(train_classifier(recipe, CLASSES, data.images, data.labels, CPU))
    first, second = (model.state_dict() for model in models)
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(
    ("name", "parameters"), [("resnet18", 11.2e6), ("wide_resnet50_2", 66.8e6), ("resnext50_32x4d", 23.0e6)]
)
def test_the_three_architectures_are_torchvisions(name: str, parameters: float) -> None:
    model = ClassClassifier(name, CLASSES, 32)
    assert sum(p.numel() for p in model.parameters()) == pytest.approx(parameters, rel=0.01)


def test_images_are_seen_at_the_classifiers_own_size() -> None:
    model, seen = ClassClassifier("resnet18", CLASSES, 16).eval(), []
    model.network.register_forward_hook(lambda _module, inputs, _output: seen.append(inputs[0]))
    stripes = torch.tensor([0, 255], dtype=torch.uint8).repeat(16).expand(2, 3, 32, 32)
    model.predict(stripes)
    model.predict(torch.full((2, 3, 16, 16), 255, dtype=torch.uint8))
    assert seen[0].shape == seen[1].shape == (2, 3, 16, 16)
    assert seen[0][..., 2:-2].abs().max() < 0.2, "stripes finer than a pixel must become grey"
    assert torch.equal(seen[1], torch.ones_like(seen[1]))


# --- Mixup and CutMix -----------------------------------------------------------------------------------------------


def mixed_batches(alpha: float, number: int = 60) -> list[tuple[Tensor, Tensor]]:
    """Batches of black images of class 0 and white ones of class 1, augmented."""
    apply, labels = augmentation(2, alpha), torch.arange(8) % 2
    images = (255 * labels).to(torch.uint8)[:, None, None, None].expand(-1, 3, 16, 16)
    return [apply(images, labels, torch.Generator().manual_seed(seed)) for seed in range(number)]


def test_a_batch_gets_mixup_or_cutmix_by_chance() -> None:
    """Mixup blends every pixel; CutMix pastes a box: its pixels stay black and white."""
    blended = []
    for images, _ in mixed_batches(1.0):
        grey = (images > 0) & (images < 255)
        pasted = (images.flatten(1).amin(1) == 0) & (images.flatten(1).amax(1) == 255)
        if grey.any() or pasted.any():  # else a mate of its own class, or nothing of it
            assert not (grey.any() and pasted.any())
            blended.append(bool(grey.any()))
    assert len(blended) > 40
    assert 0.3 < sum(blended) / len(blended) < 0.7


def test_the_targets_are_the_shares_of_the_pixels() -> None:
    for images, shares in mixed_batches(0.2, 30):
        assert torch.allclose(shares.sum(1), torch.ones(8))
        assert torch.allclose(images.mean((1, 2, 3)) / 255, shares[:, 1], atol=1e-3)


def test_mixups_parameter_is_the_configured_one() -> None:
    """Beta(alpha, alpha): a small alpha leaves images nearly alone, a large one halves them."""

    def shares(alpha: float) -> Tensor:
        found = [shares[:, 1] for images, shares in mixed_batches(alpha) if ((images > 0) & (images < 255)).any()]
        values = torch.cat(found)
        return values[(values > 0) & (values < 1)]

    assert (shares(50.0) - 0.5).abs().max() < 0.3
    assert (shares(0.05) - 0.5).abs().mean() > 0.3


def test_without_mixing_images_are_mirrored_and_shifted_and_labels_stay() -> None:
    data = shades(4, 0)
    images, labels = augmentation(2, None)(data.images, data.labels, torch.Generator().manual_seed(0))
    assert torch.equal(labels, data.labels)
    assert images.dtype == torch.uint8
    assert not torch.equal(images, data.images)


# --- accuracy and the judge -----------------------------------------------------------------------------------------


def test_accuracy_is_the_mean_over_classes() -> None:
    predicted, labels = torch.tensor([0, 0, 0, 1, 0]), torch.tensor([0, 0, 0, 1, 1])
    assert accuracy(predicted, labels, 3) == pytest.approx((1 + 0.5) / 2)


def save_split(folder: Path, labels: Tensor | None) -> Path:
    data = shades(16, 0)
    names = CLASSES if labels is not None else []
    save_image_set(ImageSet(data.images, data.ids, pd.DataFrame(index=range(32)), labels, names), folder / "s", {})
    return folder / "s"


def test_the_judge_is_trained_on_a_whole_split_and_stored_in_half_precision(tmp_path: Path) -> None:
    data = shades(16, 0)
    train_class_judge(SHORT, save_split(tmp_path, data.labels), tmp_path / "judge", "cpu")
    judge = load_class_judge(tmp_path / "judge", CPU)
    whole = train_classifier(ClassifierRecipe("resnet18", 16, SHORT), CLASSES, data.images, data.labels, CPU)
    stored, full = judge.state_dict(), whole.state_dict()
    assert judge.network.fc.weight.dtype == torch.float32
    assert all(torch.equal(stored[name], full[name].half().to(stored[name].dtype)) for name in full)


def test_a_data_set_without_classes_has_no_judge_of_them(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="have no classes"):
        train_class_judge(TRAINING, save_split(tmp_path, None), tmp_path / "judge", "cpu")


def test_only_a_judge_judges(tmp_path: Path) -> None:
    model = ClassClassifier("resnet18", CLASSES, 16)
    save_module(model, model.config, tmp_path, {"role": "cell"})
    with pytest.raises(WeightsError, match="the weights are of role 'cell', expected 'class_judge'"):
        load_class_judge(tmp_path, CPU)
