"""Guidance against closed forms, plain DDIM, finite differences and counted FLOPs."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml
from diffusers import DDIMPipeline
from torch import Tensor, nn
from torch.nn import functional as F

from fewshot_diffusion.attributes.guidance import attribute_guidance
from fewshot_diffusion.attributes.heads import AttributeHead
from fewshot_diffusion.config.denoiser import ScheduleConfig
from fewshot_diffusion.config.model import load_config
from fewshot_diffusion.diffusion.denoiser import Denoiser, build_unet
from fewshot_diffusion.diffusion.features import describe_taps, extract, forward_with_features
from fewshot_diffusion.diffusion.guidance import ExactGuidance, Guidance, ReadoutGuidance, guide_eps, guided, unguided
from fewshot_diffusion.diffusion.sampling import count_forwards, sample_ddim
from fewshot_diffusion.diffusion.schedule import make_scheduler, output_of_epsilon, pred_epsilon, pred_original_sample
from fewshot_diffusion.errors import GuidanceError
from fewshot_diffusion.runtime import CPU
from fewshot_diffusion.seeds import SampleNoise, generator

PREDICTION_TYPES = ["epsilon", "v_prediction"]
MODES = ["exact", "readout"]
TAPS = ["mid_block", "up_blocks.0"]
CONFIG = Path(__file__).parents[2] / "config" / "config.yaml"


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def difference(found: Tensor, expected: Tensor) -> float:
    """Relative to the expected tensor's norm."""
    return float((found - expected).norm() / expected.norm())


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
        """log p(y | x_t), [B, 2]."""
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


def alpha_bar(timestep: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return make_scheduler(ScheduleConfig()).alphas_cumprod[timestep].to(dtype)


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

    def guided_by(sign: float, scale: float) -> Tensor:
        log_prob = sign * mixture.log_posterior(x_t, alpha_bar_t)[:, y]
        return guide_eps(eps, log_prob, x_t, alpha_bar_t, scale)

    found = guided_by(1, 1)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)
    assert not found.requires_grad
    # The wrong sign, no guidance, twice as much, and the score's scale instead of the noise's all miss it.
    shift = float((eps - expected).norm())
    assert shift > 1e-4
    assert float((guided_by(-1, 1) - expected).norm()) == pytest.approx(2 * shift)
    assert float((guided_by(1, 0) - expected).norm()) == pytest.approx(shift)
    assert float((guided_by(1, 2) - expected).norm()) == pytest.approx(shift)
    excess = 1 / math.sqrt(1 - alpha_bar_t)
    assert float((guided_by(1, excess) - expected).norm()) == pytest.approx((excess - 1) * shift, rel=1e-3)


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
    class Noise:
        def draw(self) -> Tensor:
            return normal(4000, 2, 1, 1)

    predict = guided(mixture_guidance(1, "v_prediction"), 1.0, "v_prediction")
    drawn = sample_ddim(predict, make_scheduler(ScheduleConfig()), Noise(), 100, eta=0.0).flatten(1)
    torch.testing.assert_close(drawn.mean(0), Mixture.mean[1], rtol=0, atol=0.03)
    torch.testing.assert_close(drawn.T.cov(), Mixture.covariance[1], rtol=0, atol=0.03)


# --- guidance_scale 0 is the plain sampler ---


def random_head(denoiser: Denoiser, taps: Sequence[str] = TAPS, timesteps: Sequence[int] = (100,)) -> AttributeHead:
    num_inputs = sum(2 * tap.num_chs * 4 for tap in describe_taps(denoiser.unet, taps))
    head = AttributeHead(list(taps), 2, num_inputs, list(timesteps), "Beard")
    head.weight.data = normal(*head.weight.shape, seed=5, dtype=torch.float32) / num_inputs**0.5
    head.bias.data.fill_(0.1)
    return head.requires_grad_(False).eval()


@pytest.mark.parametrize("clip_sample", [False, True])
@pytest.mark.parametrize("eta", [0.0, 0.5])
@pytest.mark.parametrize("prediction_type", PREDICTION_TYPES)
def test_guidance_scale_zero_is_the_ddim_pipeline_bit_for_bit(
    tiny_denoiser: Denoiser, prediction_type: str, eta: float, clip_sample: bool
) -> None:
    denoiser = replace(tiny_denoiser, schedule=ScheduleConfig(prediction_type=prediction_type))
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
    pipeline(
        batch_size=3,
        generator=streams,
        eta=eta,
        num_inference_steps=4,
        use_clipped_model_output=clip_sample,
        output_type="np",
    )

    guidance = attribute_guidance("exact", denoiser, random_head(denoiser), True, CPU)
    predictors = {scale: guided(guidance, scale, prediction_type) for scale in (0.0, 5.0)}
    for predict, equal in [(unguided(denoiser, CPU), True), (predictors[0.0], True), (predictors[5.0], False)]:
        noise = SampleNoise(seeds, denoiser.sample_shape, CPU.device)
        drawn = sample_ddim(predict, scheduler, noise, 4, eta)
        assert drawn.isfinite().all()
        assert torch.equal(drawn, last[0]) is equal


