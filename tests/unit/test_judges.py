"""Judges and the image-space classifier: they learn, they repeat, and each keeps to its role."""

from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import Tensor

from fewshot_diffusion.config.supervised import SupervisedConfig
from fewshot_diffusion.data.image_set import ImageSet, save_image_set
from fewshot_diffusion.errors import DataError, WeightsError
from fewshot_diffusion.judges import AttributeClassifier, load_judge, train_classifier, train_judge
from fewshot_diffusion.runtime import CPU
from fewshot_diffusion.storage.weights import save_module

SETTINGS = SupervisedConfig(epochs=6, batch_size=16, learning_rate=3e-3, weight_decay=0.05, precision="float32")
ONCE = SETTINGS.model_copy(update={"epochs": 1})


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


def test_a_separable_task_is_learned_and_the_classifier_frozen(trained: AttributeClassifier) -> None:
    images, labels = coloured(64, seed=2)
    for name, wanted in (("Red", labels), ("Dull", ~labels)):
        assert ((trained.probability(images, name) > 0.5) == wanted).float().mean() > 0.95
    assert not trained.training
    assert not any(parameter.requires_grad for parameter in trained.parameters())


def test_probabilities_are_those_of_the_network_on_signed_images_whatever_the_batch(
    trained: AttributeClassifier,
) -> None:
    images, _ = coloured(10, seed=3)
    whole = trained.probability(images, "Dull")
    assert whole.shape == (10,) and whole.dtype == torch.float32
    with torch.no_grad():
        expected = trained.network(images.float() / 127.5 - 1)[:, 1].sigmoid()
    torch.testing.assert_close(whole, expected)
    torch.testing.assert_close(trained.probability(images, "Dull", batch_size=3), whole)
    with pytest.raises(DataError, match=r"knows Red, Dull, not 'Blue'"):
        trained.probability(images, "Blue")


def test_training_repeats_bit_by_bit() -> None:
    images, labels = coloured(32, seed=4)

    def weights(seed: int) -> Tensor:
        torch.manual_seed(123 + seed)  # the caller's stream must not matter
        settings = ONCE.model_copy(update={"seed": seed})
        model = train_classifier(images, labels[:, None], ["Red"], settings, CPU)
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


# --- roles ---


def test_a_judge_learns_every_attribute_of_a_split_and_keeps_its_role(tmp_path: Path) -> None:
    images, labels = coloured(16, seed=6)
    attributes = pd.DataFrame({"Red": labels.numpy(), "Dull": (~labels).numpy()})
    save_image_set(ImageSet(images, torch.arange(16), attributes), tmp_path / "judge.parquet", {})
    train_judge(ONCE, "tuning_judge", tmp_path / "judge.parquet", tmp_path / "judge", "cpu")
    judge = load_judge(tmp_path / "judge", "tuning_judge")
    expected = train_classifier(images, torch.stack([labels, ~labels], 1), ["Red", "Dull"], ONCE, CPU)
    assert judge.attributes == ["Red", "Dull"]
    for name in judge.attributes:
        assert torch.equal(judge.probability(images, name), expected.probability(images, name))
    with pytest.raises(WeightsError, match=r"judge: the weights are of role 'tuning_judge', expected 'judge'"):
        load_judge(tmp_path / "judge", "judge")


@pytest.mark.parametrize("role", [None, "guides"])
def test_what_is_no_judge_does_not_judge(tmp_path: Path, role: str | None) -> None:
    model = AttributeClassifier(["Red"])
    save_module(model, model.config, tmp_path, {} if role is None else {"role": role})
    with pytest.raises(WeightsError, match=f"role {role!r}, expected 'judge'"):
        load_judge(tmp_path, "judge")
