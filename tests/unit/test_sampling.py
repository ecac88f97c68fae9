"""Sampling in work units: a sample is a function of the settings and its seed, nothing else."""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from fewshot_diffusion.config.denoiser import ScheduleConfig
from fewshot_diffusion.config.sampling import SamplingConfig
from fewshot_diffusion.diffusion.denoiser import Denoiser
from fewshot_diffusion.diffusion.guidance import Predictor, ReadoutGuidance, guided, unguided
from fewshot_diffusion.diffusion.samples import SampleSet, load_samples, save_samples
from fewshot_diffusion.diffusion.sampling import WorkUnit, draw_units, plan_units, sample_ddim, share_units
from fewshot_diffusion.diffusion.schedule import make_scheduler
from fewshot_diffusion.errors import CheckpointError, CorruptFileError
from fewshot_diffusion.images import to_uint8
from fewshot_diffusion.runtime import CPU
from fewshot_diffusion.seeds import SampleNoise, derive_seed, generator

STEPS = 3
UNIT_SIZE = 3


def settings(**changes: object) -> SamplingConfig:
    base = {
        "num_inference_steps": STEPS,
        "eta": 0.5,
        "timestep_spacing": "leading",
        "clip_sample": True,
        "guidance_interval": [0, 999],
        "unit_size": UNIT_SIZE,
        "units_per_target": 7,
        "units_unguided": 7,
        "shards_per_target": 1,
        "shards_unguided": 1,
    }
    return SamplingConfig.model_validate(base | changes)


def make_predictor(denoiser: Denoiser) -> Predictor:
    """A guided one: the gradient, too, must not depend on the batch mates."""

    def log_likelihood(maps: list[Tensor], timestep: int) -> Tensor:
        return torch.nn.functional.logsigmoid(torch.sin(maps[0]).mean((1, 2, 3)))

    return guided(ReadoutGuidance(denoiser, log_likelihood, ["mid_block"], CPU), 5.0, "v_prediction")


class Counting:
    """Counts the batches of a work unit's size; the counting of FLOPs uses single samples."""

    def __init__(self, predict: Predictor) -> None:
        self.predict = predict
        self.steps = 0

    def __call__(self, x_t: Tensor, timestep: int, alpha_bar_t: Tensor) -> Tensor:
        self.steps += len(x_t) == UNIT_SIZE
        return self.predict(x_t, timestep, alpha_bar_t)


def draw(
    denoiser: Denoiser,
    units: list[WorkUnit],
    checkpoints: Path,
    identity: str = "mine",
    predict: Predictor | None = None,
) -> SampleSet:
    predict = predict or make_predictor(denoiser)
    return draw_units(units, lambda _: predict, denoiser, settings(), CPU, checkpoints, identity)[0]


# --- planning ---

counts = st.integers(0, 60)


@given(first_seed=st.integers(0, 10**6), units=counts, unit_size=st.integers(1, 50), shards=st.integers(1, 70))
def test_every_seed_is_drawn_once_whatever_the_number_of_jobs(
    first_seed: int, units: int, unit_size: int, shards: int
) -> None:
    planned = plan_units(first_seed, units, unit_size)
    shares = [share_units(planned, shard, shards) for shard in range(shards)]
    assert [unit for share in shares for unit in share] == planned
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    seeds = [seed for unit in planned for seed in unit.seeds]
    assert seeds == list(range(first_seed, first_seed + units * unit_size))
    assert [unit.index for unit in planned] == list(range(units))
    assert all(len(unit.seeds) == unit_size for unit in planned)


@given(units=counts, more=counts, unit_size=st.integers(1, 50))
def test_more_units_change_none(units: int, more: int, unit_size: int) -> None:
    assert plan_units(5, units + more, unit_size)[:units] == plan_units(5, units, unit_size)


# --- noise ---


def test_rows_of_noise_depend_on_their_own_seed_alone() -> None:
    together = SampleNoise([5, 2, 9], (3, 4, 4), CPU.device)
    alone = {seed: SampleNoise([seed], (3, 4, 4), CPU.device) for seed in (9, 2, 5)}
    draws = []
    for _ in range(3):
        drawn = together.draw()
        assert torch.equal(drawn, torch.cat([alone[seed].draw() for seed in (5, 2, 9)]))
        draws += list(drawn)
    assert all(not torch.equal(one, other) for i, one in enumerate(draws) for other in draws[:i])


