"""Guidance against closed forms, plain DDIM, finite differences and counted FLOPs."""

import math
from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from diffusers import DDIMPipeline
from torch import Tensor
from torch.nn import functional as F

from fewshot_diffusion.config.denoiser import ArchitectureConfig, ScheduleConfig
from fewshot_diffusion.diffusion.denoiser import Denoiser, PixelDenoiser, build_unet
from fewshot_diffusion.diffusion.guidance import (
    READS_ESTIMATE,
    READS_IMAGE,
    CleanImageGuidance,
    DirectGuidance,
    ExactGuidance,
    Guidance,
    ReadoutGuidance,
    guide_eps,
    guided,
    likelihood_gradient,
    unguided,
)
from fewshot_diffusion.diffusion.sampling import count_forwards, sample_ddim
from fewshot_diffusion.diffusion.schedule import make_scheduler, output_of_epsilon, pred_epsilon, pred_original_sample
from fewshot_diffusion.errors import GuidanceError
from fewshot_diffusion.runtime import CPU
from fewshot_diffusion.seeds import SampleNoise, generator

PREDICTION_TYPES = ["epsilon", "v_prediction"]
DIFFERENTIATED = ["exact", "readout", "clean_image"]
"""Modes whose gradient is that of their log-likelihood with respect to x_t."""

