"""Sampling in work units: a sample is a function of the settings and its seed, nothing else."""

import json
import shutil
from collections.abc import Callable, Sequence
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
from fewshot_diffusion.diffusion.samples import SampleSet
from fewshot_diffusion.diffusion.sampling import (
    WorkUnit,
    count_forwards,
    draw_units,
    plan_units,
    sample_ddim,
    share_units,
)
from fewshot_diffusion.diffusion.schedule import make_scheduler
from fewshot_diffusion.errors import CheckpointError, CorruptFileError, SamplingError
from fewshot_diffusion.images import to_uint8
from fewshot_diffusion.runtime import CPU
from fewshot_diffusion.seeds import SampleNoise
from fewshot_diffusion.storage.checkpoints import CheckpointFolder

STEPS = 3
UNIT_SIZE = 3


def settings(**changes: object) -> SamplingConfig:
    base = {"num_inference_steps": STEPS, "eta": 0.5, "timestep_spacing": "leading", "clip_sample": True}
    base |= {"guidance_interval": [0, 999], "unit_size": UNIT_SIZE}
    return SamplingConfig.model_validate(base | changes)


def likelihood(maps: Sequence[Tensor], timestep: int) -> Tensor:
    return torch.nn.functional.logsigmoid(torch.sin(maps[0]).mean((1, 2, 3)))


def guided_by_readout(denoiser: Denoiser, interval: tuple[int, int] = (0, 999)) -> Predictor:
    """A guided one: the gradient, too, must not depend on the batch mates."""
    guidance = ReadoutGuidance(denoiser, likelihood, ["mid_block"])
    return guided(guidance, 5.0, "v_prediction", unguided(denoiser), interval)


class Counting:
    """Counts the batches of a work unit's size; the counting of FLOPs uses single samples."""

    def __init__(self, predict: Predictor) -> None:
        self.predict = predict
        self.steps = 0

    def __call__(self, x_t: Tensor, timestep: int, alpha_bar_t: Tensor) -> Tensor:
        self.steps += len(x_t) == UNIT_SIZE
        return self.predict(x_t, timestep, alpha_bar_t)


Draw = Callable[..., SampleSet]


@pytest.fixture
def draw(tiny_denoiser: Denoiser) -> Draw:
    def draw(
        units: list[WorkUnit], root: Path, identity: str = "mine", predict: Predictor | None = None, **changes: object
    ) -> SampleSet:
        predict = predict or guided_by_readout(tiny_denoiser)
        folder = CheckpointFolder(root, identity)
        return draw_units(units, lambda _: predict, tiny_denoiser, settings(**changes), folder)[0]

    return draw


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


# --- the step ---


class GivenNoise:
    """A start of ones; then the same given noise at every step."""

    seeds = (0,)

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

    schedule = ScheduleConfig(beta_schedule="linear", prediction_type="epsilon")
    given_noise = GivenNoise(noise)
    last = sample_ddim(
        predict, make_scheduler(schedule, timestep_spacing="leading"), given_noise, num_inference_steps, eta
    )
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


def test_the_predictor_is_given_the_schedule_of_its_timestep(tiny_denoiser: Denoiser) -> None:
    scheduler = make_scheduler(tiny_denoiser.schedule, timestep_spacing="leading")
    seen = []

    def predict(x_t: Tensor, timestep: int, alpha_bar_t: Tensor) -> Tensor:
        seen.append((timestep, float(alpha_bar_t), alpha_bar_t.dtype))
        return torch.zeros_like(x_t)

    sample_ddim(predict, scheduler, SampleNoise([0], (3, 4, 4), CPU.device), 4, 0.0)
    assert seen == [(t, float(scheduler.alphas_cumprod[t]), torch.float32) for t in (750, 500, 250, 0)]


# --- values that are not finite ---


