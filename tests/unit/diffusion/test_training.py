"""Training of a denoiser: every step is a function of its number, and an interruption leaves no trace."""

import json
import math
import shutil
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from fewshot_diffusion.config.denoiser import ArchitectureConfig, DenoiserConfig, ScheduleConfig
from fewshot_diffusion.data.image_set import ImageSet, save_image_set
from fewshot_diffusion.diffusion.denoiser import load_denoiser, load_pixel_denoiser
from fewshot_diffusion.diffusion.denoiser_training import fit_denoiser, train_denoiser
from fewshot_diffusion.diffusion.schedule import add_noise, make_scheduler, training_target
from fewshot_diffusion.diffusion.training import (
    DenoiserTraining,
    state_file,
    training_identity,
)
from fewshot_diffusion.errors import CheckpointError, StoppedError
from fewshot_diffusion.runtime import CPU
from fewshot_diffusion.seeds import generator
from fewshot_diffusion.storage.checkpoints import CheckpointFolder
from fewshot_diffusion.storage.tensors import read_tensors

RECIPE = {
    "num_images": 24,
    "batch_size": 4,
    "learning_rate": 1e-3,
    "warmup_images": 8,
    "decay_from": 0.5,
    "ema_decay": 0.9,
    "random_flip": True,
    "checkpoint_images": 12,
    "precision": "float32",
}
IMAGES = torch.randint(0, 256, (10, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def config(tiny_architecture: ArchitectureConfig) -> Callable[..., DenoiserConfig]:
    def make(**recipe: object) -> DenoiserConfig:
        schedule = ScheduleConfig()
        return DenoiserConfig(
            source="train", architecture=tiny_architecture, schedule=schedule, training=RECIPE | recipe
        )

    return make


def fit(settings: DenoiserConfig, root: Path, identity: str = "mine") -> dict[str, Tensor]:
    return dict(fit_denoiser(IMAGES, settings, CheckpointFolder(root, identity), CPU).state_dict())


def assert_equal(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def before_step(monkeypatch: pytest.MonkeyPatch, step: int, act: Callable[[], None]) -> None:
    """Let something happen before a step is taken."""
    train_step = DenoiserTraining.train_step

    def acting(self: DenoiserTraining, images: Tensor) -> Tensor:
        if self.step == step:
            act()
        return train_step(self, images)

    monkeypatch.setattr(DenoiserTraining, "train_step", acting)


def interrupt() -> None:
    raise KeyboardInterrupt


class Scale(nn.Module):
    """A network of two numbers, whose every step can be followed by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(0.5))
        self.offset = nn.Parameter(torch.tensor(0.1))

    def forward(self, x_t: Tensor) -> Tensor:
        return self.factor * x_t + self.offset


class Following(DenoiserTraining):
    """A training that keeps what its network was shown."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.shown: list[tuple[Tensor, Tensor, Tensor]] = []


def following(settings: DenoiserConfig, rates: dict[str, float] | None = None) -> Following:
    model = Scale()

    def predict(x_t: Tensor, timesteps: Tensor, index: Tensor) -> Tensor:
        training.shown.append((x_t, timesteps, index))
        return model(x_t)

    training = Following(model, predict, settings.training, settings.schedule, CPU, rates or {})
    return training


# --- one step ---


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("random_flip", [True, False])
def test_a_step_draws_from_the_stream_of_its_seed_and_number(
    config: Callable[..., DenoiserConfig], random_flip: bool, prediction_type: str
) -> None:
    schedule = ScheduleConfig(prediction_type=prediction_type)
    settings = config(seed=7, random_flip=random_flip).model_copy(update={"schedule": schedule})
    training = following(settings)
    training.step = 3
    stream = generator("denoiser training 7", 3)
    index = torch.randint(10, (4,), generator=stream)
    clean = IMAGES[index].float() / 127.5 - 1
    mirrored = torch.rand(4, generator=stream) < 0.5
    assert mirrored.any() and not mirrored.all()
    if random_flip:
        clean[mirrored] = clean[mirrored].flip(-1)
    noise = torch.randn(clean.shape, generator=stream)
    timesteps = torch.randint(1000, (4,), generator=stream)
    alpha_bar_t = make_scheduler(schedule).alphas_cumprod[timesteps].view(-1, 1, 1, 1)
    x_t = add_noise(clean, noise, alpha_bar_t)
    expected = (0.5 * x_t + 0.1 - training_target(clean, noise, alpha_bar_t, prediction_type)).square().mean()

    assert float(training.train_step(IMAGES)) == pytest.approx(float(expected), rel=1e-6)
    assert training.step == 4
    for found, wanted in zip(training.shown[0], (x_t, timesteps, index), strict=True):
        assert torch.equal(found, wanted)


@pytest.mark.parametrize("power", [1.0, 2.0, 0.5])
def test_timesteps_have_the_density_of_their_power(config: Callable[..., DenoiserConfig], power: float) -> None:
    """P(t < x) = (x / 1000)^power."""
    training = following(config(timestep_power=power, batch_size=4000, num_images=4000))
    training.train_step(IMAGES)
    timesteps = training.shown[0][1]
    assert timesteps.dtype == torch.int64
    assert timesteps.min() >= 0 and timesteps.max() <= 999
    for share in (0.1, 0.3, 0.5, 0.8):
        assert float((timesteps < 1000 * share).double().mean()) == pytest.approx(share**power, abs=0.03)
    again = following(config(timestep_power=power, batch_size=4000, num_images=4000))
    again.train_step(IMAGES)
    assert torch.equal(again.shown[0][1], timesteps), "of the step's own stream"


def test_the_average_moves_by_one_minus_its_decay(config: Callable[..., DenoiserConfig]) -> None:
    """After the first step, which it takes over whole; decays beyond 2 / 11 are approached over the first steps."""
    training = following(config(ema_decay=0.15))
    training.train_step(IMAGES)
    average = training.model.factor.item()
    for _ in range(3):
        training.train_step(IMAGES)
        average = 0.15 * average + 0.85 * training.model.factor.item()
    assert training.ema.shadow_params[0].item() == pytest.approx(average, rel=1e-6)
    assert average != pytest.approx(training.model.factor.item(), rel=1e-5)


def test_adam_s_first_step_has_the_size_of_the_learning_rate_and_of_the_parameter_s_own(
    config: Callable[..., DenoiserConfig],
) -> None:
    training = following(config(), rates={"offset": 10.0})
    training.train_step(IMAGES)
    moved = [abs(training.model.factor.item() - 0.5), abs(training.model.offset.item() - 0.1)]
    decay = 0.01  # AdamW's own
    # The first of two warm-up steps: half of the rate.
    assert moved == pytest.approx([5e-4, 5e-3], rel=2 * decay)


def test_gradients_are_clipped_to_norm_one(config: Callable[..., DenoiserConfig]) -> None:
    training = following(config())
    training.model.factor.data.fill_(1000.0)
    training.train_step(IMAGES)
    gradients = torch.stack([parameter.grad for parameter in training.model.parameters()])
    assert float(gradients.norm()) == pytest.approx(1, rel=1e-4)


def test_the_learning_rate_warms_up_stays_and_decays_to_zero(config: Callable[..., DenoiserConfig]) -> None:
    training = following(config(num_images=40, warmup_images=16, decay_from=0.6))
    assert training.total_steps == 10
    rates = []
    for training.step in range(11):
        rates.append(training.learning_rate() / 1e-3)
    decay = [0.5 * (1 + math.cos(math.pi * share)) for share in (0, 0.25, 0.5, 0.75, 1)]
    assert rates == pytest.approx([0.25, 0.5, 0.75, 1, 1, 1, *decay])
    assert following(config(num_images=41, warmup_images=0)).total_steps == 11


def test_training_learns_and_ends_as_its_frozen_average(config: Callable[..., DenoiserConfig], tmp_path: Path) -> None:
    checkpoints = CheckpointFolder(tmp_path, "mine")
    settings = config(num_images=160, learning_rate=5e-3, ema_decay=0.5, checkpoint_images=16, seed=5)
    plain = torch.full((4, 3, 16, 16), 200, dtype=torch.uint8)
    unet = fit_denoiser(plain, settings, checkpoints, CPU)
    losses = [json.loads(line)["loss"] for line in (tmp_path / "mine" / "log.jsonl").read_text().splitlines()]
    assert len(losses) == 10
    assert losses[-1] < 0.6 * losses[0]
    final = read_tensors(state_file(checkpoints))[0]
    for i, parameter in enumerate(unet.parameters()):
        assert torch.equal(parameter, final[f"{i}.average"])
        assert not parameter.requires_grad
    assert any(not torch.equal(final[f"{i}.average"], final[f"{i}.parameter"]) for i in range(5))
    assert not any(module.training for module in unet.modules())


# --- interrupted and resumed ---


@pytest.mark.parametrize("stop", [3, 5])
def test_a_resumed_training_equals_an_uninterrupted_one_bit_for_bit(
    config: Callable[..., DenoiserConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: int
) -> None:
    whole = fit(config(), tmp_path / "whole")
    state = tmp_path / "parts" / "mine" / "state.safetensors"
    with monkeypatch.context() as patch:
        before_step(patch, stop, interrupt)
        with pytest.raises(KeyboardInterrupt):
            fit(config(), tmp_path / "parts")
    kept, about = read_tensors(state)
    assert about == {"step": 3, "identity": "mine"}
    assert_equal(fit(config(), tmp_path / "parts"), whole)
    # Weights, averages and both moments of every parameter.
    final = read_tensors(state)[0]
    assert_equal(final, read_tensors(tmp_path / "whole" / "mine" / "state.safetensors")[0])
    assert {name.split(".")[1] for name in final} == {"parameter", "average", "exp_avg", "exp_avg_sq"}
    # There was something left to get wrong.
    assert not any(torch.equal(kept[name], final[name]) for name in final)
    log = (tmp_path / "parts" / "mine" / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["images"] for line in log] == [12, 24]


def test_a_finished_training_is_not_trained_again(
    config: Callable[..., DenoiserConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = fit(config(), tmp_path)
    monkeypatch.setattr(DenoiserTraining, "train_step", lambda *_: interrupt())
    assert_equal(fit(config(), tmp_path), first)


def test_sigterm_keeps_the_step_it_comes_in(
    config: Callable[..., DenoiserConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = config(checkpoint_images=24)
    whole = fit(settings, tmp_path / "whole")
    before = signal.getsignal(signal.SIGTERM)
    # In the second step, and in the last one: nothing is left to stop there.
    for step in (1, 5):
        before_step(monkeypatch, step, lambda: signal.raise_signal(signal.SIGTERM))
    with pytest.raises(StoppedError, match=r"after step 2 of 6; .*state\.safetensors holds it.*same command again"):
        fit(settings, tmp_path / "parts")
    assert signal.getsignal(signal.SIGTERM) == before
    assert_equal(fit(settings, tmp_path / "parts"), whole)


def test_a_training_in_another_thread_leaves_signals_alone(
    config: Callable[..., DenoiserConfig], tmp_path: Path
) -> None:
    with ThreadPoolExecutor(1) as threads:
        threads.submit(fit, config(num_images=4), tmp_path).result()
    assert (tmp_path / "mine" / "state.safetensors").is_file()


def test_a_state_of_another_training_is_refused(config: Callable[..., DenoiserConfig], tmp_path: Path) -> None:
    fit(config(num_images=4), tmp_path, "theirs")
    shutil.copytree(tmp_path / "theirs", tmp_path / "mine")
    with pytest.raises(CheckpointError, match=r"state\.safetensors: written by computation theirs, expected mine"):
        fit(config(num_images=4), tmp_path)


def test_a_training_is_identified_by_recipe_data_and_precision() -> None:
    bfloat16 = replace(CPU, dtype=torch.bfloat16)
    runs = [({"recipe": 1}, CPU), ({"recipe": 2}, CPU), ({"recipe": 1, "images": "0"}, CPU), ({"recipe": 1}, bfloat16)]
    assert len({training_identity(*run) for run in runs}) == 4
    assert training_identity({"recipe": 1}, CPU) == training_identity({"recipe": 1}, CPU)


def test_the_job_reads_a_split_and_writes_a_denoiser_with_its_schedule(
    config: Callable[..., DenoiserConfig], tmp_path: Path
) -> None:
    split = ImageSet(IMAGES, torch.arange(10), pd.DataFrame({"A": [True, False] * 5}))
    save_image_set(split, tmp_path / "train.parquet", {})
    train_denoiser(config(), tmp_path / "train.parquet", tmp_path / "states", tmp_path / "denoiser", device="cpu")
    denoiser = load_denoiser(tmp_path / "denoiser", CPU)
    assert denoiser.schedule == ScheduleConfig()
    assert_equal(dict(denoiser.unet.state_dict()), fit(config(), tmp_path))
    (folder,) = (tmp_path / "states").iterdir()
    other = config(seed=1)
    train_denoiser(other, tmp_path / "train.parquet", tmp_path / "states", tmp_path / "other", device="cpu")
    assert folder in (tmp_path / "states").iterdir()
    assert len(list((tmp_path / "states").iterdir())) == 2
    assert load_denoiser(tmp_path / "other", CPU).digest != denoiser.digest


def test_a_refinement_begins_at_the_average_of_the_training_before(
    config: Callable[..., DenoiserConfig], tmp_path: Path
) -> None:
    """At rate zero it is the start; with a rate it moves; each has a state of its own, which depends on the start."""
    split = ImageSet(IMAGES, torch.arange(10), pd.DataFrame({"A": [True, False] * 5}))
    save_image_set(split, tmp_path / "train.parquet", {})
    plain = config()
    states = tmp_path / "states"

    def job(folder: str, *rates: float) -> tuple[dict[str, Tensor], int]:
        """Return the weights after as many refinements as there are rates, and how many states were added."""
        changes = [{"seed": 1 + number, "warmup_images": 0, "learning_rate": rate} for number, rate in enumerate(rates)]
        recipes = [plain.training.model_copy(update=change) for change in changes]
        before = len(list(states.glob("*")))
        settings = plain.model_copy(update={"refinements": recipes})
        train_denoiser(settings, tmp_path / "train.parquet", states, tmp_path / folder, "cpu")
        return dict(load_pixel_denoiser(tmp_path / folder, CPU).unet.state_dict()), len(list(states.glob("*"))) - before

    first, _ = job("first")
    still, added = job("still", 1e-30)
    assert added == 1, "the first training was there"
    assert_equal(still, first)
    (moved, _), (twice, added) = job("moved", 1e-3), job("twice", 1e-3, 1e-30)
    assert added == 1
    assert_equal(twice, moved)
    assert any(not torch.equal(moved[name], first[name]) for name in first)
    _, added = job("other", 1e-30, 1e-3)
    assert added == 1, "another start, another training"
