"""Guidance by DDIM-I's classifier: its gradient, with the denoiser's Jacobian or without, and no other's weights."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from attribute_helpers import normal, save_denoiser
from fewshot_diffusion.attributes.clean_image import (
    GuidingClassifier,
    image_guidance,
    make_predictor,
    sample_clean_image,
)
from fewshot_diffusion.attributes.guidance import Steering
from fewshot_diffusion.attributes.sampling import Share
from fewshot_diffusion.diffusion.denoiser import Denoiser, PixelDenoiser
from fewshot_diffusion.diffusion.guidance import unguided
from fewshot_diffusion.diffusion.samples import load_samples
from fewshot_diffusion.diffusion.schedule import output_of_epsilon, pred_epsilon, pred_original_sample
from fewshot_diffusion.errors import ConfigError, WeightsError
from fewshot_diffusion.images import to_signed
from fewshot_diffusion.runtime import CPU
from fewshot_diffusion.storage.weights import save_module
from support import smoke_config

ALPHA_BAR, V = torch.tensor(0.35), "v_prediction"
SETTINGS = smoke_config().sampling.model_copy(update={"guidance_interval": (100, 900)})


def classifier() -> GuidingClassifier:
    torch.manual_seed(2)
    return GuidingClassifier(["Blond"]).requires_grad_(False).eval()


@pytest.fixture
def guide(tmp_path: Path) -> Path:
    about = {"role": "ddim_i", "attribute": "Blond"}
    save_module(classifier(), classifier().config, tmp_path / "classifier", about)
    return tmp_path / "classifier"


def test_images_on_the_denoiser_s_scale_are_judged_as_their_pixels_are() -> None:
    pixels = torch.randint(256, (3, 3, 16, 16), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    has_it = classifier().probability(pixels, "Blond")
    for value, expected in ((True, has_it), (False, 1 - has_it)):
        torch.testing.assert_close(classifier().log_prob(to_signed(pixels), value).exp(), expected)


@pytest.mark.parametrize("value", [True, False])
@pytest.mark.parametrize("method", ["clean_image", "clean_image_direct"])
def test_a_step_follows_the_classifier_s_gradient(
    tiny_denoiser: Denoiser, guide: Path, method: str, value: bool
) -> None:
    """The gradient with respect to x_t, through the denoiser; of the direct method that with respect to x0_hat."""
    x_t = normal(3, 3, 16, 16).requires_grad_()
    output = tiny_denoiser.predict(x_t, 600)
    x0_hat = pred_original_sample(output, x_t, ALPHA_BAR, V)
    place = x_t if method == "clean_image" else x0_hat
    before = classifier().log_prob(x0_hat, value)
    (gradient,) = torch.autograd.grad(before.sum(), place, retain_graph=True)
    with torch.no_grad():
        eps_guided = pred_epsilon(output, x_t, ALPHA_BAR, V) - 20 * (1 - ALPHA_BAR).sqrt() * gradient
        expected = output_of_epsilon(eps_guided, x_t, ALPHA_BAR, V)
        ahead = place + 0.01 * gradient / gradient.norm()
        if method == "clean_image":
            ahead = pred_original_sample(tiny_denoiser.predict(ahead, 600), ahead, ALPHA_BAR, V)
        assert (classifier().log_prob(ahead, value) > before).all()
        assert (classifier().log_prob(ahead, not value) < classifier().log_prob(x0_hat, not value)).all()
    predict = make_predictor(tiny_denoiser, Steering(method, "Blond", value, 20.0), guide, SETTINGS)
    torch.testing.assert_close(predict(x_t.detach(), 600, ALPHA_BAR), expected)
    assert not torch.allclose(expected, output, atol=1e-3)
    outside = predict(x_t.detach(), 99, ALPHA_BAR)
    assert torch.equal(outside, unguided(tiny_denoiser)(x_t.detach(), 99, ALPHA_BAR))


def test_the_classifier_is_asked_in_float32_whatever_the_denoiser_computes_in(tiny_denoiser: PixelDenoiser) -> None:
    half, x_t = replace(tiny_denoiser, runtime=replace(CPU, dtype=torch.bfloat16)), normal(2, 3, 16, 16)
    output, found = image_guidance("clean_image", half, classifier(), True)(x_t, 600, ALPHA_BAR)
    x0_hat = pred_original_sample(output, x_t, ALPHA_BAR, V)
    assert torch.equal(found, classifier().log_prob(x0_hat, True))


@pytest.mark.parametrize("key", ["role", "attribute"])
def test_a_classifier_in_another_s_place_is_refused(tiny_denoiser: Denoiser, guide: Path, key: str) -> None:
    about = {"role": "ddim_i", "attribute": "Blond"}
    save_module(classifier(), classifier().config, guide, {**about, key: "other"})
    with pytest.raises(WeightsError, match=rf"classifier: the weights are of {key} 'other', expected '{about[key]}'"):
        make_predictor(tiny_denoiser, Steering("clean_image", "Blond", True, 1.0), guide, SETTINGS)


@pytest.mark.parametrize(
    ("steering", "said"),
    [
        (Steering("exact", "Blond"), "--method: found 'exact', expected clean_image or clean_image_direct"),
        (Steering("clean_image", "Blond", 0.5), "--value: found 0.5, expected True or False"),
    ],
)
def test_what_the_classifier_cannot_steer_is_refused(
    tiny_denoiser: Denoiser, guide: Path, steering: Steering, said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        make_predictor(tiny_denoiser, steering, guide, SETTINGS)


def test_a_shard_says_what_it_is_of(tiny_denoiser: Denoiser, guide: Path, tmp_path: Path) -> None:
    save_denoiser(tiny_denoiser, tmp_path / "denoiser")
    steering = Steering("clean_image", "Blond", False, 30.0)
    share = Share(10, 1, "1-of-1", tmp_path / "checkpoints", tmp_path / "shard.parquet")
    sample_clean_image(SETTINGS, tmp_path / "denoiser", steering, share, guide, device="cpu")
    drawn = load_samples([share.output], steering.about)
    assert drawn.seeds.tolist() == list(range(10, 10 + SETTINGS.unit_size))
    assert drawn.forwards_per_sample > SETTINGS.num_inference_steps