def spoilt(denoiser: Denoiser, bad: float, from_timestep: int) -> Predictor:
    """A predictor that spoils the second sample from a timestep on."""

    def predict(x_t: Tensor, timestep: int, alpha_bar_t: Tensor) -> Tensor:
        output = unguided(denoiser)(x_t, timestep, alpha_bar_t)
        if timestep <= from_timestep:
            output[-2:-1, 0, 3, 4] = bad
        return output

    return predict


@pytest.mark.parametrize(
    ("bad", "timestep", "step", "clip_sample"),
    [(torch.nan, 666, 1, True), (-torch.inf, 333, 2, True), (-torch.inf, 0, 3, True), (torch.nan, 333, 2, False)],
)
def test_a_sample_that_is_not_finite_is_named_with_its_step(
    draw: Draw, tiny_denoiser: Denoiser, tmp_path: Path, bad: float, timestep: int, step: int, clip_sample: bool
) -> None:
    """Infinity, too, which clipping would hide."""
    said = rf"seed 5 is not finite from timestep {timestep} on \(step {step} of 3\)\. Without guidance it is"
    predict = spoilt(tiny_denoiser, bad, timestep)
    with pytest.raises(SamplingError, match=said):
        draw(plan_units(4, 2, UNIT_SIZE), tmp_path, predict=predict, clip_sample=clip_sample)
    assert not list(tmp_path.rglob("unit-*"))


def test_a_guidance_scale_is_blamed_and_so_are_weights(draw: Draw, tiny_denoiser: Denoiser, tmp_path: Path) -> None:
    units, guidance = plan_units(0, 1, UNIT_SIZE), ReadoutGuidance(tiny_denoiser, likelihood, ["mid_block"])
    steered = guided(guidance, 1e45, "v_prediction", unguided(tiny_denoiser), (0, 500))
    with pytest.raises(SamplingError, match=r"from timestep 333 .* lower its scale"):
        draw(units, tmp_path, predict=steered)
    tiny_denoiser.unet.conv_out.bias.data[0] = torch.nan
    with pytest.raises(SamplingError, match=r"seed 0 .*step 1 of 3.* The denoiser's own output is not.* its weights"):
        draw(units, tmp_path)


# --- batches, units and shards ---


def test_the_batch_size_hardly_changes_a_sample(tiny_denoiser: Denoiser) -> None:
    scheduler, predict = make_scheduler(tiny_denoiser.schedule, True, "leading"), guided_by_readout(tiny_denoiser)

    def drawn(unit_size: int) -> Tensor:
        batches = [range(start, min(start + unit_size, 8)) for start in range(0, 8, unit_size)]
        noises = [SampleNoise(seeds, tiny_denoiser.sample_shape, CPU.device) for seeds in batches]
        return torch.cat([sample_ddim(predict, scheduler, noise, STEPS, 0.5) for noise in noises])

    by_one = drawn(1)
    for unit_size in (3, 8):
        torch.testing.assert_close(drawn(unit_size), by_one, rtol=0, atol=1e-4)
    # Not because clipping makes all of them alike.
    assert float((by_one[0] - by_one[1]).abs().mean()) > 0.05


@given(size=st.integers(0, 60), micro_batch=st.integers(1, 70) | st.none())
def test_parts_of_a_unit_are_the_unit_and_fit(size: int, micro_batch: int | None) -> None:
    parts = WorkUnit(3, range(7, 7 + size)).parts(micro_batch)
    assert [seed for part in parts for seed in part.seeds] == list(range(7, 7 + size))
    assert {part.index for part in parts} <= {3}
    assert max((len(part.seeds) for part in parts), default=0) == min(size, micro_batch or size)