def test_guide_eps_at_scale_zero_returns_eps() -> None:
    x_t = normal(2, 3, 4, 4).requires_grad_()
    eps = normal(2, 3, 4, 4, seed=1)
    found = guide_eps(eps, x_t.sum((1, 2, 3)), x_t, torch.tensor(0.5), 0)
    assert torch.equal(found, eps)
    assert not found.requires_grad


# --- the gradient of both modes ---


def curved_log_likelihood(maps: Sequence[Tensor], timestep: int) -> Tensor:
    """Some smooth function of all activations, in their own precision, with a different weight for each."""
    logit = sum(
        (torch.sin(found) * normal(*found.shape[1:], seed=i, dtype=found.dtype)).sum((1, 2, 3))
        for i, found in enumerate(maps)
    )
    assert isinstance(logit, Tensor)
    return F.logsigmoid(0.05 * logit)


def curved_guidance(mode: str, denoiser: Denoiser) -> Guidance:
    if mode == "exact":
        return ExactGuidance(denoiser, curved_log_likelihood, TAPS, 100, CPU)
    return ReadoutGuidance(denoiser, curved_log_likelihood, TAPS, CPU)


def gradient_of(guidance: Guidance, x_t: Tensor, timestep: int, alpha_bar_t: Tensor) -> Tensor:
    """The gradient that the guided noise contains: unit scale, divided by its known factor."""
    x_t = x_t.detach().requires_grad_()
    output, log_prob = guidance(x_t, timestep, alpha_bar_t)
    zero = torch.zeros_like(output)
    return -guide_eps(zero, log_prob, x_t, alpha_bar_t, 1.0) / (1 - alpha_bar_t).sqrt()


@pytest.mark.parametrize("prediction_type", PREDICTION_TYPES)
@pytest.mark.parametrize("mode", MODES)
def test_the_gradient_agrees_with_finite_differences(
    tiny_denoiser_float64: Denoiser, mode: str, prediction_type: str
) -> None:
    denoiser = replace(tiny_denoiser_float64, schedule=ScheduleConfig(prediction_type=prediction_type))
    guidance, alpha_bar_t = curved_guidance(mode, denoiser), alpha_bar(600)
    x_t = normal(2, 3, 16, 16)
    gradient = gradient_of(guidance, x_t, 600, alpha_bar_t)
    assert gradient.dtype == torch.float64
    for seed in range(1, 5):
        direction = normal(2, 3, 16, 16, seed=seed)
        ahead, behind = (guidance(x_t + step * direction, 600, alpha_bar_t)[1].sum().detach() for step in (1e-5, -1e-5))
        slope = float(ahead - behind) / 2e-5
        assert abs(slope) > 1e-3
        assert float((gradient * direction).sum()) == pytest.approx(slope, rel=1e-5)


@pytest.mark.parametrize("prediction_type", PREDICTION_TYPES)
def test_the_exact_gradient_is_that_of_two_whole_passes(tiny_denoiser_float64: Denoiser, prediction_type: str) -> None:
    denoiser = replace(tiny_denoiser_float64, schedule=ScheduleConfig(prediction_type=prediction_type))
    alpha_bar_t, x_t = alpha_bar(600), normal(2, 3, 16, 16).requires_grad_()
    eps = pred_epsilon(denoiser.unet(x_t, 600).sample, x_t, alpha_bar_t, prediction_type)
    x0_hat = (x_t - (1 - alpha_bar_t).sqrt() * eps) / alpha_bar_t.sqrt()
    _, maps = forward_with_features(denoiser.unet, x0_hat, 100, TAPS)
    (expected,) = torch.autograd.grad(curved_log_likelihood(maps, 100).sum(), x_t)
    found = gradient_of(curved_guidance("exact", denoiser), x_t, 600, alpha_bar_t)
    assert difference(found, expected) < 1e-6


