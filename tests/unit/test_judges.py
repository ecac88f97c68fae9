"""Judges and the image-space classifier: they learn, they repeat, and each keeps to its role."""

from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import Tensor

from fewshot_diffusion.config.classifiers import JudgeConfig
from fewshot_diffusion.data.image_set import ImageSet
from fewshot_diffusion.errors import CorruptFileError, DataError, WeightsError
from fewshot_diffusion.judges import AttributeClassifier, load_classifier, load_judge, train_classifier, train_judge
from fewshot_diffusion.runtime import CPU
from fewshot_diffusion.storage.weights import WEIGHTS_FILE, save_module
from fewshot_diffusion.supervised import augment

SETTINGS = JudgeConfig(epochs=6, batch_size=16, learning_rate=3e-3, weight_decay=0.05)


def coloured(n: int, seed: int) -> tuple[Tensor, Tensor]:
    """Noisy images, the red ones labelled True."""
    stream = torch.Generator().manual_seed(seed)
    labels = torch.rand(n, generator=stream) < 0.5
    images = torch.randint(0, 120, (n, 3, 16, 16), generator=stream)
    images[:, 0] += 100 * labels[:, None, None]
    return images.to(torch.uint8), labels


@pytest.fixture(scope="module")
def trained() -> AttributeClassifier:
    images, labels = coloured(96, seed=1)
    return train_classifier(images, torch.stack([labels, ~labels], 1), ["Red", "Dull"], SETTINGS, CPU)


def test_a_separable_task_is_learned(trained: AttributeClassifier) -> None:
    images, labels = coloured(64, seed=2)
    red, dull = (trained.probability(images, name) for name in ("Red", "Dull"))
    assert ((red > 0.5) == labels).float().mean() > 0.95
    assert ((dull > 0.5) == ~labels).float().mean() > 0.95


def test_a_trained_classifier_is_frozen(trained: AttributeClassifier) -> None:
    assert not trained.training
    assert not any(parameter.requires_grad for parameter in trained.parameters())


def test_probabilities_do_not_depend_on_the_batch(trained: AttributeClassifier) -> None:
    images, _ = coloured(10, seed=3)
    whole = trained.probability(images, "Red")
    assert whole.shape == (10,)
    assert whole.dtype == torch.float32
    torch.testing.assert_close(trained.probability(images, "Red", batch_size=3), whole)


def test_an_unknown_attribute_is_named(trained: AttributeClassifier) -> None:
    with pytest.raises(DataError, match=r"knows Red, Dull, not 'Blue'"):
        trained.probability(coloured(2, 0)[0], "Blue")


def test_training_repeats_bit_by_bit() -> None:
    images, labels = coloured(32, seed=4)
    settings = SETTINGS.model_copy(update={"epochs": 1})

    def weights(seed: int) -> Tensor:
        torch.manual_seed(123 + seed)  # the caller's stream must not matter
        chosen = settings.model_copy(update={"seed": seed})
        model = train_classifier(images, labels[:, None], ["Red"], chosen, CPU)
        return torch.cat([parameter.flatten() for parameter in model.parameters()])

    first = weights(0)
    torch.rand(7)
    assert torch.equal(first, weights(0))
    assert not torch.equal(first, weights(1))


@pytest.mark.parametrize("value", [True, False])
def test_labels_of_one_class_are_refused(value: bool) -> None:
    images, labels = coloured(12, seed=5)
    both = torch.stack([labels, torch.full_like(labels, value)], 1)
    with pytest.raises(DataError, match="Beard: all 12 training images have the same label"):
        train_classifier(images, both, ["Red", "Beard"], SETTINGS, CPU)


def test_a_judge_knows_every_attribute_in_order() -> None:
    images, labels = coloured(16, seed=6)
    attributes = pd.DataFrame({"Red": labels.numpy(), "Dull": (~labels).numpy()})
    settings = SETTINGS.model_copy(update={"epochs": 1})
    judge = train_judge(ImageSet(images, torch.arange(16), attributes), settings, CPU)
    assert judge.attributes == ["Red", "Dull"]


# --- roles ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("role", "wanted"),
    [
        ("guides", "judge"),
        ("tuning_judge", "judge"),
        ("judge", "tuning_judge"),
        ("guides", "tuning_judge"),
        (None, "judge"),
    ],
)
def test_no_classifier_judges_outside_its_role(tmp_path: Path, role: str | None, wanted: str) -> None:
    model = AttributeClassifier(["Red"])
    save_module(model, model.config, tmp_path / "judge", {} if role is None else {"role": role})
    with pytest.raises(WeightsError) as caught:
        load_judge(tmp_path / "judge", wanted)
    assert str(tmp_path / "judge") in str(caught.value)
    assert f"role is {role!r}, expected {wanted!r}" in str(caught.value)
    assert load_classifier(tmp_path / "judge").attributes == ["Red"]


@pytest.mark.parametrize("role", ["judge", "tuning_judge"])
def test_a_judge_comes_back(tmp_path: Path, trained: AttributeClassifier, role: str) -> None:
    save_module(trained, trained.config, tmp_path, {"role": role})
    images, _ = coloured(6, seed=7)
    assert torch.equal(load_judge(tmp_path, role).probability(images, "Red"), trained.probability(images, "Red"))


def test_damaged_weights_do_not_judge(tmp_path: Path) -> None:
    model = AttributeClassifier(["Red"])
    save_module(model, model.config, tmp_path, {"role": "judge"})
    with (tmp_path / WEIGHTS_FILE).open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x55")
    with pytest.raises(CorruptFileError, match="SHA-256"):
        load_judge(tmp_path, "judge")


# --- augmentation ---------------------------------------------------------------------------------------------------


def test_augmentation_keeps_shape_type_and_its_argument() -> None:
    images, _ = coloured(8, seed=8)
    before = images.clone()
    out = augment(images, torch.Generator().manual_seed(0))
    assert out.shape == images.shape
    assert out.dtype == torch.uint8
    assert torch.equal(images, before)
    assert not torch.equal(out, images)
    assert torch.equal(out, augment(images, torch.Generator().manual_seed(0)))


def test_augmentation_without_shift_only_mirrors() -> None:
    images, _ = coloured(40, seed=9)
    out = augment(images, torch.Generator().manual_seed(0), max_shift=0)
    pairs = list(zip(out, images, strict=True))
    same = [torch.equal(one, two) for one, two in pairs]
    mirrored = [torch.equal(one, two.flip(-1)) for one, two in pairs]
    assert all(one != two for one, two in zip(same, mirrored, strict=True))
    assert 8 < sum(mirrored) < 32


def test_augmentation_replicates_edges() -> None:
    flat = torch.full((2, 3, 16, 16), 200, dtype=torch.uint8)
    for seed in range(5):
        assert torch.equal(augment(flat, torch.Generator().manual_seed(seed)), flat)
