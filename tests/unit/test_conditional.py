"""The class-conditional denoiser: equal at step 0, K + 1 labels, labels left alone, resumable."""

from pathlib import Path

import pytest
import torch
from diffusers import UNet2DModel

from fewshot_diffusion.classes.conditional import (
    classifier_free,
    drop_labels,
    finetune_conditional,
    load_conditional,
    make_conditional,
)
from fewshot_diffusion.config.classification import FinetuningConfig
from fewshot_diffusion.config.denoiser import ScheduleConfig
from fewshot_diffusion.diffusion.denoiser import Denoiser, unet_config
from fewshot_diffusion.diffusion.training import DenoiserTraining
from fewshot_diffusion.errors import WeightsError
from fewshot_diffusion.runtime import CPU
from fewshot_diffusion.storage.weights import save_module

K = 5
SETTINGS = FinetuningConfig(
    num_images=24, batch_size=4, learning_rate=1e-2, warmup_images=0, decay_from=1.0, ema_decay=0.0,
    random_flip=False, checkpoint_images=4, precision="float32", label_dropout=0.1, label_rate=10, timestep_power=2,
)  # fmt: skip


@pytest.fixture
def denoiser(tiny_unet: UNet2DModel) -> Denoiser:
    return Denoiser(tiny_unet, ScheduleConfig(), "d" * 64)


def batch(number: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    stream = torch.Generator().manual_seed(0)
    return torch.randn(number, 3, 16, 16, generator=stream), torch.randint(K, (number,), generator=stream)


def labelled() -> tuple[torch.Tensor, torch.Tensor]:
    stream = torch.Generator().manual_seed(1)
    return torch.randint(256, (10, 3, 16, 16), generator=stream).to(torch.uint8), torch.arange(10) % K


def trained(denoiser: Denoiser, folder: Path, settings: FinetuningConfig = SETTINGS) -> UNet2DModel:
    return finetune_conditional(denoiser, *labelled(), K, settings, folder, "identity", CPU)


@pytest.mark.parametrize("label", [0, 3, K - 1, K])
def test_at_step_0_every_label_is_the_unconditional_model(tiny_unet: UNet2DModel, label: int) -> None:
    x_t, _ = batch()
    conditional = make_conditional(tiny_unet, K)
    shown = conditional(x_t, 300, class_labels=torch.full((4,), label)).sample
    assert torch.equal(shown, tiny_unet(x_t, 300).sample)


def test_the_null_label_has_a_row_of_its_own(tiny_unet: UNet2DModel) -> None:
    assert make_conditional(tiny_unet, K).class_embedding.weight.shape[0] == K + 1


def test_the_original_is_not_changed(denoiser: Denoiser, tmp_path: Path) -> None:
    before = {name: tensor.clone() for name, tensor in denoiser.unet.state_dict().items()}
    unet = trained(denoiser, tmp_path)
    assert all(torch.equal(tensor, before[name]) for name, tensor in denoiser.unet.state_dict().items())
    assert unet.class_embedding.weight[:K].abs().sum() > 0


def test_the_label_embedding_has_its_own_learning_rate(denoiser: Denoiser, tmp_path: Path) -> None:
    """Zero beside a grown timestep embedding: at the common rate labels stay too small to matter."""
    slow = trained(denoiser, tmp_path / "a", SETTINGS.model_copy(update={"label_rate": 1.0, "learning_rate": 1e-3}))
    fast = trained(denoiser, tmp_path / "b", SETTINGS.model_copy(update={"label_rate": 20.0, "learning_rate": 1e-3}))
    grown = [unet.class_embedding.weight[:K].abs().mean() for unet in (slow, fast)]
    assert grown[1] > 10 * grown[0]


def test_the_layers_that_read_labels_learn_at_their_rate(denoiser: Denoiser, tmp_path: Path) -> None:
    """One step of Adam moves a weight by its learning rate, wherever there is a gradient."""
    step = SETTINGS.model_copy(update={"num_images": 4, "learning_rate": 1e-4, "label_rate": 30.0})
    before = dict(denoiser.unet.named_parameters())
    moved: dict[bool, list[float]] = {True: [], False: []}
    for name, weight in trained(denoiser, tmp_path, step).named_parameters():
        if name != "class_embedding.weight":
            moved["time_emb_proj" in name].append(float((weight - before[name]).abs().max()))
    assert max(moved[True]) == pytest.approx(3e-3, rel=0.2)
    assert max(moved[False]) == pytest.approx(1e-4, rel=0.2)


@pytest.mark.parametrize("power", [1.0, 2.0, 3.0])
def test_timesteps_have_the_configured_density(denoiser: Denoiser, power: float) -> None:
    """A density proportional to t^(p - 1) has the mean p / (p + 1); its standard error here is below 0.004."""
    large = SETTINGS.model_copy(update={"batch_size": 10_000})
    training = DenoiserTraining(denoiser.unet, lambda x_t, *_: x_t, large, denoiser.schedule, CPU, timestep_power=power)
    timesteps = training._draw(torch.zeros(1, 3, 2, 2, dtype=torch.uint8))[3]
    assert (timesteps.double().mean() + 0.5) / 1000 == pytest.approx(power / (power + 1), abs=0.015)
    assert 0 <= timesteps.min() <= timesteps.max() < 1000


def test_training_stops_at_its_number_of_images(denoiser: Denoiser, tmp_path: Path) -> None:
    trained(denoiser, tmp_path)
    lines = (tmp_path / "log.jsonl").read_text().splitlines()
    assert f'"images": {SETTINGS.num_images}' in lines[-1]
    assert len(lines) == SETTINGS.num_images // SETTINGS.checkpoint_images


def test_an_interrupted_training_ends_with_the_same_weights(
    denoiser: Denoiser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = trained(denoiser, tmp_path / "whole")
    plain, taken = DenoiserTraining.train_step, []

    def dies_at_the_fourth(training: DenoiserTraining, images: torch.Tensor) -> float:
        if len(taken) == 3:
            raise KeyboardInterrupt
        taken.append(1)
        return plain(training, images)

    with monkeypatch.context() as patched:
        patched.setattr(DenoiserTraining, "train_step", dies_at_the_fourth)
        with pytest.raises(KeyboardInterrupt):
            trained(denoiser, tmp_path / "parts")
    resumed = trained(denoiser, tmp_path / "parts")
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), resumed.parameters(), strict=True))


