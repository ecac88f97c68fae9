"""Supervised training: which images a step sees, how far it goes, and what an augmentation may do."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from fewshot_diffusion.config.supervised import SupervisedConfig
from fewshot_diffusion.runtime import CPU, Runtime
from fewshot_diffusion.seeds import generator
from fewshot_diffusion.supervised import augment, fit, shift, updates_per_epoch

SETTINGS = SupervisedConfig(epochs=4, batch_size=4, learning_rate=0.1, weight_decay=0.0, seed=3)
IMAGES = torch.arange(10, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 3, 4, 4)


class Slope(nn.Module):
    """One number, whose gradient the loss chooses."""

    def __init__(self) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.tensor(1.0))

    def forward(self, images: Tensor) -> Tensor:
        return self.value * torch.ones(len(images), device=images.device)


def trained(settings: SupervisedConfig, gradient: float = 1.0, runtime: Runtime = CPU) -> tuple[Slope, list[Tensor]]:
    """Train on images that are their number; return the model and the numbers of every batch."""
    model, batches = Slope(), []

    def keep(images: Tensor, targets: Tensor, stream: torch.Generator) -> tuple[Tensor, Tensor]:
        assert torch.equal(images[:, 0, 0, 0].float(), targets), "an image keeps its target"
        batches.append(targets)
        return images, targets

    def loss_of(outputs: Tensor, targets: Tensor) -> Tensor:
        assert model.training
        assert outputs.dtype == torch.float32
        steps.append(model.value.item())
        return gradient * outputs.mean()

    steps: list[float] = []
    fit(model, (IMAGES, torch.arange(10).float()), loss_of, keep, settings, runtime)
    model.steps = [*steps, model.value.item()]
    return model, batches


def test_every_epoch_sees_every_image_once_in_an_order_of_its_own() -> None:
    model, batches = trained(SETTINGS)
    assert [len(batch) for batch in batches] == [5] * 8
    epochs = [torch.cat(batches[2 * k : 2 * k + 2]).long() for k in range(4)]
    for k, epoch in enumerate(epochs):
        assert torch.equal(epoch, torch.randperm(10, generator=generator("classifier 3", k)))
    assert not torch.equal(epochs[0], epochs[1])
    assert not model.training and not model.value.requires_grad


def test_steps_follow_one_cycle_of_the_learning_rate() -> None:
    """Adam's step under a constant gradient is about the learning rate: a cycle moves its momentum, too."""
    values = trained(SETTINGS.model_copy(update={"epochs": 20}))[0].steps
    steps = [before - after for before, after in pairwise(values)]
    assert len(steps) == 40
    assert steps[0] == pytest.approx(0.1 / 25, rel=1e-3)
    assert 0.08 < max(steps) <= 0.1
    assert 8 < steps.index(max(steps)) < 16
    assert steps[-1] < 1e-5


def test_weights_decay_with_the_learning_rate() -> None:
    values = trained(SETTINGS.model_copy(update={"weight_decay": 0.5}), gradient=0.0)[0].steps
    assert values[1] == pytest.approx(1 - 0.5 * 0.1 / 25, rel=1e-6)


def test_outputs_are_compared_in_full_precision() -> None:
    trained(SETTINGS, runtime=replace(CPU, dtype=torch.bfloat16))
    convolution = nn.Sequential(nn.Conv2d(3, 1, 4), nn.Flatten(0))
    seen = []

    def loss_of(outputs: Tensor, targets: Tensor) -> Tensor:
        seen.append(outputs)
        return (outputs - targets).square().mean()

    class OfBytes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolution = convolution

        def forward(self, images: Tensor) -> Tensor:
            return self.convolution(images.float())

    examples = (IMAGES, torch.zeros(10))
    fit(OfBytes(), examples, loss_of, lambda x, y, _: (x, y), SETTINGS, replace(CPU, dtype=torch.bfloat16))
    assert {output.dtype for output in seen} == {torch.float32}
    assert torch.equal(seen[0], seen[0].bfloat16().float()), "of a network in bfloat16"


@pytest.mark.parametrize(("number", "expected"), [(3, 1), (4, 1), (7, 1), (8, 2), (10, 2)])
def test_an_epoch_has_as_many_updates_as_whole_batches(number: int, expected: int) -> None:
    assert updates_per_epoch(number, 4) == expected


# --- augmentation ---


def noise(n: int) -> Tensor:
    return torch.randint(0, 256, (n, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(8))


def test_augmentation_repeats_and_leaves_its_argument_alone() -> None:
    images = noise(8)
    out = augment(images, torch.Generator().manual_seed(0))
    assert out.shape == images.shape and out.dtype == torch.uint8
    assert torch.equal(images, noise(8))
    assert not torch.equal(out, images)
    assert torch.equal(out, augment(images, torch.Generator().manual_seed(0)))


def test_augmentation_without_shift_mirrors_half() -> None:
    images = noise(40)
    out = augment(images, torch.Generator().manual_seed(0), max_shift=0)
    same = torch.tensor([torch.equal(one, two) for one, two in zip(out, images, strict=True)])
    assert torch.equal(out[~same], images[~same].flip(-1))
    assert 8 < same.sum() < 32


def test_a_shift_moves_all_batches_alike_and_replicates_edges() -> None:
    images, found = noise(2), set()
    for seed in range(60):
        stream = torch.Generator().manual_seed(seed)
        moved, masks = shift([images, images[:, 0]], stream, 2)
        top, left = torch.randint(5, (2,), generator=torch.Generator().manual_seed(seed)).tolist()
        rows, columns = ((torch.arange(16) + offset - 2).clamp(0, 15) for offset in (top, left))
        assert torch.equal(moved, images[:, :, rows][..., columns])
        assert torch.equal(masks, moved[:, 0])
        found.add((top, left))
    assert len(found) > 15
