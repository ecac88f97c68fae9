"""Denoisers: training that can be interrupted anywhere, weights folders that cannot be mistaken."""

import json
import math
import signal
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import UNet2DModel
from torch import Tensor

from fewshot_diffusion.config.denoiser import ArchitectureConfig, DenoiserConfig, ScheduleConfig
from fewshot_diffusion.diffusion.denoiser import (
    Denoiser,
    adopt_denoiser,
    build_unet,
    check_fits,
    install_denoiser,
    load_denoiser,
    unet_config,
)
from fewshot_diffusion.diffusion.training import DenoiserTraining, train_denoiser
from fewshot_diffusion.errors import CheckpointError, CorruptFileError, StoppedError, WeightsError
from fewshot_diffusion.runtime import CPU
from fewshot_diffusion.storage.tensors import read_tensors
from fewshot_diffusion.storage.weights import WEIGHTS_FILES, save_module


def settings(architecture: ArchitectureConfig, **training: object) -> DenoiserConfig:
    recipe = {
        "num_images": 24,
        "batch_size": 4,
        "learning_rate": 1e-3,
        "warmup_images": 8,
        "decay_from": 0.5,
        "ema_decay": 0.9,
        "random_flip": True,
        "checkpoint_images": 12,
    }
    return DenoiserConfig(
        source="train", architecture=architecture, schedule=ScheduleConfig(), training=recipe | training
    )