def test_labels_are_dropped_to_the_null_label_and_not_in_place() -> None:
    labels = torch.arange(20_000) % K
    before = labels.clone()
    dropped = drop_labels(labels, K, 0.1, torch.Generator().manual_seed(0))
    assert torch.equal(labels, before)
    assert abs(float((dropped == K).double().mean()) - 0.1) < 0.01
    assert torch.equal(dropped[dropped != K], labels[dropped != K])


@pytest.fixture
def conditional(tiny_unet: UNet2DModel) -> Denoiser:
    unet = make_conditional(tiny_unet, K)
    unet.class_embedding.weight.data.normal_(generator=torch.Generator().manual_seed(2))
    return Denoiser(unet.requires_grad_(False).eval(), ScheduleConfig(), "c" * 64)


def test_guidance_leaves_the_callers_labels_alone(conditional: Denoiser) -> None:
    x_t, labels = batch()
    before = labels.clone()
    predict = classifier_free(conditional, labels, 2.0, CPU)
    first = predict(x_t, 500, torch.tensor(0.5))
    assert torch.equal(labels, before)
    assert torch.equal(predict(x_t, 500, torch.tensor(0.5)), first)  # the second call still knows the labels


def test_guidance_is_null_plus_w_times_the_difference(conditional: Denoiser) -> None:
    x_t, labels = batch()
    wanted = conditional.unet(x_t, 500, class_labels=labels).sample
    null = conditional.unet(x_t, 500, class_labels=torch.full_like(labels, K)).sample
    for w in (0.0, 1.0, 2.5):
        found = classifier_free(conditional, labels, w, CPU)(x_t, 500, torch.tensor(0.5))
        assert torch.allclose(found, null + w * (wanted - null), atol=1e-5)
    assert not torch.allclose(wanted, null, atol=1e-3)


def test_a_sample_does_not_depend_on_its_neighbours(conditional: Denoiser) -> None:
    x_t, labels = batch()
    together = classifier_free(conditional, labels, 2.0, CPU)(x_t, 500, torch.tensor(0.5))
    alone = classifier_free(conditional, labels[1:2], 2.0, CPU)(x_t[1:2], 500, torch.tensor(0.5))
    assert torch.allclose(together[1:2], alone, atol=1e-5)


def test_it_belongs_to_the_denoiser_that_it_came_from(denoiser: Denoiser, tmp_path: Path) -> None:
    unet = make_conditional(denoiser.unet, K)
    save_module(unet, unet_config(unet), tmp_path, {"denoiser": denoiser.digest})
    assert load_conditional(tmp_path, denoiser).unet.config.num_class_embeds == K + 1
    with pytest.raises(WeightsError, match="was trained with denoiser"):
        load_conditional(tmp_path, Denoiser(denoiser.unet, denoiser.schedule, "e" * 64))