@pytest.mark.parametrize("micro_batch", [1, 2, 7])
def test_a_unit_that_is_drawn_in_parts_shows_the_same_samples(
    tiny_denoiser: Denoiser, tmp_path: Path, micro_batch: int
) -> None:
    """Each part asks for the predictor of its own seeds, as those of masks are; noise is drawn in every step."""
    batches: list[int] = []

    def predictor_of(unit: WorkUnit) -> Predictor:
        def predict(x_t: Tensor, timestep: int, alpha_bar_t: Tensor) -> Tensor:
            batches.append(len(x_t))
            shift = torch.tensor(unit.seeds).view(-1, 1, 1, 1) / 100
            return guided_by_readout(tiny_denoiser)(x_t, timestep, alpha_bar_t) + shift

        return predict

    def drawn(size: int | None) -> Tensor:
        units, folder = plan_units(4, 1, 5), CheckpointFolder(tmp_path, str(size))
        chosen = settings(micro_batch=size, unit_size=5)
        return draw_units(units, predictor_of, tiny_denoiser, chosen, folder)[0].images

    whole = drawn(None)
    batches.clear()
    apart = (drawn(micro_batch).int() - whole.int()).abs()
    assert max(batches) == min(micro_batch, 5)
    assert apart.max() <= 1 and float((apart > 0).float().mean()) < 0.01
    assert "micro_batch" not in settings().model_dump(mode="json"), "identities of earlier samples stay"


def test_a_unit_is_drawn_by_the_sampler_with_its_own_predictor_and_seeds(
    tiny_denoiser: Denoiser, tmp_path: Path
) -> None:
    changed = {"eta": 0.7, "num_inference_steps": 4, "clip_sample": False, "timestep_spacing": "trailing"}
    predictors = {unit.index: unguided(tiny_denoiser) for unit in plan_units(5, 2, UNIT_SIZE)}
    predictors[1] = guided_by_readout(tiny_denoiser)
    found, _ = draw_units(
        plan_units(5, 2, UNIT_SIZE),
        lambda unit: predictors[unit.index],
        tiny_denoiser,
        settings(**changed),
        CheckpointFolder(tmp_path, "mine"),
    )
    assert found.seeds.tolist() == [5, 6, 7, 8, 9, 10]
    scheduler = make_scheduler(tiny_denoiser.schedule, False, "trailing")
    for index, predict in predictors.items():
        noise = SampleNoise(range(5 + 3 * index, 8 + 3 * index), tiny_denoiser.sample_shape, CPU.device)
        expected = to_uint8(sample_ddim(predict, scheduler, noise, 4, 0.7))
        assert torch.equal(found.images[3 * index : 3 * index + 3], expected)


@pytest.mark.slow
def test_images_are_equal_byte_for_byte_for_any_number_of_shards(draw: Draw, tmp_path: Path) -> None:
    units = plan_units(10, 4, UNIT_SIZE)
    whole = draw(units, tmp_path / "whole")
    assert whole.images.shape == (12, 3, 16, 16) and len(whole.images.flatten(1).unique(dim=0)) == 12
    for shards in (2, 3, 5):
        parts = [draw(share_units(units, k, shards), tmp_path / f"{shards}-{k}") for k in range(shards)]
        assert torch.equal(torch.cat([part.images for part in parts]), whole.images)
        assert torch.equal(torch.cat([part.seeds for part in parts]), whole.seeds)
        assert {part.forwards_per_sample for part in parts} == {whole.forwards_per_sample}
    backwards = draw(units[::-1], tmp_path / "backwards").images.split(UNIT_SIZE)
    assert torch.equal(torch.cat(backwards[::-1]), whole.images)
    assert torch.equal(draw(units[:2], tmp_path / "few").images, whole.images[:6])


def test_a_share_without_units_is_empty(draw: Draw, tmp_path: Path) -> None:
    empty, one = draw([], tmp_path), draw(plan_units(0, 1, UNIT_SIZE), tmp_path)
    assert empty.images.shape == (0, 3, 16, 16) and empty.images.dtype == torch.uint8
    assert empty.seeds.dtype == one.seeds.dtype
    assert empty.forwards_per_sample == one.forwards_per_sample


