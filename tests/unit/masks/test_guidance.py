"""Steering towards masks: whose likelihood, read where, at which label, for which sample."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from fewshot_diffusion.config.base import LEARNED_AS, learned_as
from fewshot_diffusion.data.mask_set import MaskSet
from fewshot_diffusion.diffusion.denoiser import Denoiser
from fewshot_diffusion.diffusion.guidance import guided, unguided
from fewshot_diffusion.diffusion.sampling import plan_units
from fewshot_diffusion.diffusion.schedule import pred_original_sample
from fewshot_diffusion.errors import WeightsError
from fewshot_diffusion.images import to_signed
from fewshot_diffusion.masks.controlnet import ControlNet, controlled
from fewshot_diffusion.masks.features import noised_to
from fewshot_diffusion.masks.guidance import (
    GUIDES,
    CleanImageDirectGuide,
    CleanImageGuide,
    DirectGuide,
    ExactGuide,
    MaskGuide,
    ReadoutGuide,
    Steering,
    predictors,
)
from fewshot_diffusion.masks.heads import MaskHead, mask_log_likelihood
from fewshot_diffusion.masks.row import MaskRow
from fewshot_diffusion.masks.segmenter import Segmenter
from fewshot_diffusion.storage.weights import save_module

CLASSES = ["background", "square", "other"]
EVERY_STEP = (0, 999)
T, ALPHA_BAR = 600, torch.tensor(0.4)

HeadMaker = Callable[..., MaskHead]


@pytest.fixture
def guides(tiny_denoiser: Denoiser, random_head: HeadMaker, segmenter: Segmenter) -> dict[str, MaskGuide]:
    return {
        "exact": ExactGuide(tiny_denoiser, random_head([50])),
        "readout": ReadoutGuide(tiny_denoiser, random_head([100, 500])),
        "clean_image": CleanImageGuide(tiny_denoiser, segmenter),
        "direct": DirectGuide(tiny_denoiser, random_head([50])),
        "clean_image_direct": CleanImageDirectGuide(tiny_denoiser, segmenter),
    }


@pytest.fixture
def x_t() -> Tensor:
    return torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def test_every_method_that_follows_a_gradient_is_tested(guides: dict[str, MaskGuide]) -> None:
    assert {name: type(guide) for name, guide in guides.items()} == GUIDES


@pytest.mark.parametrize("timestep", [120, 450])
@pytest.mark.parametrize("method", GUIDES)
def test_each_method_reads_what_it_says(
    tiny_denoiser: Denoiser, random_head: HeadMaker, segmenter: Segmenter, guides: dict[str, MaskGuide], x_t: Tensor,
    masks: Tensor, method: str, timestep: int,
) -> None:  # fmt: skip
    """exact: the clean estimate at its head's label; readout: x_t at its own level; clean_image: pixels.

    What is direct reads the same as what is not.
    """
    output, found = guides[method].guidance(masks)(x_t, timestep, ALPHA_BAR)
    torch.testing.assert_close(output, tiny_denoiser.unet(x_t, timestep).sample)
    x0_hat = pred_original_sample(output, x_t, ALPHA_BAR, "v_prediction")
    if learned_as(method) == "clean_image":
        logits = segmenter.logits(x0_hat)
    else:
        seen, label, levels = (x0_hat, 50, [50]) if learned_as(method) == "exact" else (x_t, timestep, [100, 500])
        head = random_head(levels)
        logits = head(tiny_denoiser.features(seen, label, head.modules_tapped), label)
    torch.testing.assert_close(found, mask_log_likelihood(logits, masks))


@pytest.mark.parametrize("method", GUIDES)
def test_a_guided_batch_equals_guided_singles(
    guides: dict[str, MaskGuide], x_t: Tensor, masks: Tensor, method: str
) -> None:
    def steer(wanted: Tensor, samples: Tensor) -> Tensor:
        return guided(guides[method].guidance(wanted), 50.0, "v_prediction")(samples, T, ALPHA_BAR)

    together = steer(masks, x_t)
    for i in range(3):
        alone = steer(masks[i : i + 1], x_t[i : i + 1])
        torch.testing.assert_close(together[i : i + 1], alone, rtol=1e-4, atol=1e-5)
    assert float((steer(1 - masks, x_t) - together).abs().max()) > 1e-3


def test_what_a_guide_itself_finds_is_read_as_it_was_trained(
    tiny_denoiser: Denoiser, guides: dict[str, MaskGuide], random_head: HeadMaker, segmenter: Segmenter
) -> None:
    """Clean images at the head's label; noised ones for readout, which knows no others; pixels for clean_image."""
    images = torch.randint(256, (60, 3, 16, 16), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    clean = to_signed(images)
    batches = (clean[:50], clean[50:])
    noised = torch.cat([noised_to(tiny_denoiser, batch, 100, "own opinion", k) for k, batch in enumerate(batches)])
    for method, seen, levels in (("exact", clean, [50]), ("readout", noised, [100, 500])):
        head = random_head(levels)
        maps = tiny_denoiser.features(seen, levels[0], head.modules_tapped)
        agreement = (guides[method].segment(images) == head(maps, levels[0]).argmax(1)).float().mean()
        assert float(agreement) > 0.999  # ties may fall either way
    assert torch.equal(guides["clean_image"].segment(images), segmenter.segment(images))
    for method, learned in LEARNED_AS.items():
        assert torch.equal(guides[method].segment(images), guides[learned].segment(images))


def steering(denoiser: Denoiser, method: str, guide: Path | None, guidance_scale: float = 50.0) -> Steering:
    return Steering(MaskRow(method, "p", 4, guidance_scale), guide, denoiser, CLASSES)


def save_head(head: MaskHead, folder: Path, denoiser: Denoiser, method: str = "exact") -> Path:
    of_row = {"method": method, "preset": "p", "shots": 4}
    save_module(head, head.config, folder, {**of_row, "denoiser": denoiser.digest, "classes": CLASSES})
    return folder


def wanted_set(masks: Tensor) -> MaskSet:
    return MaskSet(masks, torch.arange(len(masks)), CLASSES)


def test_sample_i_follows_mask_i_by_the_lambda_of_its_row(
    tiny_denoiser: Denoiser, random_head: HeadMaker, x_t: Tensor, masks: Tensor, tmp_path: Path
) -> None:
    head = random_head([50])
    save_head(head, tmp_path, tiny_denoiser)
    (unit,) = plan_units(first_seed=5, units=1, unit_size=2)  # seeds 5 and 6: masks 2 and 0
    for scale in (50.0, 80.0):
        of_unit = predictors(steering(tiny_denoiser, "exact", tmp_path, scale), wanted_set(masks), EVERY_STEP)
        guidance = ExactGuide(tiny_denoiser, head).guidance(masks[[2, 0]])
        expected = guided(guidance, scale, "v_prediction")(x_t[:2], T, ALPHA_BAR)
        assert torch.equal(of_unit(unit)(x_t[:2], T, ALPHA_BAR), expected)


def test_outside_the_interval_samples_are_not_guided(
    tiny_denoiser: Denoiser, random_head: HeadMaker, x_t: Tensor, masks: Tensor, tmp_path: Path
) -> None:
    save_head(random_head([50]), tmp_path, tiny_denoiser)
    (unit,) = plan_units(0, 1, 3)
    predict = predictors(steering(tiny_denoiser, "exact", tmp_path), wanted_set(masks), (0, 500))(unit)
    plain = unguided(tiny_denoiser)
    assert torch.equal(predict(x_t, T, ALPHA_BAR), plain(x_t, T, ALPHA_BAR))
    assert not torch.equal(predict(x_t, 500, ALPHA_BAR), plain(x_t, 500, ALPHA_BAR))


def test_unguided_samples_follow_nothing(tiny_denoiser: Denoiser, x_t: Tensor, masks: Tensor) -> None:
    (unit,) = plan_units(0, 1, 3)
    predict = predictors(steering(tiny_denoiser, "unguided", None), wanted_set(masks), EVERY_STEP)(unit)
    assert torch.equal(predict(x_t, T, ALPHA_BAR), unguided(tiny_denoiser)(x_t, T, ALPHA_BAR))


def test_a_controlnet_shows_mask_i_without_a_gradient(
    tiny_denoiser: Denoiser, x_t: Tensor, masks: Tensor, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    controlnet = ControlNet(dict(tiny_denoiser.unet.config), CLASSES).requires_grad_(False).eval()
    for module in (*controlnet.zeros, controlnet.hint[-1]):
        module.weight.data.normal_(std=0.1)
    about = {"denoiser": tiny_denoiser.digest, "classes": CLASSES, "shots": 4}
    save_module(controlnet, controlnet.config, tmp_path, about)
    (unit,) = plan_units(first_seed=4, units=1, unit_size=3)  # seeds 4, 5, 6: masks 1, 2, 0
    found = predictors(steering(tiny_denoiser, "controlnet", tmp_path), wanted_set(masks), EVERY_STEP)(unit)
    timesteps = torch.full((3,), T)
    expected = controlled(tiny_denoiser, controlnet, x_t, timesteps, masks[[1, 2, 0]])
    assert torch.equal(found(x_t, T, ALPHA_BAR), expected)
    assert not torch.equal(expected, controlled(tiny_denoiser, controlnet, x_t, timesteps, masks))


def test_the_guide_of_another_method_is_refused(
    tiny_denoiser: Denoiser, random_head: HeadMaker, masks: Tensor, tmp_path: Path
) -> None:
    save_head(random_head([50]), tmp_path, tiny_denoiser, method="readout")
    with pytest.raises(WeightsError, match="the weights are of method 'readout', expected 'exact'"):
        predictors(steering(tiny_denoiser, "exact", tmp_path), wanted_set(masks), EVERY_STEP)


def test_a_direct_method_steers_by_the_weights_of_the_method_that_learned(
    tiny_denoiser: Denoiser, random_head: HeadMaker, segmenter: Segmenter, x_t: Tensor, masks: Tensor, tmp_path: Path
) -> None:
    head, (unit,) = random_head([50]), plan_units(0, 1, 3)
    save_head(head, tmp_path / "exact", tiny_denoiser)
    about = {"role": "guides", "classes": CLASSES, "shots": 4}
    save_module(segmenter, segmenter.config, tmp_path / "clean_image", about)
    of = {
        "direct": DirectGuide(tiny_denoiser, head),
        "clean_image_direct": CleanImageDirectGuide(tiny_denoiser, segmenter),
    }
    for method, guide in of.items():
        folder = tmp_path / learned_as(method)
        found, learned = (
            predictors(steering(tiny_denoiser, name, folder), wanted_set(masks), EVERY_STEP)(unit)(x_t, T, ALPHA_BAR)
            for name in (method, learned_as(method))
        )
        assert torch.equal(found, guided(guide.guidance(masks), 50.0, "v_prediction")(x_t, T, ALPHA_BAR))
        assert not torch.allclose(found, learned, atol=1e-3), "through the first pass"
