"""Taps on the denoiser: shapes, early stop, equal activations whichever way they are obtained."""

import pytest
import torch
from diffusers import UNet2DModel
from torch import Tensor, nn

from fewshot_diffusion.attributes.features import exact_features, readout_features
from fewshot_diffusion.config.attributes import HeadConfig
from fewshot_diffusion.diffusion.denoiser import Denoiser
from fewshot_diffusion.diffusion.features import FeatureTap, describe_taps, extract, forward_with_features, pool
from fewshot_diffusion.diffusion.guidance import ExactGuidance, ReadoutGuidance
from fewshot_diffusion.diffusion.schedule import add_noise, make_scheduler
from fewshot_diffusion.errors import ConfigError
from fewshot_diffusion.runtime import CPU
from fewshot_diffusion.seeds import generator

TAPS = ["down_blocks.0", "mid_block", "up_blocks.0", "up_blocks.1"]


def images(n: int) -> Tensor:
    return torch.randint(0, 256, (n, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def signed(n: int = 2) -> Tensor:
    return images(n).float() / 127.5 - 1


def head_settings(**changes: object) -> HeadConfig:
    settings = {
        "positive_shots": 2,
        "negative_shots": 2,
        "taps": ["mid_block", "up_blocks.0"],
        "pool_size": 2,
        "feature_timestep": 100,
        "readout_timesteps": [400, 40],
        "readout_draws": 2,
        "flip": False,
        "l2": [0.1],
    }
    return HeadConfig.model_validate(settings | changes)


def hooks(unet: nn.Module) -> int:
    return sum(len(module._forward_hooks) for module in unet.modules())


def test_describe_taps_reads_channels_and_reduction_off_the_network(tiny_unet: UNet2DModel) -> None:
    assert describe_taps(tiny_unet, TAPS) == [
        FeatureTap("down_blocks.0", 8, 2),
        FeatureTap("mid_block", 16, 2),
        FeatureTap("up_blocks.0", 16, 1),
        FeatureTap("up_blocks.1", 8, 1),
    ]


def test_maps_come_in_the_order_of_the_names(tiny_unet: UNet2DModel) -> None:
    forwards = extract(tiny_unet, signed(), 7, TAPS)
    backwards = extract(tiny_unet, signed(), 7, TAPS[::-1])
    assert [tuple(found.shape) for found in forwards] == [(2, 8, 8, 8), (2, 16, 8, 8), (2, 16, 16, 16), (2, 8, 16, 16)]
    assert all(torch.equal(one, other) for one, other in zip(forwards, backwards[::-1], strict=True))


def test_a_name_given_twice_is_returned_twice(tiny_unet: UNet2DModel) -> None:
    one, other = extract(tiny_unet, signed(), 7, ["mid_block", "mid_block"])
    assert torch.equal(one, other)


@pytest.mark.parametrize("taps", [["mid_block"], ["up_blocks.0", "mid_block"], TAPS])
def test_activations_of_the_short_pass_equal_those_of_the_full_pass(tiny_unet: UNet2DModel, taps: list[str]) -> None:
    expected_output = tiny_unet(signed(), 321).sample
    output, full = forward_with_features(tiny_unet, signed(), 321, taps)
    short = extract(tiny_unet, signed(), 321, taps)
    assert torch.equal(output, expected_output)
    assert all(torch.equal(one, other) for one, other in zip(short, full, strict=True))


@pytest.mark.parametrize("tap", ["down_blocks.0.resnets.0.nonlinearity", "mid_block.resnets.0.nonlinearity"])
def test_a_module_that_runs_twice_gives_the_same_activation_both_ways(tiny_unet: UNet2DModel, tap: str) -> None:
    (short,) = extract(tiny_unet, signed(), 321, [tap])
    _, (full,) = forward_with_features(tiny_unet, signed(), 321, [tap])
    assert torch.equal(short, full)


def test_activations_depend_on_the_timestep_and_the_image(tiny_unet: UNet2DModel) -> None:
    (base,) = extract(tiny_unet, signed(), 100, ["mid_block"])
    (later,) = extract(tiny_unet, signed(), 500, ["mid_block"])
    (flipped,) = extract(tiny_unet, signed().flip(-1), 100, ["mid_block"])
    assert not torch.allclose(base, later, atol=1e-3)
    assert not torch.allclose(base, flipped, atol=1e-3)


def test_nothing_behind_the_deepest_tap_runs(tiny_unet: UNet2DModel) -> None:
    ran: list[str] = []
    for name in ("mid_block", "up_blocks.0", "up_blocks.1", "conv_out"):
        tiny_unet.get_submodule(name).register_forward_pre_hook(lambda *_, name=name: ran.append(name))
    extract(tiny_unet, signed(), 100, ["mid_block"])
    assert ran == ["mid_block"]
    ran.clear()
    extract(tiny_unet, signed(), 100, ["up_blocks.0", "mid_block"])
    assert ran == ["mid_block", "up_blocks.0"]
    ran.clear()
    forward_with_features(tiny_unet, signed(), 100, ["mid_block"])
    assert ran == ["mid_block", "up_blocks.0", "up_blocks.1", "conv_out"]


@pytest.mark.parametrize("name", ["mid_blok", "up_blocks.2", "up_blocks", ""])
def test_an_unusable_module_is_named(tiny_unet: UNet2DModel, name: str) -> None:
    with pytest.raises(ConfigError, match=rf"no module '{name}'.*mid_block, up_blocks\.0, up_blocks\.1"):
        extract(tiny_unet, signed(), 0, ["mid_block", name])
    assert hooks(tiny_unet) == 0
    with pytest.raises(ConfigError, match=f"'{name}'"):
        describe_taps(tiny_unet, [name])


def test_no_hook_stays_behind(tiny_unet: UNet2DModel) -> None:
    extract(tiny_unet, signed(), 0, TAPS)
    forward_with_features(tiny_unet, signed(), 0, TAPS)
    assert hooks(tiny_unet) == 0
    for collect in (extract, forward_with_features):
        with pytest.raises(RuntimeError, match="channels"):
            collect(tiny_unet, torch.zeros(1, 5, 16, 16), 0, TAPS)
        assert hooks(tiny_unet) == 0


def test_exact_guidance_sees_a_real_image_as_the_head_was_trained_on_it(tiny_denoiser: Denoiser) -> None:
    settings = head_settings()
    shots = exact_features(tiny_denoiser, images(4), torch.tensor([1, 1, 0, 0]).bool(), torch.arange(4), settings, CPU)
    seen = []

    def record(maps: list[Tensor], timestep: int) -> Tensor:
        assert timestep == settings.feature_timestep
        seen.append(pool(maps, settings.pool_size))
        return seen[-1].sum(1)

    guidance = ExactGuidance(tiny_denoiser, record, settings.taps, settings.feature_timestep, CPU)
    # Without noise the clean estimate is the image itself.
    guidance(signed(4), 900, torch.tensor(1.0))
    assert torch.equal(seen[0], shots.inputs[0])
    assert shots.timesteps.tolist() == [settings.feature_timestep]


def test_readout_guidance_sees_a_noised_image_as_the_head_was_trained_on_it(tiny_denoiser: Denoiser) -> None:
    settings = head_settings()
    labels = torch.tensor([1, 1, 0, 0]).bool()
    shots = readout_features(tiny_denoiser, images(4), labels, torch.arange(4), settings, CPU)
    assert shots.timesteps.tolist() == [40, 400]
    seen = []

    def record(maps: list[Tensor], timestep: int) -> Tensor:
        seen.append(pool(maps, settings.pool_size))
        return seen[-1].sum(1)

    clean = signed(4).repeat(2, 1, 1, 1)
    for level, timestep in enumerate([40, 400]):
        noise = torch.randn(clean.shape, generator=generator("readout shots", timestep))
        alpha_bar_t = make_scheduler(tiny_denoiser.schedule).alphas_cumprod[timestep]
        x_t = add_noise(clean, noise, alpha_bar_t)
        ReadoutGuidance(tiny_denoiser, record, settings.taps, CPU)(x_t, timestep, alpha_bar_t)
        assert torch.equal(seen[level], shots.inputs[level])
    assert torch.equal(shots.labels, labels.repeat(2))
    assert torch.equal(shots.groups, torch.arange(4).repeat(2))


def test_flips_double_the_rows_and_keep_their_image(tiny_denoiser: Denoiser) -> None:
    labels, ids = torch.tensor([1, 0, 0]).bool(), torch.tensor([7, 3, 5])
    plain = exact_features(tiny_denoiser, images(3), labels, ids, head_settings(), CPU)
    flipped = exact_features(tiny_denoiser, images(3), labels, ids, head_settings(flip=True), CPU)
    mirrored = exact_features(tiny_denoiser, images(3).flip(-1), labels, ids, head_settings(), CPU)
    expected = torch.cat([plain.inputs, mirrored.inputs], dim=1)
    torch.testing.assert_close(flipped.inputs, expected, rtol=1e-5, atol=1e-5)
    assert flipped.groups.tolist() == [7, 3, 5, 7, 3, 5]
    assert flipped.labels.tolist() == [True, False, False] * 2
