"""The segmentation head, its cached features and guidance towards masks."""

from pathlib import Path

import pytest
import torch
from fewshot_diffusion.config.segmentation import MaskHeadConfig, SegmenterConfig
from torch.nn import functional as F

from fewshot_diffusion.data.mask_set import MaskSet, flip_masks
from fewshot_diffusion.diffusion.denoiser import Denoiser
from fewshot_diffusion.diffusion.features import FeatureTap, describe_taps, extract
from fewshot_diffusion.diffusion.guidance import guided
from fewshot_diffusion.diffusion.sampling import plan_units
from fewshot_diffusion.errors import WeightsError
from fewshot_diffusion.masks.features import load_pair_features, pair_features, save_pair_features
from fewshot_diffusion.masks.guidance import clean_image_guidance, mask_guidance, mask_predictors
from fewshot_diffusion.masks.heads import (
    SegmentationHead,
    load_segmentation_head,
    mask_log_likelihood,
    train_segmentation_head,
)
from fewshot_diffusion.masks.segmenter import Segmenter, load_segmenter, train_segmenter
from fewshot_diffusion.runtime import CPU
from fewshot_diffusion.storage.weights import save_module

TAPS = ["up_blocks.1", "up_blocks.0"]
CLASSES = ["background", "square", "other"]
SETTINGS = MaskHeadConfig(
    hidden_channels=16, updates=150, batch_size=4, learning_rate=5e-3, flip=True, readout_timesteps=[100, 500],
    readout_draws=2, precision="float32",
)  # fmt: skip
SMALL = SegmenterConfig(block_out_channels=(8, 16), epochs=1, batch_size=2, learning_rate=1e-3, weight_decay=0)