def images() -> Tensor:
    return torch.randint(0, 256, (10, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def state(folder: Path) -> dict[str, Tensor]:
    return read_tensors(folder / "state.safetensors")[0]


def assert_equal_states(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def stop_before_step(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Interrupt a training as a signal does."""
    train_step = DenoiserTraining.train_step

    def stopping(self: DenoiserTraining, data: Tensor) -> float:
        if self.step == step:
            raise KeyboardInterrupt
        return train_step(self, data)

    monkeypatch.setattr(DenoiserTraining, "train_step", stopping)


# --- training ---


@pytest.mark.parametrize("stop", [3, 5])
def test_a_resumed_training_equals_an_uninterrupted_one_bit_for_bit(
    tiny_architecture: ArchitectureConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: int
) -> None:
    config = settings(tiny_architecture)
    whole = train_denoiser(images(), config, tmp_path / "whole", "mine", CPU)
    with monkeypatch.context() as patch:
        stop_before_step(patch, stop)
        with pytest.raises(KeyboardInterrupt):
            train_denoiser(images(), config, tmp_path / "parts", "mine", CPU)
    checkpoint, provenance = read_tensors(tmp_path / "parts" / "state.safetensors")
    assert provenance["step"] == 3
    resumed = train_denoiser(images(), config, tmp_path / "parts", "mine", CPU)
    assert_equal_states(dict(resumed.state_dict()), dict(whole.state_dict()))
    # Weights, averages and both moments of every parameter.
    final = state(tmp_path / "whole")
    assert_equal_states(state(tmp_path / "parts"), final)
    assert {name.split(".")[1] for name in final} == {"parameter", "average", "exp_avg", "exp_avg_sq"}
    # There was something left to get wrong.
    assert not any(torch.equal(checkpoint[name], final[name]) for name in final)
    assert len((tmp_path / "parts" / "log.jsonl").read_text().splitlines()) == 2


def training_of(architecture: ArchitectureConfig, config: DenoiserConfig) -> DenoiserTraining:
    unet = build_unet(architecture, 16)
    return DenoiserTraining(unet, lambda x_t, t, _: unet(x_t, t).sample, config.training, config.schedule, CPU)


def test_a_restored_training_takes_the_steps_of_the_original(
    tiny_architecture: ArchitectureConfig, tmp_path: Path
) -> None:
    config = settings(tiny_architecture)

    def fresh(seed: int) -> DenoiserTraining:
        torch.manual_seed(seed)
        return training_of(tiny_architecture, config)

    original, restored = fresh(0), fresh(1)
    for _ in range(3):
        original.train_step(images())
    original.save(tmp_path / "state.safetensors", "mine")
    restored.restore(tmp_path / "state.safetensors", "mine")
    for _ in range(3):
        assert restored.learning_rate() == original.learning_rate()
        assert restored.train_step(images()) == original.train_step(images())
    for one, other in zip(restored.model.parameters(), original.model.parameters(), strict=True):
        assert torch.equal(one, other)
        for moment in ("step", "exp_avg", "exp_avg_sq"):
            assert torch.equal(restored.optimizer.state[one][moment], original.optimizer.state[other][moment])
    for one, other in zip(restored.ema.shadow_params, original.ema.shadow_params, strict=True):
        assert torch.equal(one, other)
    assert restored.ema.get_decay(restored.ema.optimization_step) == original.ema.get_decay(
        original.ema.optimization_step
    )


def test_a_finished_training_is_not_trained_again(
    tiny_architecture: ArchitectureConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = settings(tiny_architecture, num_images=8)
    first = train_denoiser(images(), config, tmp_path, "mine", CPU)
    stop_before_step(monkeypatch, 2)
    again = train_denoiser(images(), config, tmp_path, "mine", CPU)
    assert_equal_states(dict(again.state_dict()), dict(first.state_dict()))


def test_sigterm_keeps_the_step_it_comes_in(
    tiny_architecture: ArchitectureConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = settings(tiny_architecture, checkpoint_images=24)
    whole = train_denoiser(images(), config, tmp_path / "whole", "mine", CPU)
    before = signal.getsignal(signal.SIGTERM)
    train_step = DenoiserTraining.train_step

    def signalled(self: DenoiserTraining, data: Tensor) -> float:
        if self.step in (1, 5):  # in the second step, and in the last one: nothing is left to stop there
            signal.raise_signal(signal.SIGTERM)
        return train_step(self, data)

    monkeypatch.setattr(DenoiserTraining, "train_step", signalled)
    with pytest.raises(StoppedError, match=r"after step 2 of 6; .*state\.safetensors holds it"):
        train_denoiser(images(), config, tmp_path / "parts", "mine", CPU)
    assert signal.getsignal(signal.SIGTERM) == before
    resumed = train_denoiser(images(), config, tmp_path / "parts", "mine", CPU)
    assert_equal_states(dict(resumed.state_dict()), dict(whole.state_dict()))
    assert_equal_states(state(tmp_path / "parts"), state(tmp_path / "whole"))


def test_a_training_in_another_thread_leaves_signals_alone(
    tiny_architecture: ArchitectureConfig, tmp_path: Path
) -> None:
    config = settings(tiny_architecture, num_images=4)
    with ThreadPoolExecutor(1) as threads:
        threads.submit(train_denoiser, images(), config, tmp_path, "mine", CPU).result()
    assert (tmp_path / "state.safetensors").is_file()


def test_a_checkpoint_of_another_training_is_refused(tiny_architecture: ArchitectureConfig, tmp_path: Path) -> None:
    config = settings(tiny_architecture, num_images=4)
    train_denoiser(images(), config, tmp_path, "theirs", CPU)
    with pytest.raises(CheckpointError, match=r"state\.safetensors: written by training theirs, expected mine"):
        train_denoiser(images(), config, tmp_path, "mine", CPU)


def test_a_truncated_checkpoint_is_refused(tiny_architecture: ArchitectureConfig, tmp_path: Path) -> None:
    config = settings(tiny_architecture, num_images=4)
    train_denoiser(images(), config, tmp_path, "mine", CPU)
    path = tmp_path / "state.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CorruptFileError, match=r"state\.safetensors"):
        train_denoiser(images(), config, tmp_path, "mine", CPU)


def test_the_result_is_the_moving_average_and_differs_from_the_last_weights(
    tiny_architecture: ArchitectureConfig, tmp_path: Path
) -> None:
    unet = train_denoiser(images(), settings(tiny_architecture), tmp_path, "mine", CPU)
    final = state(tmp_path)
    for i, parameter in enumerate(unet.parameters()):
        assert torch.equal(parameter, final[f"{i}.average"])
    assert any(not torch.equal(final[f"{i}.average"], final[f"{i}.parameter"]) for i in range(5))
    assert not unet.training


def test_the_learning_rate_warms_up_stays_and_decays_to_zero(tiny_architecture: ArchitectureConfig) -> None:
    config = settings(tiny_architecture, num_images=40, warmup_images=16, decay_from=0.6)
    training = training_of(tiny_architecture, config)
    assert training.total_steps == 10
    rates = []
    for training.step in range(11):
        rates.append(training.learning_rate() / 1e-3)
    decay = [0.5 * (1 + math.cos(math.pi * share)) for share in (0, 0.25, 0.5, 0.75, 1)]
    assert rates == pytest.approx([0.25, 0.5, 0.75, 1, 1, 1, *decay])


def test_a_step_draws_from_the_stream_of_its_seed_and_number(tiny_architecture: ArchitectureConfig) -> None:
    def draws(seed: int, step: int) -> list[Tensor]:
        config = settings(tiny_architecture, seed=seed)
        training = training_of(tiny_architecture, config)
        training.step = step
        return list(training._draw(images()))

    def same(one: list[Tensor], other: list[Tensor]) -> list[bool]:
        return [torch.equal(*pair) for pair in zip(one, other, strict=True)]

    assert same(draws(0, 3), draws(0, 3)) == [True] * 4
    assert same(draws(0, 3), draws(0, 4)) == [False] * 4
    assert same(draws(0, 3), draws(1, 3)) == [False] * 4
    index, clean, _, timesteps = draws(0, 3)
    for drawn, image in zip(clean, images()[index].float() / 127.5 - 1, strict=True):
        assert torch.equal(drawn, image) or torch.equal(drawn, image.flip(-1))
    assert -1 <= float(clean.min()) < -0.9 and 0.9 < float(clean.max()) <= 1
    assert timesteps.shape == (4,)


def test_training_learns(tiny_architecture: ArchitectureConfig) -> None:
    config = settings(tiny_architecture, num_images=400, learning_rate=5e-3, ema_decay=0.5)
    torch.manual_seed(0)
    training = training_of(tiny_architecture, config)
    plain = torch.full((4, 3, 16, 16), 200, dtype=torch.uint8)
    losses = [training.train_step(plain) for _ in range(40)]
    assert sum(losses[-5:]) < 0.6 * sum(losses[:5])


# --- folders ---


@pytest.fixture
def folder(tiny_unet: UNet2DModel, tmp_path: Path) -> Path:
    save_module(tiny_unet, unet_config(tiny_unet), tmp_path, {"schedule": ScheduleConfig().model_dump()})
    return tmp_path


def outputs(unet: UNet2DModel) -> Tensor:
    x_t = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        return unet(x_t, 321).sample


def test_a_loaded_denoiser_is_the_saved_one_frozen_in_eval_mode(tiny_unet: UNet2DModel, folder: Path) -> None:
    tiny_unet.train().requires_grad_(True)
    denoiser = load_denoiser(folder, CPU)
    assert torch.equal(outputs(denoiser.unet), outputs(tiny_unet))
    assert not any(module.training for module in denoiser.unet.modules())
    assert not any(parameter.requires_grad for parameter in denoiser.unet.parameters())
    assert denoiser.digest == load_denoiser(folder, CPU).digest
    assert denoiser.schedule == ScheduleConfig()
    assert denoiser.sample_shape == (3, 16, 16)


def test_the_digest_tells_weights_and_schedules_apart(tiny_unet: UNet2DModel, tmp_path: Path) -> None:
    """The same weights under another schedule make other samples: their work units must not be taken for these."""
    digests = set()
    for k, (prediction_type, shift) in enumerate([("epsilon", 0.0), ("v_prediction", 0.0), ("epsilon", 1.0)]):
        tiny_unet.conv_out.bias.data += shift
        schedule = ScheduleConfig(prediction_type=prediction_type).model_dump()
        save_module(tiny_unet, unet_config(tiny_unet), tmp_path / str(k), {"schedule": schedule})
        digests.add(load_denoiser(tmp_path / str(k), CPU).digest)
    assert len(digests) == 3


def test_diffusers_loads_the_folder(tiny_unet: UNet2DModel, folder: Path) -> None:
    found = UNet2DModel.from_pretrained(folder, local_files_only=True)
    assert torch.equal(outputs(found), outputs(tiny_unet))


def test_a_folder_that_diffusers_wrote_holds_the_same_weights(tiny_unet: UNet2DModel, folder: Path) -> None:
    tiny_unet.save_pretrained(folder / "theirs")
    assert {path.name for path in (folder / "theirs").iterdir()} == set(WEIGHTS_FILES[:2])
    schedule = json.loads((folder / "provenance.json").read_text())["schedule"]
    adopt_denoiser(folder / "theirs", ScheduleConfig.model_validate(schedule))
    assert torch.equal(outputs(load_denoiser(folder / "theirs", CPU).unet), outputs(tiny_unet))


@pytest.mark.parametrize("name", WEIGHTS_FILES)
def test_a_missing_file_is_named_with_the_way_out(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(WeightsError, match=rf"{name} is missing\. Run `make restore`"):
        load_denoiser(folder, CPU)


@pytest.mark.parametrize("name", WEIGHTS_FILES[:2])
@pytest.mark.parametrize("position", [0.1, 0.5, 0.999])
def test_a_flipped_byte_is_found_and_its_file_named(folder: Path, name: str, position: float) -> None:
    data = bytearray((folder / name).read_bytes())
    data[int(position * len(data))] ^= 1
    (folder / name).write_bytes(data)
    with pytest.raises(CorruptFileError, match=f"{name}: has another SHA-256"):
        load_denoiser(folder, CPU)


@pytest.mark.parametrize("name", WEIGHTS_FILES[:2])
def test_a_record_that_leaves_a_file_out_is_refused(folder: Path, name: str) -> None:
    provenance = json.loads((folder / "provenance.json").read_text())
    del provenance["sha256"][name]
    (folder / "provenance.json").write_text(json.dumps(provenance))
    with pytest.raises(CorruptFileError, match=r"provenance\.json"):
        load_denoiser(folder, CPU)


def test_an_edited_record_is_refused(folder: Path) -> None:
    path = folder / "provenance.json"
    edited = path.read_text().replace("v_prediction", "epsilon")
    assert edited != path.read_text()
    path.write_text(edited)
    with pytest.raises(CorruptFileError, match=r"provenance\.json: was changed"):
        load_denoiser(folder, CPU)


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"sha256": 5}'])
def test_a_record_that_is_none_is_refused(folder: Path, text: str) -> None:
    (folder / "provenance.json").write_text(text)
    with pytest.raises(CorruptFileError, match=r"provenance\.json"):
        load_denoiser(folder, CPU)


def test_a_folder_without_a_schedule_is_refused(tiny_unet: UNet2DModel, tmp_path: Path) -> None:
    save_module(tiny_unet, unet_config(tiny_unet), tmp_path, {})
    with pytest.raises(WeightsError, match="no 'schedule'"):
        load_denoiser(tmp_path, CPU)


@pytest.mark.parametrize("change", [{"block_out_channels": [8, 24]}, {"layers_per_block": 2}, {"norm_num_groups": 3}])
def test_weights_of_another_shape_are_refused(
    tiny_unet: UNet2DModel, tmp_path: Path, change: dict[str, object]
) -> None:
    config = unet_config(tiny_unet) | change
    save_module(tiny_unet, config, tmp_path, {"schedule": ScheduleConfig().model_dump()})
    with pytest.raises(WeightsError, match=r"the weights do not fit config\.json"):
        load_denoiser(tmp_path, CPU)


@pytest.mark.parametrize(
    "key",
    ["sample_size", "block_out_channels", "layers_per_block", "norm_num_groups", "attention_head_dim", "schedule"],
)
def test_a_denoiser_that_is_not_the_configured_one_is_refused_by_key(
    tiny_denoiser: Denoiser, tiny_architecture: ArchitectureConfig, key: str
) -> None:
    config, image_size = settings(tiny_architecture), 16
    check_fits(tiny_denoiser, config, image_size)
    if key == "sample_size":
        image_size = 32
    elif key == "schedule":
        tiny_denoiser = replace(tiny_denoiser, schedule=ScheduleConfig(prediction_type="epsilon"))
    else:
        other = {"block_out_channels": (8, 32)}.get(key, 2)
        config = settings(tiny_architecture.model_copy(update={key: other}))
    with pytest.raises(WeightsError, match=rf"denoiser\.{key}: the weights have .*, the configuration expects"):
        check_fits(tiny_denoiser, config, image_size)


def test_a_folder_of_ones_own_brings_its_architecture(
    tiny_denoiser: Denoiser, tiny_architecture: ArchitectureConfig
) -> None:
    other = tiny_architecture.model_copy(update={"block_out_channels": (8, 32)})
    config = settings(other).model_copy(update={"source": "folder", "folder": Path("mine")})
    check_fits(tiny_denoiser, config, 16)
    with pytest.raises(WeightsError, match="sample_size"):
        check_fits(tiny_denoiser, config, 32)


def test_installing_copies_what_fits_and_nothing_else(
    folder: Path, tiny_architecture: ArchitectureConfig, tmp_path: Path
) -> None:
    install_denoiser(folder, tmp_path / "installed", settings(tiny_architecture), 16)
    for name in WEIGHTS_FILES:
        assert (tmp_path / "installed" / name).read_bytes() == (folder / name).read_bytes()
    with pytest.raises(WeightsError, match=r"denoiser\.sample_size"):
        install_denoiser(folder, tmp_path / "refused", settings(tiny_architecture), 32)
    assert not (tmp_path / "refused").exists()