def test_the_gradient_through_the_predicted_noise_matters(tiny_denoiser_float64: Denoiser) -> None:
    alpha_bar_t, x_t = alpha_bar(600), normal(2, 3, 16, 16).requires_grad_()
    output = tiny_denoiser_float64.unet(x_t, 600).sample.detach()
    x0_hat = pred_original_sample(output, x_t, alpha_bar_t, "v_prediction")
    maps = extract(tiny_denoiser_float64.unet, x0_hat, 100, TAPS)
    (without,) = torch.autograd.grad(curved_log_likelihood(maps, 100).sum(), x_t)
    found = gradient_of(curved_guidance("exact", tiny_denoiser_float64), x_t, 600, alpha_bar_t)
    assert difference(without, found) > 0.1


class EpsilonOf(nn.Module):
    """A v-predicting network, seen as one that predicts the noise."""

    def __init__(self, unet: nn.Module, alpha_bar_t: Tensor) -> None:
        super().__init__()
        self.unet = unet
        self.alpha_bar_t = alpha_bar_t

    def forward(self, sample: Tensor, timestep: int) -> SimpleNamespace:
        v = self.unet(sample, timestep).sample
        return SimpleNamespace(sample=pred_epsilon(v, sample, self.alpha_bar_t, "v_prediction"))

    def get_submodule(self, target: str) -> nn.Module:
        return self.unet.get_submodule(target)


@pytest.mark.parametrize("mode", MODES)
def test_one_denoiser_in_both_parametrisations_is_guided_alike(tiny_denoiser_float64: Denoiser, mode: str) -> None:
    alpha_bar_t, x_t = alpha_bar(600), normal(2, 3, 16, 16)
    as_epsilon = Denoiser(
        EpsilonOf(tiny_denoiser_float64.unet, alpha_bar_t), ScheduleConfig(prediction_type="epsilon"), "1" * 64
    )
    found = []
    for denoiser in (tiny_denoiser_float64, as_epsilon):
        kind = denoiser.schedule.prediction_type
        output = guided(curved_guidance(mode, denoiser), 3.0, kind)(x_t, 600, alpha_bar_t)
        found.append(pred_epsilon(output, x_t, alpha_bar_t, kind))
    torch.testing.assert_close(*found, rtol=0, atol=1e-9)
    plain = pred_epsilon(unguided(tiny_denoiser_float64, CPU)(x_t, 600, alpha_bar_t), x_t, alpha_bar_t, "v_prediction")
    assert difference(found[0], plain) > 1e-3


@pytest.mark.parametrize("mode", MODES)
def test_a_guided_batch_equals_guided_singles(tiny_denoiser: Denoiser, mode: str) -> None:
    head = random_head(tiny_denoiser, timesteps=[100, 700])
    predict = guided(attribute_guidance(mode, tiny_denoiser, head, True, CPU), 30.0, "v_prediction")
    x_t, alpha_bar_t = normal(4, 3, 16, 16, dtype=torch.float32), alpha_bar(600, torch.float32)
    batch = predict(x_t, 600, alpha_bar_t)
    singles = torch.cat([predict(single, 600, alpha_bar_t) for single in x_t.split(1)])
    torch.testing.assert_close(batch, singles, rtol=1e-5, atol=1e-5)
    assert float((batch - unguided(tiny_denoiser, CPU)(x_t, 600, alpha_bar_t)).abs().max()) > 1e-2


@pytest.mark.parametrize("value", [True, False])
@pytest.mark.parametrize("mode", MODES)
def test_a_step_along_the_gradient_raises_the_likelihood_of_the_wanted_value(
    tiny_denoiser: Denoiser, mode: str, value: bool
) -> None:
    guidance = attribute_guidance(mode, tiny_denoiser, random_head(tiny_denoiser), value, CPU)
    x_t, alpha_bar_t = normal(3, 3, 16, 16, dtype=torch.float32), alpha_bar(600, torch.float32)
    gradient = gradient_of(guidance, x_t, 600, alpha_bar_t)
    before, after = (guidance(x, 600, alpha_bar_t)[1] for x in (x_t, x_t + 0.05 * gradient / gradient.norm()))
    assert (after > before).all()


# --- cost ---


def test_counted_cost_of_a_guided_step_of_the_default_architecture() -> None:
    config = load_config(yaml.safe_load(CONFIG.read_text()))
    unet = build_unet(config.denoiser.architecture, config.data.image_size).requires_grad_(False).eval()
    denoiser = Denoiser(unet, config.denoiser.schedule, "0" * 64)
    head = random_head(denoiser, ["mid_block"])
    cost = {
        mode: count_forwards(
            guided(attribute_guidance(mode, denoiser, head, True, CPU), 1.0, "v_prediction"), denoiser, CPU
        )
        for mode in MODES
    }
    assert count_forwards(unguided(denoiser, CPU), denoiser, CPU) == 1
    # A backward pass cannot be free: below these bounds something was not counted or not differentiated.
    assert 2.2 < cost["exact"] <= 2.6
    assert 1.1 < cost["readout"] <= 1.35