def test_streams_of_two_purposes_differ() -> None:
    seeds = {derive_seed(purpose, seed) for purpose in ("sampling", "rejection") for seed in range(100)}
    assert len(seeds) == 200
    assert torch.equal(torch.randn(4, generator=generator("a", 1)), torch.randn(4, generator=generator("a", 1)))
    assert not torch.equal(torch.randn(4, generator=generator("a", 1)), torch.randn(4, generator=generator("b", 1)))


# --- the step ---


class GivenNoise:
    """A start of ones; then the same given noise at every step."""

    def __init__(self, value: float) -> None:
        self.value = value
        self.draws = 0

    def draw(self) -> Tensor:
        self.draws += 1
        return torch.full((1, 1, 2, 2), 1.0 if self.draws == 1 else self.value, dtype=torch.float64)


def trajectory(num_inference_steps: int, eta: float, noise: float) -> tuple[Tensor, list[int]]:
    """States and timesteps of a sampling whose denoiser always predicts a noise of 0.3."""
    states, timesteps = [], []

    def predict(x_t: Tensor, timestep: int, alpha_bar_t: Tensor) -> Tensor:
        states.append(float(x_t[0, 0, 0, 0]))
        timesteps.append(timestep)
        return torch.full_like(x_t, 0.3)

    scheduler = make_scheduler(
        ScheduleConfig(beta_schedule="linear", prediction_type="epsilon"), timestep_spacing="leading"
    )
    given_noise = GivenNoise(noise)
    last = sample_ddim(predict, scheduler, given_noise, num_inference_steps, eta)
    assert given_noise.draws == (1 + num_inference_steps if eta else 1)
    return torch.tensor([*states, float(last[0, 0, 0, 0])], dtype=torch.float64), timesteps


