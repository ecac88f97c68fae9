"""Cached activations of the few pairs: the same that guidance will read."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from fewshot_diffusion.config.masks import MaskHeadConfig, MaskTapsConfig
from fewshot_diffusion.diffusion.denoiser import Denoiser
from fewshot_diffusion.errors import CorruptFileError
from fewshot_diffusion.images import to_signed
from fewshot_diffusion.masks.features import load_mask_features, mask_features, noised_to, save_mask_features
from fewshot_diffusion.masks.heads import fit_mask_head, load_mask_head, train_mask_head
from fewshot_diffusion.masks.pairs import Pairs
from fewshot_diffusion.masks.row import GuideKey

Squares = Callable[[int], Pairs]


def test_clean_images_are_read_at_the_label_of_the_preset(
    tiny_denoiser: Denoiser, squares: Squares, taps: MaskTapsConfig, recipe: MaskHeadConfig
) -> None:
    """x0_hat := a real image gives the inputs that the head was trained on."""
    plain = recipe.model_copy(update={"flip": False})
    cached = mask_features(tiny_denoiser, squares(2), "exact", taps, plain)
    assert cached.timesteps == [50]
    maps = tiny_denoiser.features(to_signed(squares(2).images), 50, taps.taps)
    for found, expected in zip(cached.maps, maps, strict=True):
        torch.testing.assert_close(found[0], expected.half())


def test_readout_reads_each_level_with_the_noise_of_that_level(
    tiny_denoiser: Denoiser, squares: Squares, taps: MaskTapsConfig, recipe: MaskHeadConfig
) -> None:
    plain = recipe.model_copy(update={"flip": False, "readout_draws": 1})
    cached = mask_features(tiny_denoiser, squares(2), "readout", taps, plain)
    assert cached.timesteps == [100, 500]
    for level, timestep in enumerate(cached.timesteps):
        noised = noised_to(tiny_denoiser, to_signed(squares(2).images), timestep, "readout pairs", timestep)
        maps = tiny_denoiser.features(noised, timestep, taps.taps)
        for found, expected in zip(cached.maps, maps, strict=True):
            torch.testing.assert_close(found[level], expected.half())


def test_every_draw_shows_the_pairs_and_their_mirror_images(
    tiny_denoiser: Denoiser, squares: Squares, taps: MaskTapsConfig, recipe: MaskHeadConfig
) -> None:
    pairs = squares(3)
    cached = mask_features(tiny_denoiser, pairs, "readout", taps, recipe)
    assert cached.maps[0].shape[:2] == (2, 3 * 2 * recipe.readout_draws)
    assert torch.equal(cached.masks, torch.cat([pairs.masks, pairs.masks.flip(-1)] * 2))
    assert not torch.equal(cached.maps[0][0, :6], cached.maps[0][0, 6:])  # each draw has its own noise


@pytest.mark.parametrize("method", ["exact", "readout"])
def test_a_few_pairs_are_learned_from_the_cache(
    tiny_denoiser: Denoiser, squares: Squares, taps: MaskTapsConfig, recipe: MaskHeadConfig, tmp_path: Path, method: str
) -> None:
    features = mask_features(tiny_denoiser, squares(6), method, taps, recipe)
    about = {"method": method, "preset": "p", "shots": 6, "denoiser": "d"}
    save_mask_features(features, tmp_path / "cache.safetensors", about)
    read, denoiser = load_mask_features(tmp_path / "cache.safetensors", {"method": method, "shots": 6})
    assert denoiser == "d"
    _, report = fit_mask_head(read, "bilinear", recipe)
    assert report["pixel_accuracy"] > 0.8  # the larger class has 0.75
    mine, other = (GuideKey(method, "p", shots) for shots in (6, 7))
    train_mask_head(recipe, "bilinear", mine, tmp_path / "cache.safetensors", tmp_path / "head", "cpu")
    assert load_mask_head(tmp_path / "head", mine, "d", squares(1).classes).upsampling == "bilinear"
    with pytest.raises(CorruptFileError, match="was made for shots 6, expected 7"):
        train_mask_head(recipe, "bilinear", other, tmp_path / "cache.safetensors", tmp_path / "other", "cpu")


def test_behind_every_pair_lies_its_copy_of_another_brightness(tiny_denoiser: Denoiser, recipe: MaskHeadConfig) -> None:
    images = torch.full((6, 3, 16, 16), 100, dtype=torch.uint8)
    pairs = Pairs(images, torch.arange(6, dtype=torch.uint8)[:, None, None].expand(-1, 16, 16), list("abcdef"))
    both = pairs.brightened(0)
    factors = both.images[:].float().mean((1, 2, 3)) / 100
    assert torch.equal(both.images[:][::2], images)
    assert factors[1::2].min() >= 0.5 and factors[1::2].max() <= 1.5 and len(factors[1::2].unique()) > 3
    assert both.masks[:][:, 0, 0].tolist() == [k for k in range(6) for _ in range(2)]
    taps = MaskTapsConfig(taps=["up_blocks.0"], feature_timestep=100)
    plain, changed = (
        mask_features(tiny_denoiser, pairs, "exact", taps, recipe.model_copy(update={"brightness": share}))
        for share in (0.0, 0.2)
    )
    assert len(changed.masks) == 2 * len(plain.masks)
    assert (
        "brightness" not in recipe.model_dump()
        and "brightness" in recipe.model_copy(update={"brightness": 0.2}).model_dump()
    ), "what does not use it keeps its params"


def test_mirrored_pairs_exchange_left_and_right() -> None:
    images = torch.randint(256, (2, 3, 4, 4)).to(torch.uint8)
    masks = torch.tensor([0, 1, 2, 3], dtype=torch.uint8).expand(2, 4, 4)
    both = Pairs(images, masks, list("abcd"), flip_pairs=[(1, 2)]).mirrored()
    assert torch.equal(both.images[:2], images) and torch.equal(both.images[2:], images.flip(-1))
    assert torch.equal(both.masks[:2], masks)
    assert both.masks[2:].unique(dim=1).tolist() == [[[3, 1, 2, 0]]] * 2
    assert torch.equal(Pairs(both.images[2:], both.masks[2:], list("abcd"), [(1, 2)]).mirrored().masks[2:], masks)