MODES = [*DIFFERENTIATED, "direct", "clean_image_direct"]
TAPS = ["mid_block", "up_blocks.0"]
BFLOAT16 = replace(CPU, dtype=torch.bfloat16)


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def alpha_bar(timestep: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return make_scheduler(ScheduleConfig()).alphas_cumprod[timestep].to(dtype)


# --- a mixture of two Gaussians: everything is known in closed form ---


class Mixture:
    """Two classes in the plane, one of them rare; x_t given a class is Gaussian at every noise level."""

    log_prior = torch.tensor([0.9, 0.1], dtype=torch.float64).log()
    mean = torch.tensor([[1.0, -0.5], [-1.2, 0.8]], dtype=torch.float64)
    covariance = torch.tensor([[[0.20, 0.10], [0.10, 0.30]], [[0.15, -0.05], [-0.05, 0.10]]], dtype=torch.float64)

    def _whitened(self, x_t: Tensor, alpha_bar_t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        covariance = alpha_bar_t * self.covariance + (1 - alpha_bar_t) * torch.eye(2, dtype=torch.float64)
        centred = x_t.flatten(1)[:, None] - alpha_bar_t.sqrt() * self.mean
        return centred, torch.einsum("yij,byj->byi", torch.linalg.inv(covariance), centred), torch.logdet(covariance)

    def log_posterior(self, x_t: Tensor, alpha_bar_t: Tensor) -> Tensor:
        """Return log p(y | x_t), [B, 2]."""
        centred, whitened, log_determinant = self._whitened(x_t, alpha_bar_t)
        return (self.log_prior - 0.5 * log_determinant - 0.5 * (centred * whitened).sum(-1)).log_softmax(1)

    def conditional_eps(self, x_t: Tensor, alpha_bar_t: Tensor, y: int) -> Tensor:
        _, whitened, _ = self._whitened(x_t, alpha_bar_t)
        return (1 - alpha_bar_t).sqrt() * whitened[:, y].view_as(x_t)

    def eps(self, x_t: Tensor, alpha_bar_t: Tensor) -> Tensor:
        """The noise of p(x_t): the classes' noises, weighted by their posterior."""
        share = self.log_posterior(x_t, alpha_bar_t).exp()
        eps = [share[:, y].view(-1, 1, 1, 1) * self.conditional_eps(x_t, alpha_bar_t, y) for y in (0, 1)]
        return torch.stack(eps).sum(0)


def mixture_guidance(y: int, prediction_type: str) -> Guidance:
    def guidance(x_t: Tensor, timestep: int, alpha_bar_t: Tensor) -> tuple[Tensor, Tensor]:
        mixture = Mixture()
        output = output_of_epsilon(mixture.eps(x_t, alpha_bar_t), x_t, alpha_bar_t, prediction_type)
        return output, mixture.log_posterior(x_t, alpha_bar_t)[:, y]

    return guidance


@pytest.mark.parametrize("y", [0, 1])
@pytest.mark.parametrize("timestep", [20, 300, 800, 990])
def test_guided_noise_is_the_noise_of_the_conditional(y: int, timestep: int) -> None:
    mixture, alpha_bar_t = Mixture(), alpha_bar(timestep)
    x_t = (1.5 * normal(50, 2, 1, 1)).requires_grad_()
    eps = mixture.eps(x_t, alpha_bar_t).detach()
    expected = mixture.conditional_eps(x_t, alpha_bar_t, y).detach()

    def error(sign: float, scale: float) -> float:
        log_prob = sign * mixture.log_posterior(x_t, alpha_bar_t)[:, y]
        return float((guide_eps(eps, log_prob, x_t, alpha_bar_t, scale) - expected).norm())

    assert error(1, 1) < 1e-8
    # The wrong sign, no guidance, twice as much, and the score's scale instead of the noise's all miss it.
    shift = float((eps - expected).norm())
    assert shift > 1e-4
    assert error(-1, 1) == pytest.approx(2 * shift)
    assert error(1, 0) == pytest.approx(shift)
    assert error(1, 2) == pytest.approx(shift)
    excess = 1 / math.sqrt(1 - alpha_bar_t)
    assert error(1, excess) == pytest.approx((excess - 1) * shift, rel=1e-3)


@pytest.mark.parametrize("prediction_type", PREDICTION_TYPES)
@pytest.mark.parametrize("timestep", [20, 300, 800])
def test_the_predictor_guides_the_same_noise_whatever_the_denoiser_predicts(
    prediction_type: str, timestep: int
) -> None:
    alpha_bar_t, x_t = alpha_bar(timestep), 1.5 * normal(50, 2, 1, 1)
    output = guided(mixture_guidance(1, prediction_type), 1.0, prediction_type)(x_t, timestep, alpha_bar_t)
    found = pred_epsilon(output, x_t, alpha_bar_t, prediction_type)
    torch.testing.assert_close(found, Mixture().conditional_eps(x_t, alpha_bar_t, 1), rtol=0, atol=1e-9)
    assert not output.requires_grad


def test_guided_sampling_of_the_rare_class_has_its_moments() -> None:
    noise = SimpleNamespace(seeds=range(4000), draw=lambda: normal(4000, 2, 1, 1))
    predict = guided(mixture_guidance(1, "v_prediction"), 1.0, "v_prediction")
    drawn = sample_ddim(predict, make_scheduler(ScheduleConfig()), noise, 100, eta=0.0).flatten(1)
    torch.testing.assert_close(drawn.mean(0), Mixture.mean[1], rtol=0, atol=0.03)
    torch.testing.assert_close(drawn.T.cov(), Mixture.covariance[1], rtol=0, atol=0.03)


# --- guidance of a network ---


def curved(maps: Sequence[Tensor], timestep: int) -> Tensor:
    """Some smooth likelihood of all activations and their label, with a different weight for each."""
    weights = [normal(*found.shape[1:], seed=i, dtype=found.dtype) for i, found in enumerate(maps)]
    logits = [(torch.sin(found) * weight).sum((1, 2, 3)) for found, weight in zip(maps, weights, strict=True)]
    return F.logsigmoid(0.05 * torch.stack(logits).sum(0) + timestep / 1000)


def guidance_of(mode: str, denoiser: Denoiser) -> Guidance:
    if mode in READS_ESTIMATE:
        return READS_ESTIMATE[mode](denoiser, curved, TAPS, 100)
    if mode in READS_IMAGE:
        return READS_IMAGE[mode](denoiser, curved)
    return ReadoutGuidance(denoiser, curved, TAPS)


def as_predicting(denoiser: Denoiser, prediction_type: str) -> Denoiser:
    return replace(denoiser, schedule=ScheduleConfig(prediction_type=prediction_type))


def gradient_of(guidance: Guidance, x_t: Tensor, timestep: int, alpha_bar_t: Tensor) -> Tensor:
    x_t = x_t.detach().requires_grad_()
    return likelihood_gradient(guidance(x_t, timestep, alpha_bar_t)[1], x_t)


@pytest.mark.parametrize("prediction_type", PREDICTION_TYPES)
@pytest.mark.parametrize("mode", MODES)
def test_each_mode_reads_what_it_says(tiny_denoiser_float64: Denoiser, mode: str, prediction_type: str) -> None:
    """exact: the denoiser's view of x0_hat at its own label; readout: that of x_t at t; clean_image: x0_hat itself.

    What is direct reads the same as what is not.
    """
    denoiser = as_predicting(tiny_denoiser_float64, prediction_type)
    alpha_bar_t, x_t = alpha_bar(600), normal(2, 3, 16, 16)
    with torch.no_grad():
        plain, maps = denoiser.predict_with_features(x_t, 600, TAPS)
        x0_hat = pred_original_sample(plain, x_t, alpha_bar_t, prediction_type)
        expected = {
            "exact": curved(denoiser.features(x0_hat, 100, TAPS), 100),
            "readout": curved(maps, 600),
            "clean_image": curved([x0_hat], 600),
        }[mode.removesuffix("_direct").replace("direct", "exact")]
        output, log_prob = guidance_of(mode, denoiser)(x_t, 600, alpha_bar_t)
    assert torch.equal(output, plain)
    assert torch.equal(log_prob, expected)


@pytest.mark.parametrize("prediction_type", PREDICTION_TYPES)
@pytest.mark.parametrize("mode", DIFFERENTIATED)
def test_the_gradient_agrees_with_finite_differences(
    tiny_denoiser_float64: Denoiser, mode: str, prediction_type: str
) -> None:
    guidance = guidance_of(mode, as_predicting(tiny_denoiser_float64, prediction_type))
    alpha_bar_t, x_t = alpha_bar(600), normal(2, 3, 16, 16)
    gradient = gradient_of(guidance, x_t, 600, alpha_bar_t)
    assert gradient.dtype == torch.float64
    for seed in range(1, 5):
        direction = normal(2, 3, 16, 16, seed=seed)
        ahead, behind = (guidance(x_t + step * direction, 600, alpha_bar_t)[1].sum().detach() for step in (1e-5, -1e-5))
        slope = float(ahead - behind) / 2e-5
        assert abs(slope) > 1e-3
        assert float((gradient * direction).sum()) == pytest.approx(slope, rel=1e-5)


# --- without the Jacobian of the first pass ---


class Linear:
    """A denoiser whose noise is M x_t, that sees x as it is; its images are half its samples."""

    schedule, runtime = ScheduleConfig(prediction_type="epsilon"), CPU

    def __init__(self, matrix: Tensor) -> None:
        self.matrix = matrix

    def predict(self, x_t: Tensor, _timestep: int) -> Tensor:
        return torch.einsum("ij,bjhw->bihw", self.matrix, x_t)

    def features(self, x: Tensor, _timestep: int, _taps: Sequence[str]) -> list[Tensor]:
        return [self.to_images(x)]

    def to_images(self, x: Tensor) -> Tensor:
        return x / 2


def bell(maps: Sequence[Tensor], _timestep: int) -> Tensor:
    """Return the log-density of a unit normal around 1, but for a constant: its gradient is 1 - x."""
    return -0.5 * (maps[0] - 1).square().sum((1, 2, 3))


def toy(mode: str, denoiser: Any) -> Guidance:
    if mode in READS_ESTIMATE:
        return READS_ESTIMATE[mode](denoiser, bell, TAPS, 100)
    return READS_IMAGE[mode](denoiser, bell)


@pytest.mark.parametrize("timestep", [20, 300, 800])
@pytest.mark.parametrize("mode", ["direct", "clean_image_direct"])
def test_of_a_linear_denoiser_direct_guidance_has_a_closed_form(mode: str, timestep: int) -> None:
    """The gradient to x0_hat as it is: neither the Jacobian nor 1 / sqrt(alpha_bar_t) stands before it."""
    matrix, x_t, alpha_bar_t = normal(3, 3, seed=1), normal(2, 3, 4, 4), alpha_bar(timestep)
    denoiser, sigma = Linear(matrix), (1 - alpha_bar_t).sqrt()
    eps = denoiser.predict(x_t, timestep)
    x0_hat = (x_t - sigma * eps) / alpha_bar_t.sqrt()
    gradient = (1 - x0_hat / 2) / 2
    found = guided(toy(mode, denoiser), 3.0, "epsilon")(x_t, timestep, alpha_bar_t)
    torch.testing.assert_close(found, eps - 3 * sigma * gradient)
    # The full gradient of the mode that it differs from: J^T times the same.
    jacobian = (torch.eye(3, dtype=torch.float64) - sigma * matrix) / alpha_bar_t.sqrt()
    full = guided(toy({"direct": "exact"}.get(mode, "clean_image"), denoiser), 3.0, "epsilon")
    through = torch.einsum("ji,bjhw->bihw", jacobian, gradient)
    torch.testing.assert_close(full(x_t, timestep, alpha_bar_t), eps - 3 * sigma * through)
    assert not torch.allclose(gradient, through, rtol=1e-2)


@pytest.mark.parametrize("timestep", [20, 300, 800])
def test_where_the_jacobian_is_the_identity_direct_is_exact(timestep: int) -> None:
    alpha_bar_t, x_t = alpha_bar(timestep), normal(2, 3, 4, 4)
    share = (1 - alpha_bar_t.sqrt()) / (1 - alpha_bar_t).sqrt()  # d x0_hat / d x_t = (1 - sigma share) / sqrt(abar) = 1
    denoiser = Linear(share * torch.eye(3, dtype=torch.float64))
    for direct, full in (("direct", "exact"), ("clean_image_direct", "clean_image")):
        steps = [guided(toy(mode, denoiser), 3.0, "epsilon")(x_t, timestep, alpha_bar_t) for mode in (direct, full)]
        torch.testing.assert_close(*steps)
        assert not torch.allclose(steps[0], denoiser.predict(x_t, timestep), rtol=1e-2)


@pytest.mark.parametrize("prediction_type", PREDICTION_TYPES)
def test_the_direct_gradient_is_that_of_a_clean_image_s_likelihood(
    tiny_denoiser_float64: Denoiser, prediction_type: str
) -> None:
    denoiser = as_predicting(tiny_denoiser_float64, prediction_type)
    alpha_bar_t, x_t = alpha_bar(600), normal(2, 3, 16, 16)
    with torch.no_grad():
        x0_hat = pred_original_sample(denoiser.predict(x_t, 600), x_t, alpha_bar_t, prediction_type)
    x0_hat.requires_grad_()
    for mode, log_prob in (
        ("direct", curved(denoiser.features(x0_hat, 100, TAPS), 100)),
        ("clean_image_direct", curved([x0_hat], 600)),
    ):
        expected = likelihood_gradient(log_prob, x0_hat)
        torch.testing.assert_close(gradient_of(guidance_of(mode, denoiser), x_t, 600, alpha_bar_t), expected)


@pytest.mark.parametrize("mode", MODES)
def test_batch_mates_do_not_matter(tiny_denoiser: Denoiser, mode: str) -> None:
    predict = guided(guidance_of(mode, tiny_denoiser), 30.0, "v_prediction")
    x_t, alpha_bar_t = normal(4, 3, 16, 16, dtype=torch.float32), alpha_bar(600, torch.float32)
    batch = predict(x_t, 600, alpha_bar_t)
    singles = torch.cat([predict(single, 600, alpha_bar_t) for single in x_t.split(1)])
    torch.testing.assert_close(batch, singles, rtol=1e-4, atol=1e-4)
    assert float((batch - unguided(tiny_denoiser)(x_t, 600, alpha_bar_t)).abs().max()) > 1e-2


# --- guidance_scale 0 is the plain sampler ---


@pytest.mark.parametrize("clip_sample", [False, True])
@pytest.mark.parametrize("eta", [0.0, 0.5])
@pytest.mark.parametrize("prediction_type", PREDICTION_TYPES)
def test_guidance_scale_zero_is_the_ddim_pipeline_bit_for_bit(
    tiny_denoiser: Denoiser, prediction_type: str, eta: float, clip_sample: bool
) -> None:
    denoiser = as_predicting(tiny_denoiser, prediction_type)
    scheduler, seeds = make_scheduler(denoiser.schedule, clip_sample, "leading"), [4, 0, 17]
    pipeline = DDIMPipeline(denoiser.unet, scheduler)
    pipeline.set_progress_bar_config(disable=True)
    last: list[Tensor] = []
    step = pipeline.scheduler.step

    def recording_step(*args: object, **kwargs: object) -> object:
        result = step(*args, **kwargs)
        last[:] = [result.prev_sample]
        return result

    # Recorded before the pipeline clamps to [0, 1].
    pipeline.scheduler.step = recording_step
    streams = [generator("sampling", seed) for seed in seeds]
    options = {"eta": eta, "num_inference_steps": 4, "use_clipped_model_output": clip_sample, "output_type": "np"}
    pipeline(batch_size=3, generator=streams, **options)

    predictors = [unguided(denoiser)]
    predictors += [guided(guidance_of(mode, denoiser), 0.0, prediction_type) for mode in MODES]
    predictors += [guided(guidance_of("exact", denoiser), 5.0, prediction_type)]
    for predict, equal in zip(predictors, [True] * (1 + len(MODES)) + [False], strict=True):
        drawn = sample_ddim(predict, scheduler, SampleNoise(seeds, denoiser.sample_shape, CPU.device), 4, eta)
        assert drawn.isfinite().all()
        assert torch.equal(drawn, last[0]) is equal


def test_outside_its_interval_the_predictor_is_the_plain_one_and_without_any_it_guides_all(
    tiny_denoiser: Denoiser,
) -> None:
    plain, guidance = unguided(tiny_denoiser), guidance_of("readout", tiny_denoiser)
    always, within = (guided(guidance, 5.0, "v_prediction", plain, found) for found in (None, (100, 900)))
    x_t, alpha_bar_t = normal(2, 3, 16, 16, dtype=torch.float32), torch.tensor(0.5)
    for timestep in (0, 99, 100, 500, 900, 901, 999):
        expected = always if 100 <= timestep <= 900 else plain
        assert torch.equal(within(x_t, timestep, alpha_bar_t), expected(x_t, timestep, alpha_bar_t))
    for timestep in (0, 3999):  # networks that were trained on 4,000 timesteps, too
        assert not torch.equal(always(x_t, timestep, alpha_bar_t), plain(x_t, timestep, alpha_bar_t))


# --- precision ---


def test_the_clean_estimate_and_what_guidance_returns_are_in_full_precision(tiny_denoiser: Denoiser) -> None:
    """Of a bfloat16 network only the output is rough: 1 / sqrt(alpha_bar_t) would amplify more."""
    denoiser, seen = as_predicting(tiny_denoiser, "epsilon"), []
    x_t, alpha_bar_t = normal(2, 3, 16, 16, dtype=torch.float32), torch.tensor(1e-3)
    with torch.no_grad(), BFLOAT16.autocast():
        rough = denoiser.unet(x_t, 900).sample
    assert rough.dtype == torch.bfloat16
    half = replace(denoiser, runtime=BFLOAT16)

    def record(maps: Sequence[Tensor], timestep: int) -> Tensor:
        seen.append(maps[0])
        return maps[0].float().square().mean((1, 2, 3))

    guidances = {
        "clean_image": CleanImageGuidance(half, record),
        "exact": ExactGuidance(half, record, TAPS, 100),
        "readout": ReadoutGuidance(half, record, TAPS),
    }
    for mode, guidance in guidances.items():
        output, log_prob = guidance(x_t, 900, alpha_bar_t)
        assert torch.equal(output, rough.float()) and output.dtype == torch.float32
        assert log_prob.dtype == torch.float32
        if mode == "clean_image":
            assert torch.equal(seen[-1], pred_original_sample(rough.float(), x_t, alpha_bar_t, "epsilon"))
        else:
            assert seen[-1].dtype == torch.bfloat16, "convolutions, of both passes"
        assert guided(guidance, 1.0, "epsilon")(x_t, 900, alpha_bar_t).dtype == torch.float32
    plain = unguided(half)(x_t, 900, alpha_bar_t)
    assert torch.equal(plain, rough.float()) and plain.dtype == torch.float32


# --- cost ---


def test_counted_cost_of_a_guided_step_of_the_default_architecture() -> None:
    unet = build_unet(ArchitectureConfig(block_out_channels=(32, 48, 96, 128)), 64).requires_grad_(False).eval()
    denoiser = PixelDenoiser(ScheduleConfig(), "0" * 64, CPU, unet)
    exact = ExactGuidance(denoiser, curved, ["mid_block"], 100)
    readout = ReadoutGuidance(denoiser, curved, ["mid_block"])
    direct, pixels = DirectGuidance(denoiser, curved, ["mid_block"], 100), guidance_of("clean_image_direct", denoiser)
    guidances = (exact, readout, direct, pixels)
    cost = [count_forwards(guided(guidance, 1.0, "v_prediction"), denoiser) for guidance in guidances]
    assert count_forwards(unguided(denoiser), denoiser) == 1
    # A backward pass cannot be free: below these bounds something was not counted or not differentiated.
    assert 2.2 < cost[0] <= 2.6
    assert 1.1 < cost[1] <= 1.35
    assert cost[2] == pytest.approx(cost[0] - 1, abs=0.05), "all of exact but the backward half of its first pass"
    assert cost[3] == pytest.approx(1), "whose likelihood here is of no network"


# --- what is refused, what stays frozen ---


def test_log_prob_must_hang_on_x_t() -> None:
    x_t, other = normal(2, 3, 4, 4).requires_grad_(), normal(2, 3, 4, 4).requires_grad_()
    with pytest.raises(GuidanceError, match="requires_grad"):
        guide_eps(x_t, x_t.sum((1, 2, 3)).detach(), x_t, torch.tensor(0.5), 1.0)
    with pytest.raises(GuidanceError, match="another pass"):
        guide_eps(x_t, other.sum((1, 2, 3)), x_t, torch.tensor(0.5), 1.0)


@pytest.mark.parametrize("mode", MODES)
def test_a_predictor_refuses_a_detached_likelihood(tiny_denoiser: Denoiser, mode: str) -> None:
    guidance = replace(guidance_of(mode, tiny_denoiser), log_likelihood=lambda maps, _: maps[0].detach().sum())
    with pytest.raises(GuidanceError, match="does not depend"):
        guided(guidance, 1.0, "v_prediction")(torch.zeros(1, 3, 16, 16), 600, torch.tensor(0.5))


@pytest.mark.parametrize("frozen", [True, False])
@pytest.mark.parametrize("mode", MODES)
def test_no_parameter_receives_a_gradient(tiny_denoiser: Denoiser, mode: str, frozen: bool) -> None:
    for parameter in tiny_denoiser.unet.parameters():
        assert not parameter.requires_grad
        parameter.requires_grad_(not frozen)
    x_t = normal(2, 3, 16, 16, dtype=torch.float32)
    output = guided(guidance_of(mode, tiny_denoiser), 5.0, "v_prediction")(x_t, 600, torch.tensor(0.3))
    assert all(parameter.grad is None for parameter in tiny_denoiser.unet.parameters())
    assert x_t.grad is None and not x_t.requires_grad
    assert not output.requires_grad