@pytest.mark.parametrize("num_inference_steps", [5, 1000])
def test_eta_one_has_the_posterior_variance_of_the_subsequence(num_inference_steps: int) -> None:
    scheduler = make_scheduler(ScheduleConfig(beta_schedule="linear"))
    states, timesteps = trajectory(num_inference_steps, 1.0, 0.5)
    assert timesteps == list(range(0, 1000, 1000 // num_inference_steps))[::-1]
    alpha_bars = scheduler.alphas_cumprod.double()[timesteps]
    before = torch.cat([alpha_bars[1:], torch.ones(1, dtype=torch.float64)])
    beta = 1 - alpha_bars / before
    variance = beta * (1 - before) / (1 - alpha_bars)
    x0_hat = (states[:-1] - (1 - alpha_bars).sqrt() * 0.3) / alpha_bars.sqrt()
    # Ho et al. 2020, equation 7: mean and variance of q(x_{t-1} | x_t, x_0) of the subsequence's own chain.
    mean = before.sqrt() * beta / (1 - alpha_bars) * x0_hat
    mean += (1 - beta).sqrt() * (1 - before) / (1 - alpha_bars) * states[:-1]
    torch.testing.assert_close(states[1:], mean + 0.5 * variance.sqrt(), rtol=1e-3, atol=1e-3)
    assert float(variance[0]) > 1e-3
    assert float(variance[-1]) == 0


def test_eta_scales_the_deviation_and_zero_draws_no_noise() -> None:
    def first_deviation(eta: float) -> float:
        return float(trajectory(5, eta, 1.0)[0][1] - trajectory(5, eta, 0.0)[0][1])

    whole = first_deviation(1.0)
    assert whole > 0.1
    assert first_deviation(0.25) == pytest.approx(0.25 * whole, rel=1e-6)
    assert first_deviation(0.0) == 0


def test_the_predictor_is_given_the_schedule_of_its_timestep(tiny_denoiser: Denoiser) -> None:
    scheduler = make_scheduler(tiny_denoiser.schedule, timestep_spacing="leading")
    seen = []

    def predict(x_t: Tensor, timestep: int, alpha_bar_t: Tensor) -> Tensor:
        seen.append((timestep, float(alpha_bar_t), alpha_bar_t.dtype))
        return torch.zeros_like(x_t)

    sample_ddim(predict, scheduler, SampleNoise([0], (3, 4, 4), CPU.device), 4, 0.0)
    expected = [(t, float(scheduler.alphas_cumprod[t]), torch.float32) for t in (750, 500, 250, 0)]
    assert seen == expected


# --- batches and shards ---


def test_the_batch_size_hardly_changes_a_sample(tiny_denoiser: Denoiser) -> None:
    scheduler, predict = make_scheduler(tiny_denoiser.schedule, True, "leading"), make_predictor(tiny_denoiser)

    def drawn(unit_size: int) -> Tensor:
        batches = [range(start, min(start + unit_size, 8)) for start in range(0, 8, unit_size)]
        noises = [SampleNoise(seeds, tiny_denoiser.sample_shape, CPU.device) for seeds in batches]
        return torch.cat([sample_ddim(predict, scheduler, noise, STEPS, 0.5) for noise in noises])

    by_one = drawn(1)
    for unit_size in (3, 8):
        torch.testing.assert_close(drawn(unit_size), by_one, rtol=0, atol=1e-4)
    # Not because clipping makes all of them alike.
    assert float((by_one[0] - by_one[1]).abs().mean()) > 0.05


def test_images_are_equal_byte_for_byte_for_any_number_of_shards(tiny_denoiser: Denoiser, tmp_path: Path) -> None:
    units = plan_units(10, 7, UNIT_SIZE)
    sets = {}
    for shards in (1, 2, 3, 5, 8):
        paths = []
        for shard in range(shards):
            samples = draw(tiny_denoiser, share_units(units, shard, shards), tmp_path / f"{shards}" / f"{shard}")
            paths.append(tmp_path / f"{shards}-{shard}.safetensors")
            save_samples(samples, paths[-1], {})
        sets[shards] = load_samples(paths)
    assert sets[1].seeds.tolist() == list(range(10, 31))
    assert len(sets[1].images.flatten(1).unique(dim=0)) == 21
    assert sets[1].images.shape == (21, 3, 16, 16)
    for shards in (2, 3, 5):
        assert torch.equal(sets[shards].images, sets[1].images)
        assert torch.equal(sets[shards].seeds, sets[1].seeds)
        assert sets[shards].forwards_per_sample == sets[1].forwards_per_sample


def test_more_units_leave_the_first_ones_as_they_were(tiny_denoiser: Denoiser, tmp_path: Path) -> None:
    few = draw(tiny_denoiser, plan_units(0, 2, UNIT_SIZE), tmp_path / "few")
    many = draw(tiny_denoiser, plan_units(0, 4, UNIT_SIZE), tmp_path / "many")
    assert len(many.images) == 12
    assert torch.equal(many.images[:6], few.images)


def test_a_share_without_units_is_empty(tiny_denoiser: Denoiser, tmp_path: Path) -> None:
    empty, one = draw(tiny_denoiser, [], tmp_path), draw(tiny_denoiser, plan_units(0, 1, UNIT_SIZE), tmp_path)
    assert empty.images.shape == (0, 3, 16, 16)
    assert empty.seeds.dtype == one.seeds.dtype
    assert empty.forwards_per_sample == one.forwards_per_sample


def test_the_cost_is_that_of_all_steps(tiny_denoiser: Denoiser, tmp_path: Path) -> None:
    units = plan_units(0, 1, UNIT_SIZE)
    plain = draw(tiny_denoiser, units, tmp_path / "plain", predict=unguided(tiny_denoiser, CPU))
    assert plain.forwards_per_sample == STEPS
    assert draw(tiny_denoiser, units, tmp_path / "guided").forwards_per_sample > 1.05 * STEPS


# --- resuming ---


def test_a_finished_unit_is_not_drawn_again_and_a_missing_one_is(tiny_denoiser: Denoiser, tmp_path: Path) -> None:
    units = plan_units(0, 3, UNIT_SIZE)
    predict = Counting(make_predictor(tiny_denoiser))

    def drawn() -> tuple[SampleSet, int]:
        predict.steps = 0
        return draw(tiny_denoiser, units, tmp_path, predict=predict), predict.steps

    first, steps = drawn()
    assert steps == 3 * STEPS
    for suffix, expected in [(None, 0), (".safetensors", STEPS), (".json", STEPS)]:
        if suffix is not None:
            (tmp_path / f"unit-00000003{suffix}").unlink()
        again, steps = drawn()
        assert steps == expected
        assert torch.equal(again.images, first.images)
        assert torch.equal(again.seeds, first.seeds)


def test_drawing_continues_where_it_was_interrupted(tiny_denoiser: Denoiser, tmp_path: Path) -> None:
    units = plan_units(0, 3, UNIT_SIZE)
    inner = Counting(make_predictor(tiny_denoiser))

    def interrupted(x_t: Tensor, timestep: int, alpha_bar_t: Tensor) -> Tensor:
        if inner.steps == STEPS + 1:
            raise KeyboardInterrupt
        return inner(x_t, timestep, alpha_bar_t)

    with pytest.raises(KeyboardInterrupt):
        draw(tiny_denoiser, units, tmp_path / "resumed", predict=interrupted)
    inner.steps = 0
    resumed = draw(tiny_denoiser, units, tmp_path / "resumed", predict=inner)
    assert inner.steps == 2 * STEPS
    assert torch.equal(resumed.images, draw(tiny_denoiser, units, tmp_path / "whole").images)


def test_the_seconds_of_resumed_units_are_counted(tiny_denoiser: Denoiser, tmp_path: Path) -> None:
    predict = make_predictor(tiny_denoiser)
    arguments = (lambda _: predict, tiny_denoiser, settings(), CPU, tmp_path, "mine")
    _, seconds = draw_units(plan_units(0, 2, UNIT_SIZE), *arguments)
    _, again = draw_units(plan_units(0, 2, UNIT_SIZE), *arguments)
    assert seconds == again > 0


def test_units_of_another_sampling_are_refused(tiny_denoiser: Denoiser, tmp_path: Path) -> None:
    units = plan_units(0, 1, UNIT_SIZE)
    draw(tiny_denoiser, units, tmp_path, identity="theirs")
    with pytest.raises(CheckpointError, match=r"unit-00000000\.safetensors: written by sampling theirs, expected mine"):
        draw(tiny_denoiser, units, tmp_path, identity="mine")


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty"])
def test_a_damaged_unit_is_named(tiny_denoiser: Denoiser, tmp_path: Path, damage: str) -> None:
    units = plan_units(0, 2, UNIT_SIZE)
    draw(tiny_denoiser, units, tmp_path)
    path = tmp_path / "unit-00000003.safetensors"
    data = path.read_bytes()
    flipped = data[:-50] + bytes([data[-50] ^ 1]) + data[-49:]
    path.write_bytes({"truncated": data[: len(data) // 2], "flipped": flipped, "empty": b""}[damage])
    with pytest.raises(CorruptFileError, match=r"unit-00000003\.safetensors.*Delete it and run the same command"):
        draw(tiny_denoiser, units, tmp_path)


# --- sample sets ---


def shard(path: Path, seeds: list[int], cost: float = 2.5) -> Path:
    """Samples whose every byte is their seed."""
    images = torch.tensor(seeds, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 3, 4, 4)
    save_samples(SampleSet(images, torch.tensor(seeds, dtype=torch.int64), cost), path, {"target": "Beard"})
    return path


def test_shards_are_joined_in_order_of_seeds(tmp_path: Path) -> None:
    samples = load_samples([shard(tmp_path / "b", [7, 8, 3]), shard(tmp_path / "c", []), shard(tmp_path / "a", [5, 1])])
    assert samples.seeds.tolist() == [1, 3, 5, 7, 8]
    assert samples.images[:, 2, 3, 3].tolist() == [1, 3, 5, 7, 8]
    assert samples.images.dtype == torch.uint8
    assert samples.forwards_per_sample == 2.5


def test_shards_that_share_a_seed_or_differ_in_cost_are_refused(tmp_path: Path) -> None:
    first = shard(tmp_path / "a", [0, 1])
    with pytest.raises(CorruptFileError, match="do not belong together"):
        load_samples([first, shard(tmp_path / "b", [1, 2])])
    with pytest.raises(CorruptFileError, match=r"does not belong with .*: forwards_per_sample is 1\.0, there 2\.5"):
        load_samples([first, shard(tmp_path / "c", [2, 3], cost=1.0)])


def test_conversion_to_bytes_rounds_and_clips() -> None:
    values = torch.tensor([-5.0, -1.0, -1 + 0.6 / 127.5, 0.002, 1.0, 7.0]).view(1, 1, 1, 6)
    assert to_uint8(values).flatten().tolist() == [0, 0, 1, 128, 255, 255]
    every = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    assert torch.equal(to_uint8(every.float() / 127.5 - 1), every)
