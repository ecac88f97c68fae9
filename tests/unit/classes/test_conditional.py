"""The class-conditional denoiser: equal at step 0, K + 1 labels, dropped anew in every step, resumable, guided."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNet2DModel
from torch import Tensor

from fewshot_diffusion.classes import conditional as conditionals
from fewshot_diffusion.classes.conditional import (
    ClassDenoiser,
    classifier_free,
    drop_labels,
    load_generator,
    make_conditional,
)
from fewshot_diffusion.config.classes import FinetuningConfig
from fewshot_diffusion.data.class_set import ClassSet
from fewshot_diffusion.diffusion.denoiser import Denoiser, unet_config
from fewshot_diffusion.errors import WeightsError
from fewshot_diffusion.runtime import CPU
from fewshot_diffusion.seeds import generator
from fewshot_diffusion.storage.checkpoints import CheckpointFolder
from fewshot_diffusion.storage.weights import save_module

K = 5
SETTINGS = FinetuningConfig(
    num_images=24, batch_size=4, learning_rate=1e-2, warmup_images=0, decay_from=1.0, ema_decay=0.0,
    random_flip=False, checkpoint_images=4, precision="float32", label_dropout=0.1, label_rate=10, timestep_power=2,
)  # fmt: skip


def labelled() -> ClassSet:
    stream = torch.Generator().manual_seed(1)
    images = torch.randint(256, (10, 3, 16, 16), generator=stream).to(torch.uint8)
    return ClassSet(images, torch.arange(10) % K, torch.arange(10), [f"class {label}" for label in range(K)])


def trained(denoiser: Denoiser, folder: Path, **changes: Any) -> UNet2DModel:
    return conditionals.finetune(
        denoiser, labelled(), SETTINGS.model_copy(update=changes), CheckpointFolder(folder, "identity")
    )


@pytest.mark.parametrize("label", [0, 3, K - 1, K])
def test_at_step_0_every_label_is_the_unconditional_model(tiny_unet: UNet2DModel, label: int) -> None:
    x_t, conditional = torch.randn(4, 3, 16, 16), make_conditional(tiny_unet, K)
    shown = conditional(x_t, 300, class_labels=torch.full((4,), label)).sample
    assert torch.equal(shown, tiny_unet(x_t, 300).sample)
    assert conditional.class_embedding.weight.shape[0] == K + 1, "the null label has a row of its own"


def test_the_original_is_not_changed(tiny_denoiser: Denoiser, tmp_path: Path) -> None:
    before = {name: tensor.clone() for name, tensor in tiny_denoiser.unet.state_dict().items()}
    unet = trained(tiny_denoiser, tmp_path)
    assert all(torch.equal(tensor, before[name]) for name, tensor in tiny_denoiser.unet.state_dict().items())
    assert unet.class_embedding.weight[:K].abs().sum() > 0


def test_what_reads_labels_learns_at_its_own_rate(tiny_denoiser: Denoiser, tmp_path: Path) -> None:
    """One step of Adam moves a weight by its learning rate, wherever there is a gradient; an embedding starts at 0."""
    before = dict(tiny_denoiser.unet.named_parameters())
    unet = trained(tiny_denoiser, tmp_path, num_images=4, learning_rate=1e-4, label_rate=30.0)
    moved: dict[str, float] = {}
    for name, weight in unet.named_parameters():
        kind = next((kind for kind in ("time_emb_proj", "class_embedding") if kind in name), "rest")
        start = before.get(name, torch.zeros_like(weight))
        moved[kind] = max(moved.get(kind, 0), float((weight - start).abs().max()))
    assert moved == pytest.approx({"time_emb_proj": 3e-3, "class_embedding": 3e-3, "rest": 1e-4}, rel=0.2)


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """Labels of every pass of a denoiser, in order."""
    plain: Callable[..., Any] = UNet2DModel.forward
    seen: list[Tensor] = []

    def forward(unet: UNet2DModel, *inputs: Any, class_labels: Tensor | None = None, **options: Any) -> Any:
        if class_labels is not None:
            seen.append(class_labels.clone())
        return plain(unet, *inputs, class_labels=class_labels, **options)

    monkeypatch.setattr(UNet2DModel, "forward", forward)
    return seen


def test_every_step_drops_labels_by_its_own_stream(
    tiny_denoiser: Denoiser, tmp_path: Path, shown: list[Tensor]
) -> None:
    """A function of seed and step alone: an interrupted training goes on with the same labels."""
    trained(tiny_denoiser, tmp_path, batch_size=64, num_images=64 * 6, label_dropout=0.4)
    assert len((torch.stack(shown) == K).unique(dim=0)) == len(shown) == 6
    for step, labels in enumerate(shown):
        drawn = torch.randint(10, (64,), generator=generator("denoiser training 0", step))
        expected = drop_labels(labelled().labels[drawn], K, 0.4, generator("label dropout 0", step))
        assert torch.equal(labels, expected)


def test_labels_are_dropped_to_the_null_label_and_not_in_place() -> None:
    labels = torch.arange(20_000) % K
    before = labels.clone()
    dropped = drop_labels(labels, K, 0.1, torch.Generator().manual_seed(0))
    assert torch.equal(labels, before)
    assert abs(float((dropped == K).double().mean()) - 0.1) < 0.01
    assert torch.equal(dropped[dropped != K], labels[dropped != K])


@pytest.fixture
def conditional(tiny_denoiser: Denoiser) -> Denoiser:
    unet = make_conditional(tiny_denoiser.unet, K)
    unet.class_embedding.weight.data.normal_(generator=torch.Generator().manual_seed(2))
    return ClassDenoiser(tiny_denoiser.schedule, "c" * 64, CPU, unet.requires_grad_(False).eval())


def batch() -> tuple[Tensor, Tensor]:
    stream = torch.Generator().manual_seed(0)
    return torch.randn(4, 3, 16, 16, generator=stream), torch.randint(K, (4,), generator=stream)


@pytest.mark.parametrize("w", [0.0, 1.0, 2.5])
def test_guidance_is_null_plus_w_times_the_difference_in_every_call(conditional: Denoiser, w: float) -> None:
    x_t, labels = batch()
    before, predict = labels.clone(), classifier_free(conditional, labels, w)
    wanted = conditional.unet(x_t, 500, class_labels=labels).sample
    null = conditional.unet(x_t, 500, class_labels=torch.full_like(labels, K)).sample
    for _ in range(2):
        assert torch.allclose(predict(x_t, 500, torch.tensor(0.5)), null + w * (wanted - null), atol=1e-5)
    assert torch.equal(labels, before), "the caller's labels are left alone"
    assert not torch.allclose(wanted, null, atol=1e-3)


@pytest.mark.parametrize("w", [1.0, 2.5])
def test_outputs_in_bfloat16_are_combined_in_full_precision(conditional: Denoiser, w: float) -> None:
    runtime, (x_t, labels) = replace(CPU, dtype=torch.bfloat16), batch()
    with torch.no_grad(), runtime.autocast():
        both = torch.cat([labels, torch.full_like(labels, K)])
        rough = conditional.unet(torch.cat([x_t, x_t]), 500, class_labels=both).sample
    wanted, null = rough.float().chunk(2)
    found = classifier_free(replace(conditional, runtime=runtime), labels, w)(x_t, 500, torch.tensor(0.5))
    assert rough.dtype == torch.bfloat16 and found.dtype == torch.float32
    torch.testing.assert_close(found, null + w * (wanted - null), rtol=0, atol=0.02 if w == 1 else 1e-6)


def test_a_scale_of_1_does_not_compute_the_null_half(conditional: Denoiser, shown: list[Tensor]) -> None:
    x_t, labels = batch()
    classifier_free(conditional, labels, 1.0)(x_t, 500, torch.tensor(0.5))
    assert [len(labels) for labels in shown] == [4]


def test_a_sample_does_not_depend_on_its_neighbours(conditional: Denoiser) -> None:
    x_t, labels = batch()
    together = classifier_free(conditional, labels, 2.0)(x_t, 500, torch.tensor(0.5))
    alone = classifier_free(conditional, labels[1:2], 2.0)(x_t[1:2], 500, torch.tensor(0.5))
    assert torch.allclose(together[1:2], alone, atol=1e-5)


def test_it_belongs_to_its_denoiser_and_to_its_images(tiny_denoiser: Denoiser, tmp_path: Path) -> None:
    unet = make_conditional(tiny_denoiser.unet, K)
    save_module(unet, unet_config(unet), tmp_path, {"denoiser": tiny_denoiser.digest, "images": "these"})
    assert load_generator(tmp_path, tiny_denoiser, {"images": "these"}).unet.config.num_class_embeds == K + 1
    with pytest.raises(WeightsError, match="the weights are of denoiser '0000"):
        load_generator(tmp_path, replace(tiny_denoiser, digest="e" * 64))
    with pytest.raises(WeightsError, match="the weights are of images 'these', expected 'those'"):
        load_generator(tmp_path, tiny_denoiser, {"images": "those"})
