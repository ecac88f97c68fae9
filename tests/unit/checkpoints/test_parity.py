"""Converted networks compute what their authors' do, whatever the switches; one overlooked switch is noticed."""

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNet2DModel
from torch import Tensor

from fewshot_diffusion.checkpoints.convert import converted_state
from fewshot_diffusion.checkpoints.layout import Flags
from fewshot_diffusion.config.denoiser import ScheduleConfig
from fewshot_diffusion.diffusion.denoiser import load_denoiser, unet_config
from fewshot_diffusion.runtime import CPU
from fewshot_diffusion.storage.weights import save_module
from reference_nets import Adm, Ddim, Network, Weights

TOLERANCE = 1e-5  # of the largest value of the output

CELEBA = {"channels": (128, 256, 256, 256, 512), "layers": 2, "attention": (2,)}
FFHQ = {"channels": (256, 256, 512, 512, 1024, 1024), "layers": 2, "attention": (3, 4, 5), "head_channels": 64}
FFHQ_SMALL = {"channels": (128, 128, 256, 256, 512, 512), "layers": 1, "attention": (4,), "head_channels": 64}
IMAGENET = {"channels": (128, 256, 384, 512), "layers": 3, "attention": (2, 3), "heads": 4, "resampling_blocks": False}

SMALL: dict[str, tuple[str, Network, Flags]] = {
    "ddim": ("ddim_celeba", Ddim(channels=(32, 64, 64), layers=2, attention=(1,)), Flags(image_size=16)),
    "adm": ("adm", Adm(channels=(32, 32, 64), attention=(2,), out=6), Flags(num_head_channels=16)),
    "improved": (
        "improved_diffusion",
        Adm(
            channels=(32, 64, 96),
            layers=2,
            attention=(1, 2),
            out=6,
            heads=4,
            resampling_blocks=False,
            timestep_scale=0.25,
        ),
        Flags(),
    ),
}
BOTH = ["sine and cosine", "frequencies", "epsilon", "no skip", "skip first", "heads", "attention without scale"]
BOTH += ["embedding not activated"]
BLOCKS = ["attention order", "scale and shift", "attention without residual"]
FAULTS = [("ddim", fault) for fault in [*BOTH, "padding on all sides"]]
FAULTS += [("adm", fault) for fault in [*BOTH, *BLOCKS, "resampled after the convolution"]]
FAULTS += [("improved", fault) for fault in [*BOTH, *BLOCKS, "timesteps not rescaled"]]


def inputs(size: int = 16) -> tuple[Tensor, Tensor]:
    return torch.randn(3, 3, size, size, generator=torch.Generator().manual_seed(1)), torch.tensor([0, 250, 999])


def difference(network: Network, unet: UNet2DModel, x: Tensor, t: Tensor) -> float:
    """Return the largest difference as a share of the output's largest value."""
    with torch.no_grad():
        expected = network(x, t)
        return ((unet(x, t).sample - expected).abs().max() / expected.abs().max()).item()


def converted(layout: str, network: Network, flags: Flags) -> UNet2DModel:
    with torch.no_grad():
        network(*inputs(8))  # which draws its weights
    return converted_state(dict(network.weights), layout, flags)[0]


@cache
def small(case: str) -> UNet2DModel:
    return converted(*SMALL[case])


@pytest.mark.parametrize("case", SMALL)
def test_every_public_layout_computes_the_same(case: str) -> None:
    assert difference(SMALL[case][1], small(case), *inputs()) < TOLERANCE