# --- what is refused, what stays frozen ---


def test_log_prob_must_be_attached() -> None:
    x_t, alpha_bar_t = normal(2, 3, 4, 4).requires_grad_(), torch.tensor(0.5)
    with pytest.raises(GuidanceError, match="requires_grad"):
        guide_eps(x_t, x_t.sum((1, 2, 3)).detach(), x_t, alpha_bar_t, 1.0)


def test_log_prob_of_another_pass_is_refused() -> None:
    x_t, other = normal(2, 3, 4, 4).requires_grad_(), normal(2, 3, 4, 4).requires_grad_()
    with pytest.raises(GuidanceError, match="another pass"):
        guide_eps(x_t, other.sum((1, 2, 3)), x_t, torch.tensor(0.5), 1.0)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_gradient_that_is_not_finite_is_refused(bad: float) -> None:
    x_t = normal(2, 3, 4, 4).requires_grad_()
    weight = torch.ones(2, 3, 4, 4, dtype=torch.float64)
    weight[1, 2, 3, 3] = bad
    with pytest.raises(GuidanceError, match="not finite"):
        guide_eps(x_t, (weight * x_t).sum((1, 2, 3)), x_t, torch.tensor(0.5), 1.0)


@pytest.mark.parametrize("mode", MODES)
def test_a_predictor_refuses_a_detached_likelihood(tiny_denoiser: Denoiser, mode: str) -> None:
    guidance = replace(curved_guidance(mode, tiny_denoiser), log_likelihood=lambda maps, _: maps[0].detach().sum())
    with pytest.raises(GuidanceError, match="does not depend"):
        guided(guidance, 1.0, "v_prediction")(torch.zeros(1, 3, 16, 16), 600, torch.tensor(0.5))


@pytest.mark.parametrize("frozen", [True, False])
@pytest.mark.parametrize("mode", MODES)
def test_no_parameter_receives_a_gradient(tiny_denoiser: Denoiser, mode: str, frozen: bool) -> None:
    head = random_head(tiny_denoiser)
    parameters = [*tiny_denoiser.unet.parameters(), *head.parameters()]
    assert not any(parameter.requires_grad for parameter in parameters)
    for parameter in parameters:
        parameter.requires_grad_(not frozen)
    x_t = normal(2, 3, 16, 16, dtype=torch.float32)
    predict = guided(attribute_guidance(mode, tiny_denoiser, head, True, CPU), 5.0, "v_prediction")
    output = predict(x_t, 600, torch.tensor(0.3))
    assert all(parameter.grad is None for parameter in parameters)
    assert x_t.grad is None and not x_t.requires_grad
    assert not output.requires_grad


def test_a_clipped_step_moves_along_its_guidance() -> None:
    """With the noise of the unclipped estimate, the step of a saturated pixel would run the other way."""
    scheduler = make_scheduler(ScheduleConfig(), clip_sample=True)
    noise = SampleNoise([3], (1, 8, 8), torch.device("cpu"))

    def towards_white(strength: float) -> Tensor:
        def predict(x_t: Tensor, _timestep: int, alpha_bar_t: Tensor) -> Tensor:
            eps = torch.zeros_like(x_t) - strength * (1 - alpha_bar_t).sqrt()
            return output_of_epsilon(eps, x_t, alpha_bar_t, "v_prediction")

        return sample_ddim(predict, scheduler, SampleNoise([3], (1, 8, 8), noise.draw().device), 10, 0.0)

    means = [float(towards_white(strength).mean()) for strength in (0.0, 1.0, 30.0)]
    assert means == sorted(means)
    assert means[-1] > 0.9


def test_outside_its_interval_the_predictor_is_the_plain_one(tiny_denoiser: Denoiser) -> None:
    def never(x_t: Tensor, timestep: int, alpha_bar_t: Tensor) -> tuple[Tensor, Tensor]:
        raise AssertionError("guided")

    plain = unguided(tiny_denoiser, CPU)
    predict = guided(never, 5.0, "v_prediction", plain, (100, 900))
    x_t, alpha_bar_t = torch.randn(2, 3, 16, 16), torch.tensor(0.5)
    assert torch.equal(predict(x_t, 950, alpha_bar_t), plain(x_t, 950, alpha_bar_t))
    with pytest.raises(AssertionError, match="guided"):
        predict(x_t, 900, alpha_bar_t)