def squares(number: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    """Return images with a bright square and their masks."""
    stream = torch.Generator().manual_seed(0)
    images = torch.randint(60, (number, 3, 16, 16), generator=stream).to(torch.uint8)
    masks = torch.zeros(number, 16, 16, dtype=torch.uint8)
    for i in range(number):
        top, left = torch.randint(8, (2,), generator=stream).tolist()
        images[i, :, top : top + 8, left : left + 8] += 180
        masks[i, top : top + 8, left : left + 8] = 1
    return images, masks


def random_head(denoiser: Denoiser, timesteps: list[int], upsampling: str = "nearest") -> SegmentationHead:
    torch.manual_seed(0)
    head = SegmentationHead(describe_taps(denoiser.unet, TAPS), CLASSES, timesteps, 16, upsampling, 16)
    head.level_bias.data.normal_()
    return head.requires_grad_(False).eval()


@pytest.mark.parametrize("upsampling", ["nearest", "bilinear"])
def test_the_head_equals_convolutions_of_the_concatenation(tiny_denoiser: Denoiser, upsampling: str) -> None:
    head = random_head(tiny_denoiser, [300], upsampling)
    maps = [torch.randn(2, tap.num_chs, 16 // tap.reduction, 16 // tap.reduction) for tap in head.taps]
    mode = {"mode": upsampling} | ({"align_corners": False} if upsampling == "bilinear" else {})
    joined = torch.cat([F.interpolate(found, size=(16, 16), **mode) for found in maps], dim=1)
    weight = torch.cat([convolution.weight for convolution in head.first], dim=1)
    expected = head.rest(F.conv2d(joined, weight, head.level_bias[0]))
    torch.testing.assert_close(head(maps, 300), expected, rtol=1e-5, atol=1e-5)


def test_a_readout_head_interpolates_between_its_levels(tiny_denoiser: Denoiser) -> None:
    head = random_head(tiny_denoiser, [100, 500])
    maps = [torch.randn(1, tap.num_chs, 16 // tap.reduction, 16 // tap.reduction) for tap in head.taps]
    assert torch.equal(head(maps, 0), head(maps, 100))
    assert torch.equal(head(maps, 900), head(maps, 500))
    assert not torch.equal(head(maps, 300), head(maps, 500))


def test_flipping_twice_is_the_identity_and_sides_are_exchanged() -> None:
    masks = torch.randint(4, (3, 8, 8)).to(torch.uint8)
    once = flip_masks(masks, [(1, 2)])
    assert torch.equal(flip_masks(once, [(1, 2)]), masks)
    assert torch.equal(once == 2, (masks == 1).flip(-1))
    assert torch.equal(once == 3, (masks == 3).flip(-1))


@pytest.mark.parametrize("noised", [False, True])
def test_a_few_pairs_are_learned_and_the_head_survives_the_disk(
    tiny_denoiser: Denoiser, tmp_path: Path, noised: bool
) -> None:
    images, masks = squares()
    levels = SETTINGS.readout_timesteps if noised else [50]
    features = pair_features(tiny_denoiser, images, masks, TAPS, levels, noised, SETTINGS, CPU)
    rows = 2 * len(images) * (SETTINGS.readout_draws if noised else 1)
    assert features.maps[0].shape[:2] == (len(levels), rows)
    path = tmp_path / "features.safetensors"
    save_pair_features(features, tiny_denoiser.unet, path, {"taps": TAPS, "classes": CLASSES})
    read, about = load_pair_features(path)
    head, report = train_segmentation_head(read, about["taps"], CLASSES, "bilinear", SETTINGS)
    assert report["pixel_accuracy"] > (0.8 if noised else 0.9)  # the larger class has 0.75
    save_module(head, head.config, tmp_path / "head", {"denoiser": tiny_denoiser.digest})
    loaded = load_segmentation_head(tmp_path / "head", tiny_denoiser.digest)
    maps = extract(tiny_denoiser.unet, images.float() / 127.5 - 1, levels[0], TAPS)
    assert torch.equal(loaded(maps, levels[0]), head(maps, levels[0]))
    with pytest.raises(WeightsError, match="was trained with denoiser"):
        load_segmentation_head(tmp_path / "head", "1" * 64)


def test_training_and_guidance_read_the_same_features(tiny_denoiser: Denoiser) -> None:
    """x0_hat := a real image gives the inputs that the head was trained on."""
    images, masks = squares(2)
    cached = pair_features(
        tiny_denoiser, images, masks, TAPS, [50], False, SETTINGS.model_copy(update={"flip": False}), CPU
    )
    maps = extract(tiny_denoiser.unet, images.float() / 127.5 - 1, 50, TAPS)
    for found, expected in zip(cached.maps, maps, strict=True):
        torch.testing.assert_close(found[0], expected.half())


def test_the_log_likelihood_is_a_mean_over_the_pixels_of_each_sample() -> None:
    logits, masks = torch.randn(3, 4, 8, 8), torch.randint(4, (3, 8, 8))
    by_hand = logits.log_softmax(1).gather(1, masks[:, None]).mean((1, 2, 3))
    torch.testing.assert_close(mask_log_likelihood(logits, masks.to(torch.uint8)), by_hand)
    torch.testing.assert_close(mask_log_likelihood(logits[:1], masks[:1]), by_hand[:1])


def guidance_of(method: str, denoiser: Denoiser, masks: torch.Tensor) -> object:
    if method == "clean_image":
        torch.manual_seed(1)
        segmenter = Segmenter(CLASSES, (8, 16), 16).requires_grad_(False).eval()
        return clean_image_guidance(denoiser, segmenter, masks, CPU)
    head = random_head(denoiser, [50] if method == "exact" else [100, 500])
    return mask_guidance(method, denoiser, head, masks, CPU)


@pytest.mark.parametrize("method", ["exact", "readout", "clean_image"])
def test_a_guided_batch_equals_guided_singles(tiny_denoiser: Denoiser, method: str) -> None:
    masks = squares(3)[1]
    x_t = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    step = (600, torch.tensor(0.4))
    together = guided(guidance_of(method, tiny_denoiser, masks), 50.0, "v_prediction")(x_t, *step)
    for i in range(3):
        alone = guided(guidance_of(method, tiny_denoiser, masks[i : i + 1]), 50.0, "v_prediction")(
            x_t[i : i + 1], *step
        )
        torch.testing.assert_close(together[i : i + 1], alone, rtol=1e-4, atol=1e-5)
    other = guided(guidance_of(method, tiny_denoiser, 1 - masks), 50.0, "v_prediction")(x_t, *step)
    assert float((other - together).abs().max()) > 1e-3


def test_sample_i_follows_mask_i(tiny_denoiser: Denoiser, tmp_path: Path) -> None:
    masks = squares(3)[1]
    wanted = MaskSet(masks, torch.arange(3), CLASSES)
    head = random_head(tiny_denoiser, [50])
    save_module(head, head.config, tmp_path, {"denoiser": tiny_denoiser.digest})
    predictor_of = mask_predictors("exact", tiny_denoiser, tmp_path, wanted, 50.0, (0, 999), CPU)
    x_t, step = torch.randn(2, 3, 16, 16), (600, torch.tensor(0.4))
    (unit,) = plan_units(first_seed=5, units=1, unit_size=2)  # seeds 5 and 6: masks 2 and 0
    expected = guided(mask_guidance("exact", tiny_denoiser, head, masks[[2, 0]], CPU), 50.0, "v_prediction")
    assert torch.equal(predictor_of(unit)(x_t, *step), expected(x_t, *step))


def test_a_segmenter_serves_its_role_alone(tmp_path: Path) -> None:
    images, masks = squares(4)
    model = train_segmenter(images, masks, CLASSES, [], SMALL, CPU)
    assert model.segment(images).shape == masks.shape
    save_module(model, model.config, tmp_path, {"role": "guides"})
    assert torch.equal(load_segmenter(tmp_path, "guides", CLASSES)(images), model(images))
    with pytest.raises(WeightsError, match="role is 'guides', expected 'judge'"):
        load_segmenter(tmp_path, "judge", CLASSES)
    with pytest.raises(WeightsError, match="finds background, square, other, expected background, circle"):
        load_segmenter(tmp_path, "guides", ["background", "circle"])


def test_a_segmenter_learns_squares() -> None:
    images, masks = squares(24)
    settings = SMALL.model_copy(update={"epochs": 25, "batch_size": 4, "learning_rate": 5e-3})
    model = train_segmenter(images, masks, CLASSES, [], settings, CPU)
    held_images, held_masks = squares(40)
    found = model.segment(held_images[24:])
    assert float((found == held_masks[24:]).float().mean()) > 0.9


def test_taps_may_be_given_as_records() -> None:
    head = SegmentationHead([{"module": "mid_block", "num_chs": 4, "reduction": 2}], CLASSES, [50], 16)
    assert head.taps == [FeatureTap("mid_block", 4, 2)]
