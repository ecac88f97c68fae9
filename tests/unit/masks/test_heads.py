"""The mask head: what it computes, what it learns from, and what it may steer."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from fewshot_diffusion.config.masks import MaskHeadConfig
from fewshot_diffusion.diffusion.features import FeatureTap
from fewshot_diffusion.errors import WeightsError
from fewshot_diffusion.masks.features import MaskFeatures
from fewshot_diffusion.masks.heads import MaskHead, fit_mask_head, load_mask_head, mask_log_likelihood
from fewshot_diffusion.masks.pairs import Pairs
from fewshot_diffusion.masks.row import GuideKey
from fewshot_diffusion.storage.weights import save_module

CLASSES = ["background", "square", "other"]
KEY = GuideKey("exact", "label_100", shots=4)
HeadMaker = Callable[..., MaskHead]
Squares = Callable[[int], Pairs]


def maps_for(head: MaskHead, number: int = 2) -> list[Tensor]:
    stream = torch.Generator().manual_seed(0)
    shapes = [(number, tap.num_chs, 16 // tap.reduction, 16 // tap.reduction) for tap in head.taps]
    return [torch.randn(shape, generator=stream) for shape in shapes]


@pytest.mark.parametrize("upsampling", ["nearest", "bilinear"])
def test_it_equals_convolutions_of_the_upsampled_concatenation(random_head: HeadMaker, upsampling: str) -> None:
    head = random_head([300], upsampling)
    maps = [found / scale for found, scale in zip(maps_for(head), head.scales, strict=True)]
    assert [found.shape[-1] for found in maps] == [16, 8]
    how = {"mode": upsampling} | ({"align_corners": False} if upsampling == "bilinear" else {})
    joined = torch.cat([F.interpolate(found, size=(16, 16), **how) for found in maps], dim=1)
    weight = torch.cat([convolution.weight for convolution in head.first], dim=1)
    expected = head.rest(F.conv2d(joined, weight, head.level_bias[0]))
    torch.testing.assert_close(head(maps_for(head), 300), expected, rtol=1e-5, atol=1e-5)


def test_layers_have_one_width_or_each_its_own(recipe: MaskHeadConfig, squares: Squares) -> None:
    def states(hidden_channels: int | list[int]) -> list[tuple[int, ...]]:
        settings = MaskHeadConfig.model_validate(
            {**recipe.model_dump(), "updates": 2, "hidden_channels": hidden_channels}
        )
        head, _ = fit_mask_head(opposite_levels(squares(4).masks), "nearest", settings)
        again = MaskHead(**json.loads(json.dumps(head.config)))
        again.load_state_dict(head.state_dict())
        assert again.config["hidden_channels"] == hidden_channels
        return [tuple(weight.shape[:2]) for name, weight in head.state_dict().items() if weight.ndim == 4]

    assert states(16) == states([16, 16, 16]) == [(16, 1), (16, 16), (16, 16), (3, 16)]
    assert states([8, 4]) == [(8, 1), (4, 8), (3, 4)]


def test_between_two_noise_levels_the_bias_is_interpolated(random_head: HeadMaker) -> None:
    head, middle = random_head([100, 500]), random_head([200])
    middle.level_bias.data = head.level_bias[:1].lerp(head.level_bias[1:], 0.25)
    maps = maps_for(head)
    torch.testing.assert_close(head(maps, 200), middle(maps, 200))
    assert torch.equal(head(maps, 0), head(maps, 100))
    assert torch.equal(head(maps, 900), head(maps, 500))
    assert not torch.equal(head(maps, 100), head(maps, 500))


def test_activations_in_bfloat16_are_read_in_full_precision(random_head: HeadMaker) -> None:
    head = random_head([100])
    rounded = [found.bfloat16() for found in maps_for(head)]
    logits = head(rounded, 100)
    assert logits.dtype == torch.float32
    assert torch.equal(logits, head([found.float() for found in rounded], 100))


def test_the_log_likelihood_is_a_mean_over_the_pixels_of_each_sample() -> None:
    logits, masks = torch.randn(3, 4, 8, 8), torch.randint(4, (3, 8, 8))
    by_hand = logits.log_softmax(1).gather(1, masks[:, None]).mean((1, 2, 3))
    torch.testing.assert_close(mask_log_likelihood(logits, masks.to(torch.uint8)), by_hand)
    torch.testing.assert_close(mask_log_likelihood(logits[:1], masks[:1]), by_hand[:1])


def opposite_levels(squares: Tensor) -> MaskFeatures:
    """Return activations that show the square as 5 at label 100 and as -5 at label 500."""
    signs = torch.tensor([5.0, -5.0]).view(2, 1, 1, 1, 1)
    maps = (signs * (2 * squares[:, None].float() - 1)).half()
    return MaskFeatures([maps], squares, [100, 500], [FeatureTap("mid_block", 1, 1)], CLASSES)


def test_every_noise_level_is_learned_with_its_own_activations(squares: Squares, recipe: MaskHeadConfig) -> None:
    masks = squares(4).masks
    features = opposite_levels(masks)
    head, _ = fit_mask_head(features, "nearest", recipe.model_copy(update={"updates": 300}))
    for level, timestep in enumerate(features.timesteps):
        found = head([features.maps[0][level]], timestep).argmax(1)
        assert float((found == masks).float().mean()) > 0.99


def test_what_is_learned_does_not_depend_on_the_units_of_a_tap(squares: Squares, recipe: MaskHeadConfig) -> None:
    features = opposite_levels(squares(4).masks)
    larger = replace(features, maps=[maps * 64 for maps in features.maps])
    short = recipe.model_copy(update={"updates": 5})
    head, other = (fit_mask_head(each, "nearest", short)[0] for each in (features, larger))
    assert float(head.scales[0]) == pytest.approx(float(features.maps[0].float().std()))
    torch.testing.assert_close(head([features.maps[0][0]], 100), other([larger.maps[0][0]], 100))


@pytest.mark.parametrize(
    "change",
    [
        {"method": "readout"},
        {"preset": "label_500"},
        {"shots": 5},
        {"denoiser": "1" * 64},
        {"classes": ["a", "b", "c"]},
    ],
)
def test_it_steers_only_for_its_own_row_denoiser_and_classes(
    random_head: HeadMaker, tmp_path: Path, change: dict[str, object]
) -> None:
    head = random_head([50])
    save_module(head, head.config, tmp_path, {**KEY.key, "denoiser": "0" * 64, "classes": CLASSES})
    loaded = load_mask_head(tmp_path, KEY, "0" * 64, CLASSES)
    assert torch.equal(loaded(maps_for(head), 50), head(maps_for(head), 50))
    wanted = {**KEY.key, "denoiser": "0" * 64, "classes": CLASSES, **change}
    denoiser, classes = wanted.pop("denoiser"), wanted.pop("classes")
    with pytest.raises(WeightsError, match=f"the weights are of {next(iter(change))}"):
        load_mask_head(tmp_path, GuideKey(**wanted), denoiser, classes)  # type: ignore[arg-type]
