"""Taps on the denoiser: shapes, early stop, equal activations whichever way they are obtained; pooling, levels."""

import pytest
import torch
from diffusers import UNet2DModel
from torch import Tensor, nn

from fewshot_diffusion.diffusion.denoiser import Denoiser
from fewshot_diffusion.diffusion.features import (
    FeatureTap,
    extract,
    forward_with_features,
    levels_around,
    pool,
)
from fewshot_diffusion.errors import ConfigError

TAPS = ["down_blocks.0", "mid_block", "up_blocks.0", "up_blocks.1"]


def samples(n: int = 2) -> Tensor:
    return torch.rand(n, 3, 16, 16, generator=torch.Generator().manual_seed(1)) * 2 - 1


def hooks(unet: nn.Module) -> int:
    return sum(len(module._forward_hooks) for module in unet.modules())


def test_describe_taps_reads_channels_and_reduction_off_the_network(tiny_denoiser: Denoiser) -> None:
    assert tiny_denoiser.describe_taps(TAPS) == [
        FeatureTap("down_blocks.0", 8, 2),
        FeatureTap("mid_block", 16, 2),
        FeatureTap("up_blocks.0", 16, 1),
        FeatureTap("up_blocks.1", 8, 1),
    ]
    assert all(isinstance(tap.reduction, int) for tap in tiny_denoiser.describe_taps(TAPS))


def test_maps_come_in_the_order_of_the_names(tiny_unet: UNet2DModel) -> None:
    forwards = extract(tiny_unet, samples(), 7, TAPS)
    backwards = extract(tiny_unet, samples(), 7, TAPS[::-1])
    assert [tuple(found.shape) for found in forwards] == [(2, 8, 8, 8), (2, 16, 8, 8), (2, 16, 16, 16), (2, 8, 16, 16)]
    assert all(torch.equal(one, other) for one, other in zip(forwards, backwards[::-1], strict=True))
    one, other = extract(tiny_unet, samples(), 7, ["mid_block", "mid_block"])
    assert torch.equal(one, other)


@pytest.mark.parametrize(
    "taps", [["mid_block"], ["up_blocks.0", "mid_block"], TAPS, ["down_blocks.0.resnets.0.nonlinearity"]]
)
def test_activations_of_the_short_pass_equal_those_of_the_full_pass(tiny_unet: UNet2DModel, taps: list[str]) -> None:
    """Of a module that runs twice, the first output counts, both ways."""
    expected_output = tiny_unet(samples(), 321).sample
    output, full = forward_with_features(tiny_unet, samples(), 321, taps)
    short = extract(tiny_unet, samples(), 321, taps)
    assert torch.equal(output, expected_output)
    assert all(torch.equal(one, other) for one, other in zip(short, full, strict=True))


def test_activations_depend_on_the_timestep_and_the_image(tiny_unet: UNet2DModel) -> None:
    (base,) = extract(tiny_unet, samples(), 100, ["mid_block"])
    for sample, timestep in [(samples(), 500), (samples().flip(-1), 100)]:
        assert not torch.allclose(base, extract(tiny_unet, sample, timestep, ["mid_block"])[0], atol=1e-3)


def test_nothing_behind_the_deepest_tap_runs(tiny_unet: UNet2DModel) -> None:
    ran: list[str] = []
    for name in ("mid_block", "up_blocks.0", "up_blocks.1", "conv_out"):
        tiny_unet.get_submodule(name).register_forward_pre_hook(lambda *_, name=name: ran.append(name))
    for collect, taps, expected in [
        (extract, ["mid_block"], ["mid_block"]),
        (extract, ["up_blocks.0", "mid_block"], ["mid_block", "up_blocks.0"]),
        (extract, ["mid_block", "mid_block"], ["mid_block"]),
        (forward_with_features, ["mid_block"], ["mid_block", "up_blocks.0", "up_blocks.1", "conv_out"]),
    ]:
        ran.clear()
        collect(tiny_unet, samples(), 100, taps)
        assert ran == expected


@pytest.mark.parametrize("name", ["mid_blok", "up_blocks.2", "up_blocks", ""])
def test_an_unusable_module_is_named(tiny_unet: UNet2DModel, name: str) -> None:
    with pytest.raises(ConfigError, match=rf"no module '{name}'.*mid_block, up_blocks\.0, up_blocks\.1"):
        extract(tiny_unet, samples(), 0, ["mid_block", name])
    assert hooks(tiny_unet) == 0


@pytest.mark.parametrize("collect", [extract, forward_with_features])
def test_no_hook_stays_behind(tiny_unet: UNet2DModel, collect: type) -> None:
    collect(tiny_unet, samples(), 0, TAPS)
    assert hooks(tiny_unet) == 0
    with pytest.raises(RuntimeError, match="channels"):
        collect(tiny_unet, torch.zeros(1, 5, 16, 16), 0, TAPS)
    assert hooks(tiny_unet) == 0


# --- pooling ---


def test_pooling_gives_means_and_deviations_of_cells() -> None:
    stream = torch.Generator().manual_seed(2)
    wide, small = (torch.randn(3, 4, size, size, generator=stream) for size in (8, 1))
    pooled = pool([wide, small], 2)
    assert pooled.shape == (3, 2 * 4 * 4 + 2 * 4)
    cell = wide[1, 2, 4:, :4]  # the third cell of four
    assert float(pooled[1, 2 * 4 + 2]) == pytest.approx(float(cell.mean()), abs=1e-6)
    spread = float(cell.var(unbiased=False) + 1e-4) ** 0.5
    assert float(pooled[1, 16 + 2 * 4 + 2]) == pytest.approx(spread, rel=1e-5)
    torch.testing.assert_close(pooled[:, 32:], torch.cat([small[:, :, 0, 0], torch.full((3, 4), 0.01)], 1))


def test_pooling_computes_in_full_precision_and_stays_differentiable() -> None:
    rough = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(3)).bfloat16()
    assert pool([rough], 2).dtype == torch.float32
    assert torch.equal(pool([rough], 2), pool([rough.float()], 2))
    constant = torch.ones(1, 2, 4, 4, requires_grad=True)
    pool([constant], 2).sum().backward()
    assert constant.grad is not None and constant.grad.isfinite().all()


@pytest.mark.parametrize(
    ("timestep", "expected"),
    [
        (0, (0, 0, 0)),
        (40, (0, 0, 0)),
        (41, (0, 1, 1 / 60)),
        (70, (0, 1, 0.5)),
        (100, (0, 1, 1)),
        (250, (1, 2, 0.5)),
        (400, (1, 2, 1)),
        (401, (2, 2, 0)),
    ],
)
def test_a_timestep_lies_between_two_levels_or_beyond_the_last(timestep: int, expected: tuple[int, int, float]) -> None:
    assert levels_around([40, 100, 400], timestep) == pytest.approx(expected)
