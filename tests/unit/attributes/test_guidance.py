"""Steering by a head: towards the wanted value, at the head's own levels, within the interval, one row at a time."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from attribute_helpers import normal, random_head
from fewshot_diffusion.attributes.guidance import Steering, attribute_guidance
from fewshot_diffusion.attributes.sampling import make_predictor
from fewshot_diffusion.config.sampling import SamplingConfig
from fewshot_diffusion.diffusion.denoiser import Denoiser
from fewshot_diffusion.diffusion.guidance import guided, unguided
from fewshot_diffusion.errors import WeightsError
from fewshot_diffusion.storage.weights import save_module
from support import smoke_config

ALPHA_BAR = torch.tensor(0.35)


def log_prob_of(
    denoiser: Denoiser, mode: str, value: bool, timesteps: tuple[int, ...] = (100,)
) -> Callable[..., Tensor]:
    guidance = attribute_guidance(mode, denoiser, random_head(denoiser, timesteps=timesteps), value)
    return lambda x_t, timestep=600: guidance(x_t, timestep, ALPHA_BAR)[1]


@pytest.mark.parametrize("value", [True, False])
@pytest.mark.parametrize("mode", ["exact", "readout"])
def test_a_guided_step_raises_the_likelihood_of_the_wanted_value(
    tiny_denoiser: Denoiser, mode: str, value: bool
) -> None:
    log_prob, other = log_prob_of(tiny_denoiser, mode, value), log_prob_of(tiny_denoiser, mode, not value)
    x_t = normal(3, 3, 16, 16).requires_grad_()
    (gradient,) = torch.autograd.grad(log_prob(x_t).sum(), x_t)
    ahead = x_t.detach() + 0.05 * gradient / gradient.norm()
    assert (log_prob(ahead) > log_prob(x_t)).all()
    assert (other(ahead) < other(x_t)).all()
    torch.testing.assert_close(log_prob(x_t).exp() + other(x_t).exp(), torch.ones(3))


def test_an_exact_head_reads_the_clean_estimate_at_its_own_label(tiny_denoiser: Denoiser) -> None:
    head, x_t = random_head(tiny_denoiser, timesteps=(300,)), normal(3, 3, 16, 16)
    # Without noise the clean estimate is x_t itself.
    _, found = attribute_guidance("exact", tiny_denoiser, head, True)(x_t, 600, torch.tensor(1.0))
    _, maps = tiny_denoiser.predict_with_features(x_t, 300, head.taps)
    torch.testing.assert_close(found, head.log_prob(maps, 300, True))


def test_direct_reads_what_exact_reads_and_steers_by_its_head(tiny_denoiser: Denoiser, tmp_path: Path) -> None:
    folder, head, x_t = saved_head(tmp_path, tiny_denoiser), random_head(tiny_denoiser), normal(3, 3, 16, 16)
    exact, direct = (attribute_guidance(mode, tiny_denoiser, head, True) for mode in ("exact", "direct"))
    for found, expected in zip(direct(x_t, 600, ALPHA_BAR), exact(x_t, 600, ALPHA_BAR), strict=True):
        assert torch.equal(found, expected)
    steps = {
        mode: make_predictor(tiny_denoiser, Steering(mode, "Blond", True, 20.0), folder, settings())
        for mode in ("exact", "direct")
    }
    found = steps["direct"](x_t, 600, ALPHA_BAR)
    assert torch.equal(found, guided(direct, 20.0, "v_prediction")(x_t, 600, ALPHA_BAR))
    assert not torch.allclose(found, steps["exact"](x_t, 600, ALPHA_BAR), atol=1e-3)


@pytest.mark.parametrize("timestep", [40, 220, 400])
def test_a_readout_head_is_used_at_the_level_of_the_sample(tiny_denoiser: Denoiser, timestep: int) -> None:
    head, x_t = random_head(tiny_denoiser, timesteps=(40, 400)), normal(3, 3, 16, 16)
    _, maps = tiny_denoiser.predict_with_features(x_t, timestep, head.taps)
    logits = {level: head(maps, level) for level in (40, 220, 400)}
    assert not torch.allclose(logits[40], logits[220], atol=1e-3)
    assert not torch.allclose(logits[400], logits[220], atol=1e-3)
    _, found = attribute_guidance("readout", tiny_denoiser, head, True)(x_t, timestep, ALPHA_BAR)
    torch.testing.assert_close(found, torch.nn.functional.logsigmoid(logits[timestep]))


# --- the predictor of a sample set ---


def settings(**changes: object) -> SamplingConfig:
    return smoke_config().sampling.model_copy(update={"guidance_interval": (100, 900), **changes})


def saved_head(folder: Path, denoiser: Denoiser, about: dict[str, object] | None = None) -> Path:
    head = random_head(denoiser)
    own = {"denoiser": denoiser.digest, "mode": "exact", "attribute": "Blond"}
    save_module(head, head.config, folder, {**own, **(about or {})})
    return folder


@pytest.mark.parametrize("value", [True, False])
def test_the_predictor_is_that_of_its_head_value_and_scale(
    tiny_denoiser: Denoiser, tmp_path: Path, value: bool
) -> None:
    folder, x_t = saved_head(tmp_path, tiny_denoiser), normal(2, 3, 16, 16)
    predict = make_predictor(tiny_denoiser, Steering("exact", "Blond", value, 20.0), folder, settings())
    guidance = attribute_guidance("exact", tiny_denoiser, random_head(tiny_denoiser), value)
    expected = guided(guidance, 20.0, "v_prediction")(x_t, 600, ALPHA_BAR)
    assert torch.equal(predict(x_t, 600, ALPHA_BAR), expected)
    plain = unguided(tiny_denoiser)(x_t, 600, ALPHA_BAR)
    assert not torch.allclose(expected, plain, atol=1e-3)
    for timestep, equal in [(99, True), (100, False), (900, False), (901, True)]:
        outside = torch.equal(predict(x_t, timestep, ALPHA_BAR), unguided(tiny_denoiser)(x_t, timestep, ALPHA_BAR))
        assert outside is equal
    assert torch.equal(make_predictor(tiny_denoiser, Steering(), None, settings())(x_t, 600, ALPHA_BAR), plain)


@pytest.mark.parametrize(
    "about", [{"denoiser": "1" * 64}, {"mode": "readout"}, {"attribute": "Beard"}, {"attribute": None}]
)
def test_a_head_in_anothers_place_is_refused(tiny_denoiser: Denoiser, tmp_path: Path, about: dict[str, object]) -> None:
    folder = saved_head(tmp_path, tiny_denoiser, about)
    with pytest.raises(WeightsError, match=f"the weights are of {next(iter(about))}"):
        make_predictor(tiny_denoiser, Steering("exact", "Blond", True, 1.0), folder, settings())
