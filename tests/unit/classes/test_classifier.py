"""The classifiers: torchvision's networks at their own image size, Mixup and CutMix, the judge and its role."""

from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import Tensor

from class_helpers import shades
from fewshot_diffusion.classes import classifier
from fewshot_diffusion.classes.classifier import ClassClassifier, ClassifierRecipe, train_classifier
from fewshot_diffusion.config.supervised import SupervisedConfig
from fewshot_diffusion.data.image_set import ImageSet, save_image_set
from fewshot_diffusion.errors import DataError, WeightsError
from fewshot_diffusion.runtime import CPU
from fewshot_diffusion.storage.weights import save_module

CLASSES = ["dark", "light"]
SHORT = SupervisedConfig(epochs=1, batch_size=8, learning_rate=1e-3, weight_decay=0, seed=3, precision="float32")


@pytest.mark.slow
def test_it_learns() -> None:
    data, test = shades(CLASSES, 32, 0), shades(CLASSES, 20, 2)
    recipe = ClassifierRecipe("resnet18", 16, SHORT.model_copy(update={"epochs": 12}))
    model = train_classifier(recipe, CLASSES, data.images, data.labels, CPU)
    assert classifier.accuracy(model.predict(test.images), test.labels, 2) > 0.9


def test_a_training_repeats_bit_for_bit() -> None:
    data, models = shades(CLASSES, 8, 0), []
    for _ in range(2):
        torch.rand(5)  # the global stream must not matter
        recipe = ClassifierRecipe("resnet18", 16, SHORT, mixup_alpha=0.2)
        models.append(train_classifier(recipe, CLASSES, data.images, data.labels, CPU))
    first, second = (model.state_dict() for model in models)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_the_three_architectures_are_torchvisions() -> None:
    for name, parameters in (("resnet18", 11.2e6), ("wide_resnet50_2", 66.8e6), ("resnext50_32x4d", 23.0e6)):
        with torch.device("meta"):
            model = ClassClassifier(name, CLASSES, 32)
        found = sum(parameter.numel() for parameter in model.parameters())
        assert found == pytest.approx(parameters, rel=0.01)


def test_images_are_seen_at_the_classifiers_own_size() -> None:
    model, seen = ClassClassifier("resnet18", CLASSES, 16).eval(), []
    model.network.register_forward_hook(lambda _module, inputs, _output: seen.append(inputs[0]))
    model.predict(torch.tensor([255, 0, 0, 255], dtype=torch.uint8).repeat(16).expand(2, 3, 64, 64))
    model.predict(torch.full((2, 3, 16, 16), 255, dtype=torch.uint8))
    assert seen[0].shape == seen[1].shape == (2, 3, 16, 16)
    assert seen[0][..., 2:-2].abs().max() < 0.2, "stripes finer than a pixel must become grey"
    assert torch.equal(seen[1], torch.ones_like(seen[1]))


def mixed_batches(alpha: float, number: int = 60) -> list[tuple[Tensor, Tensor]]:
    """Batches of black images of class 0 and white ones of class 1, augmented."""
    apply, labels = classifier.augmentation(2, alpha), torch.arange(8) % 2
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
    data = shades(CLASSES, 4, 0)
    images, labels = classifier.augmentation(2, None)(data.images, data.labels, torch.Generator().manual_seed(0))
    assert torch.equal(labels, data.labels)
    assert images.dtype == torch.uint8
    assert not torch.equal(images, data.images)


def test_accuracy_is_the_mean_over_classes() -> None:
    predicted, labels = torch.tensor([0, 0, 0, 1, 0]), torch.tensor([0, 0, 0, 1, 1])
    assert classifier.accuracy(predicted, labels, 3) == pytest.approx((1 + 0.5) / 2)


def test_the_judge_is_trained_on_a_whole_split_with_classes_and_stored_in_half_precision(tmp_path: Path) -> None:
    data, attributes, split = shades(CLASSES, 8), pd.DataFrame(index=range(16)), tmp_path / "split"
    save_image_set(ImageSet(data.images, data.ids, attributes), split, {})
    with pytest.raises(DataError, match="have no classes"):
        classifier.train_class_judge(SHORT, split, tmp_path / "judge", "cpu")
    save_image_set(ImageSet(data.images, data.ids, attributes, data.labels, CLASSES), split, {})
    classifier.train_class_judge(SHORT, split, tmp_path / "judge", "cpu")
    stored = classifier.load_class_judge(tmp_path / "judge", CPU).state_dict()
    recipe = ClassifierRecipe("resnet18", 16, SHORT)
    full = train_classifier(recipe, CLASSES, data.images, data.labels, CPU).state_dict()
    assert stored["network.fc.weight"].dtype == torch.float32
    assert all(torch.equal(stored[name], full[name].half().to(stored[name].dtype)) for name in full)


def test_only_a_judge_judges(tmp_path: Path) -> None:
    model = ClassClassifier("resnet18", CLASSES, 16)
    save_module(model, model.config, tmp_path, {"role": "cell"})
    with pytest.raises(WeightsError, match="the weights are of role 'cell', expected 'class_judge'"):
        classifier.load_class_judge(tmp_path, CPU)
