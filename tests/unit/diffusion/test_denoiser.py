"""Denoisers: weights folders that cannot be mistaken, and the one seam behind which a network stands."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import UNet2DModel
from torch import Tensor
from torch.nn import functional as F

from attribute_helpers import head_settings
from fewshot_diffusion.attributes.features import FEATURES
from fewshot_diffusion.attributes.guidance import attribute_guidance
from fewshot_diffusion.attributes.heads import train_head
from fewshot_diffusion.config.denoiser import ScheduleConfig
from fewshot_diffusion.config.masks import MaskHeadConfig, MaskTapsConfig
from fewshot_diffusion.diffusion.denoiser import Denoiser, PixelDenoiser, load_denoiser, unet_config
from fewshot_diffusion.diffusion.guidance import CleanImageGuidance, Guidance, Predictor, guided, unguided
from fewshot_diffusion.diffusion.sampling import WorkUnit, draw_units, plan_units
from fewshot_diffusion.errors import ConfigError, WeightsError
from fewshot_diffusion.masks.controlnet import ControlNet
from fewshot_diffusion.masks.features import mask_features
from fewshot_diffusion.masks.guidance import ExactGuide, ReadoutGuide
from fewshot_diffusion.masks.heads import fit_mask_head
from fewshot_diffusion.masks.pairs import Pairs
from fewshot_diffusion.runtime import CPU
from fewshot_diffusion.storage.checkpoints import CheckpointFolder
from fewshot_diffusion.storage.weights import save_module
from support import ROOT, outputs, smoke_config

GuidanceOf = Callable[[int], Guidance]
"""Size of a batch -> its guidance."""
ABOUT = {"schedule": ScheduleConfig().model_dump()}


def test_a_loaded_denoiser_is_the_saved_one_frozen_in_eval_mode(tiny_unet: UNet2DModel, folder: Path) -> None:
    denoiser = load_denoiser(folder, CPU)
    assert torch.equal(outputs(denoiser.unet), outputs(tiny_unet))
    assert not any(module.training for module in denoiser.unet.modules())
    assert not any(parameter.requires_grad for parameter in denoiser.unet.parameters())
    assert denoiser.digest == load_denoiser(folder, CPU).digest
    assert denoiser.schedule == ScheduleConfig()
    assert denoiser.sample_shape == (3, 16, 16)


def test_the_digest_tells_weights_architectures_and_schedules_apart(tiny_unet: UNet2DModel, tmp_path: Path) -> None:
    """The same weights under another schedule make other samples: their work units must not be taken for these."""
    digests = set()
    config = unet_config(tiny_unet)
    for k, (kind, shift, change) in enumerate(
        [("epsilon", 0.0, {}), ("v_prediction", 0.0, {}), ("epsilon", 0.0, {"norm_eps": 1e-4}), ("epsilon", 1.0, {})]
    ):
        tiny_unet.conv_out.bias.data += shift
        about = {"schedule": ScheduleConfig(prediction_type=kind).model_dump()}
        save_module(tiny_unet, config | change, tmp_path / str(k), about)
        digests.add(load_denoiser(tmp_path / str(k), CPU).digest)
    assert len(digests) == 4


def test_weights_that_are_no_denoiser_s_are_refused(tiny_unet: UNet2DModel, tmp_path: Path) -> None:
    save_module(tiny_unet, unet_config(tiny_unet), tmp_path, {})
    with pytest.raises(WeightsError, match="do not name their schedule"):
        load_denoiser(tmp_path, CPU)


# --- the seam ---


def images(number: int, size: int) -> Tensor:
    return torch.randint(256, (number, 3, size, size), generator=torch.Generator().manual_seed(1)).to(torch.uint8)


def test_a_denoiser_of_pixels_computes_what_its_network_does(tiny_denoiser: PixelDenoiser) -> None:
    """In the precision of its runtime; whatever that is, outputs have the type of x_t."""
    x_t, taps = torch.randn(2, 3, 16, 16), ["mid_block", "up_blocks.0"]
    for dtype in (torch.float32, torch.bfloat16):
        denoiser = tiny_denoiser.in_precision(str(dtype).removeprefix("torch."))
        with torch.no_grad(), replace(CPU, dtype=dtype).autocast():
            expected = denoiser.unet(x_t, torch.tensor([3, 700])).sample
        output, maps = denoiser.predict_with_features(x_t, torch.tensor([3, 700]), taps)
        assert expected.dtype == dtype and output.dtype == torch.float32
        for found in (output, denoiser.predict(x_t, torch.tensor([3, 700]))):
            assert torch.equal(found, expected.float())
        alone = denoiser.features(x_t, torch.tensor([3, 700]), taps)
        assert all(torch.equal(one, other) for one, other in zip(alone, maps, strict=True))
    assert denoiser.usual_taps == ["mid_block", "up_blocks.0", "up_blocks.1"]


def test_images_of_pixels_come_back_as_they_were(tiny_denoiser: PixelDenoiser) -> None:
    every = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).expand(2, 3, 16, 16)
    x_0 = tiny_denoiser.encode(every)
    assert (float(x_0.min()), float(x_0.max()), x_0.dtype) == (-1, 1, torch.float32)
    assert torch.equal(tiny_denoiser.decode(x_0), every)


class LatentDouble(PixelDenoiser):
    """A denoiser whose x_t is no image: a quarter of the pixels, other units, a condition that only it knows."""

    @property
    def image_size(self) -> int:
        return 32

    @property
    def sample_shape(self) -> tuple[int, int, int]:
        return (3, 16, 16)

    def encode(self, images: Tensor) -> Tensor:
        return 0.7 * F.avg_pool2d(super().encode(images), 2)

    def to_images(self, x_0: Tensor) -> Tensor:
        return F.interpolate(x_0 / 0.7, scale_factor=2)


@pytest.fixture
def latent(tiny_denoiser: PixelDenoiser) -> LatentDouble:
    return LatentDouble(tiny_denoiser.schedule, "1" * 64, CPU, tiny_denoiser.unet)


def attribute(denoiser: Denoiser, mode: str) -> GuidanceOf:
    shots, labels = images(6, denoiser.image_size), torch.arange(6) % 2 == 0
    settings = head_settings(flip=True)
    features = FEATURES[mode](denoiser, shots, labels, torch.arange(6), settings)
    head = train_head(features, settings, "Any")[0]
    return lambda _number: attribute_guidance(mode, denoiser, head, True)


def mask(denoiser: Denoiser, mode: str) -> GuidanceOf:
    shots = images(4, denoiser.image_size)
    recipe = MaskHeadConfig(
        updates=3, batch_size=2, learning_rate=1e-3, flip=True, readout_timesteps=[500], readout_draws=1
    )
    taps = MaskTapsConfig(taps=["up_blocks.0", "mid_block"], feature_timestep=50)
    features = mask_features(denoiser, Pairs(shots, shots[:, 0] // 128, ["dark", "bright"]), mode, taps, recipe)
    assert [tap.reduction for tap in features.taps] == [2, 4], "relative to the image"
    head = fit_mask_head(features, "nearest", recipe)[0]
    guide = ExactGuide(denoiser, head) if mode == "exact" else ReadoutGuide(denoiser, head)
    assert guide.segment(shots).shape == (4, 32, 32)
    return lambda number: guide.guidance(shots[:number, 0] // 128)


def clean_image(denoiser: Denoiser, _mode: str) -> GuidanceOf:
    def likelihood(maps: Sequence[Tensor], _timestep: int) -> Tensor:
        assert maps[0].shape[1:] == (3, 32, 32)
        return maps[0].mean((1, 2, 3))

    return lambda _number: CleanImageGuidance(denoiser, likelihood)


@pytest.mark.parametrize("steered", [attribute, mask, clean_image])
@pytest.mark.parametrize("mode", ["exact", "readout"])
def test_a_denoiser_of_latents_is_steered_by_the_same_code(
    latent: LatentDouble, tmp_path: Path, mode: str, steered: Callable[[Denoiser, str], GuidanceOf]
) -> None:
    settings = smoke_config().sampling.model_copy(update={"unit_size": 2, "eta": 0.5})
    guidance_of = steered(latent, mode)

    def draw(predictor_of: Callable[[WorkUnit], Predictor], folder: str) -> Tensor:
        checkpoints = CheckpointFolder(tmp_path / folder, "mine")
        return draw_units(plan_units(0, 1, 2), predictor_of, latent, settings, checkpoints)[0].images

    plain = draw(lambda _: unguided(latent), "plain")
    found = draw(lambda unit: guided(guidance_of(len(unit.seeds)), 30.0, "v_prediction"), "steered")
    assert plain.shape == found.shape == (2, 3, 32, 32)
    assert not torch.equal(plain, found)


def test_a_controlnet_copies_networks_of_pixels_alone() -> None:
    with pytest.raises(ConfigError, match="found a str, expected a denoiser of pixels"):
        ControlNet.beside("another", ["any"])  # type: ignore[arg-type]


def test_only_the_room_of_the_denoiser_knows_what_network_it_is() -> None:
    """Beside it: what copies the network to train a part or a variant of it, and what reads public checkpoints."""
    library = ROOT / "workflow" / "scripts" / "fewshot_diffusion"
    knowing = {
        str(path.relative_to(library))
        for path in library.rglob("*.py")
        if any(word in path.read_text() for word in ("denoiser.unet", "self.unet", "UNet2DModel"))
    }
    room = {f"diffusion/{name}.py" for name in ("denoiser", "unets", "adoption", "description", "denoiser_training")}
    copies = {"masks/controlnet.py", "classes/conditional.py"}
    own = {"masks/segmenter.py", "config/denoiser.py", "own/plan.py"}  # another kind of network, a docstring, a message
    own |= {"baselines/diffae.py", "baselines/d2c.py"}  # networks of their own, which are never steered
    boundary = {
        f"pipeline/{name}.py" for name in ("layout", "pipeline", "latents")
    }  # make a denoiser of diffusers' parts
    public = {name for name in knowing if name.startswith(("checkpoints/", "latent/"))}
    assert knowing == room | copies | own | boundary | public