@pytest.mark.slow
@pytest.mark.parametrize("new_order", [False, True])
@pytest.mark.parametrize("scale_shift", [False, True])
@pytest.mark.parametrize("resampling_blocks", [False, True])
@pytest.mark.parametrize("unit", [{"heads": 4, "head_channels": None}, {"heads": None, "head_channels": 8}])
@pytest.mark.parametrize("attention", [(), (0, 1, 2)])
def test_every_switch_of_adm(
    attention: tuple[int, ...], unit: dict[str, Any], resampling_blocks: bool, scale_shift: bool, new_order: bool
) -> None:
    """In float64, since the roundings of float32 grow with attention at every level."""
    switches = {"resampling_blocks": resampling_blocks, "scale_shift": scale_shift, "new_order": new_order, **unit}
    network = Adm(channels=(32, 64, 64), attention=attention, **switches)
    flags = Flags(32, unit["heads"], unit["head_channels"], use_new_attention_order=new_order)
    unet = converted("adm", network, flags).double()
    network.weights.update({name: weight.double() for name, weight in network.weights.items()})
    x, t = inputs(8)
    assert difference(network, unet, x.double(), t) < 1e-12


@pytest.mark.parametrize(("layout", "network"), [("ddim_celeba", Ddim), ("adm", Adm)])
@pytest.mark.parametrize("channels", [(32,), (64, 32, 32, 32)])
def test_one_level_or_many(layout: str, network: type[Network], channels: tuple[int, ...]) -> None:
    built = network(channels=channels, layers=3, attention=(len(channels) - 1,))
    flags = Flags(num_head_channels=16) if layout == "adm" else Flags()
    assert difference(built, converted(layout, built, flags), *inputs()) < TOLERANCE


@pytest.mark.parametrize(("case", "fault"), FAULTS)
def test_one_thing_overlooked_is_noticed(case: str, fault: str) -> None:
    assert difference(replace(SMALL[case][1], fault=fault), small(case), *inputs()) > 2 * TOLERANCE


@pytest.mark.parametrize(
    ("case", "wrong"),
    [
        ("adm", {"use_new_attention_order": True}),
        ("adm", {"num_head_channels": 32}),
        ("improved", {"num_heads": 2}),
        ("improved", {"use_new_attention_order": True}),
        ("improved", {"rescale_timesteps": False}),
        ("improved", {"diffusion_steps": 1000}),
    ],
)
def test_a_wrong_flag_is_noticed(case: str, wrong: dict[str, Any]) -> None:
    layout, network, flags = SMALL[case]
    assert difference(network, converted(layout, network, replace(flags, **wrong)), *inputs()) > 100 * TOLERANCE


@pytest.mark.parametrize(
    ("layout", "network", "count"),
    [
        ("ddim_celeba", Ddim(**CELEBA), 78_700_803),
        ("adm", Adm(**FFHQ, out=6), 552_814_086),
        ("adm", Adm(**FFHQ_SMALL, out=6), 93_563_910),
        ("improved_diffusion", Adm(**IMAGENET, out=6), 121_063_942),
    ],
)
def test_the_public_checkpoints_in_full_size(layout: str, network: Network, count: int) -> None:
    """On torch's meta device: shapes alone. Every weight of theirs finds its place and none is left."""
    network.weights = Weights(device="meta")
    with torch.device("meta"):
        network(torch.empty(1, 3, 64, 64), torch.empty(1))
    assert sum(weight.numel() for weight in network.weights.values()) == count
    unet, schedule = converted_state(dict(network.weights), layout, Flags())
    assert sum(weight.numel() for weight in unet.parameters()) == count
    assert schedule["variance_type"] == ("learned_range" if network.out == 6 else "fixed_large")
    assert schedule["num_train_timesteps"] == {"improved_diffusion": 4000}.get(layout, 1000)


# --- what a plain UNet2DModel cannot be told ---


def test_heads_and_timesteps_come_back_from_the_folder(tmp_path: Path) -> None:
    """A plain ``UNet2DModel`` stops, where it would have computed something else."""
    unet = small("improved")
    assert unet.config.attention_head_dim == [8, 16, 24]
    assert unet.config.timestep_scale == 0.25
    unet.save_pretrained(tmp_path)
    with pytest.raises(TypeError):
        UNet2DModel.from_pretrained(tmp_path)
    save_module(unet, unet_config(unet), tmp_path, {"schedule": ScheduleConfig().model_dump()})
    assert difference(SMALL["improved"][1], load_denoiser(tmp_path, CPU).unet, *inputs()) < TOLERANCE