def test_the_cost_is_that_of_all_steps(draw: Draw, tiny_denoiser: Denoiser, tmp_path: Path) -> None:
    units = plan_units(0, 1, UNIT_SIZE)
    plain = draw(units, tmp_path / "plain", predict=unguided(tiny_denoiser))
    assert plain.forwards_per_sample == STEPS
    always = draw(units, tmp_path / "guided").forwards_per_sample
    step = count_forwards(guided_by_readout(tiny_denoiser), tiny_denoiser)
    assert step > 1.05
    assert always == pytest.approx(STEPS * step)
    # Of the timesteps 666, 333 and 0 only the middle one is guided.
    sometimes = draw(units, tmp_path / "within", predict=guided_by_readout(tiny_denoiser, (300, 600)))
    assert sometimes.forwards_per_sample == pytest.approx(STEPS - 1 + step)


# --- resuming ---


def test_a_finished_unit_is_not_drawn_again_and_half_a_unit_is(
    draw: Draw, tiny_denoiser: Denoiser, tmp_path: Path
) -> None:
    units, predict = plan_units(0, 3, UNIT_SIZE), Counting(guided_by_readout(tiny_denoiser))
    first = draw(units, tmp_path, predict=predict)
    assert predict.steps == 3 * STEPS
    for suffix, expected in [(None, 0), (".safetensors", STEPS), (".json", STEPS)]:
        if suffix is not None:
            (tmp_path / "mine" / f"unit-00000003{suffix}").unlink()
        predict.steps = 0
        again = draw(units, tmp_path, predict=predict)
        assert predict.steps == expected
        assert torch.equal(again.images, first.images)
        assert torch.equal(again.seeds, first.seeds)


def test_drawing_continues_where_it_was_interrupted(draw: Draw, tiny_denoiser: Denoiser, tmp_path: Path) -> None:
    units, inner = plan_units(0, 3, UNIT_SIZE), Counting(guided_by_readout(tiny_denoiser))

    def interrupted(x_t: Tensor, timestep: int, alpha_bar_t: Tensor) -> Tensor:
        if inner.steps == STEPS + 1:
            raise KeyboardInterrupt
        return inner(x_t, timestep, alpha_bar_t)

    with pytest.raises(KeyboardInterrupt):
        draw(units, tmp_path / "resumed", predict=interrupted)
    inner.steps = 0
    resumed = draw(units, tmp_path / "resumed", predict=inner)
    assert inner.steps == 2 * STEPS
    assert torch.equal(resumed.images, draw(units, tmp_path / "whole").images)


def test_the_seconds_of_resumed_units_are_counted(tiny_denoiser: Denoiser, tmp_path: Path) -> None:
    folder, predict = CheckpointFolder(tmp_path, "mine"), guided_by_readout(tiny_denoiser)

    def seconds() -> float:
        units = plan_units(0, 2, UNIT_SIZE)
        return draw_units(units, lambda _: predict, tiny_denoiser, settings(), folder)[1]

    first = seconds()
    assert first == seconds() > 0
    for path in folder.path.glob("*.json"):
        path.write_text(json.dumps({"seconds": 20.0}))
    assert seconds() == 40


def test_units_of_another_sampling_or_of_other_seeds_are_refused(draw: Draw, tmp_path: Path) -> None:
    draw(plan_units(0, 2, UNIT_SIZE), tmp_path, "theirs")
    shutil.copytree(tmp_path / "theirs", tmp_path / "mine")
    with pytest.raises(CheckpointError, match=r"unit-00000000\.safetensors: written by computation theirs, expected m"):
        draw(plan_units(0, 2, UNIT_SIZE), tmp_path)
    shutil.copy(tmp_path / "theirs" / "unit-00000000.safetensors", tmp_path / "theirs" / "unit-00000003.safetensors")
    with pytest.raises(CorruptFileError, match=r"unit-00000003\.safetensors: holds seeds 0-2, expected those from 3"):
        draw(plan_units(0, 2, UNIT_SIZE), tmp_path, "theirs")
