"""The ControlNet baseline: it changes nothing at step 0, learns, resumes, and refuses what it cannot copy."""

from pathlib import Path

import pytest
import torch
from diffusers import UNet2DModel

from fewshot_diffusion.config.denoiser import DenoiserTrainingConfig
from fewshot_diffusion.diffusion.denoiser import Denoiser
from fewshot_diffusion.diffusion.sampling import plan_units
from fewshot_diffusion.errors import ConfigError, WeightsError
from fewshot_diffusion.masks.controlnet import (
    ControlNet,
    controlled,
    controlnet_predictors,
    load_controlnet,
    train_controlnet,
)
from fewshot_diffusion.runtime import CPU
from fewshot_diffusion.storage.weights import save_module

CLASSES = ["background", "square"]
SETTINGS = DenoiserTrainingConfig(
    num_images=16, batch_size=4, learning_rate=1e-3, warmup_images=0, decay_from=1.0, ema_decay=0.0,
    random_flip=False, checkpoint_images=4, precision="float32",
)  # fmt: skip


@pytest.fixture
def controlnet(tiny_unet: UNet2DModel) -> ControlNet:
    torch.manual_seed(0)
    made = ControlNet(dict(tiny_unet.config), CLASSES)
    made.copy_encoder(tiny_unet)
    return made.requires_grad_(False).eval()


def batch(number: int = 3) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    stream = torch.Generator().manual_seed(0)
    x_t = torch.randn(number, 3, 16, 16, generator=stream)
    timesteps = torch.randint(1000, (number,), generator=stream)
    return x_t, timesteps, torch.randint(2, (number, 16, 16), generator=stream).to(torch.uint8)


def pairs() -> tuple[torch.Tensor, torch.Tensor]:
    images = torch.randint(256, (4, 3, 16, 16), generator=torch.Generator().manual_seed(1)).to(torch.uint8)
    return images, (images[:, 0] > 127).to(torch.uint8)


def test_at_step_0_it_equals_the_base_model(tiny_unet: UNet2DModel, controlnet: ControlNet) -> None:
    x_t, timesteps, masks = batch()
    expected = tiny_unet(x_t, timesteps).sample
    assert torch.equal(controlled(tiny_unet, controlnet, x_t, timesteps, masks), expected)
    for zero in controlnet.zeros:
        zero.weight.data.normal_(std=0.1)
    assert not torch.equal(controlled(tiny_unet, controlnet, x_t, timesteps, masks), expected)


def test_every_skip_and_the_middle_has_its_convolution(tiny_unet: UNet2DModel, controlnet: ControlNet) -> None:
    x_t, timesteps, masks = batch()
    residuals = controlnet(x_t, timesteps, masks)
    skips = sum(len(block.resnets) for block in tiny_unet.up_blocks)
    assert len(residuals) == skips + 1
    assert all(residual.abs().max() == 0 for residual in residuals)


def test_it_is_a_copy_that_leaves_the_denoiser_alone(tiny_denoiser: Denoiser) -> None:
    before = {name: value.clone() for name, value in tiny_denoiser.unet.state_dict().items()}
    copy = ControlNet(dict(tiny_denoiser.unet.config), CLASSES)
    copy.copy_encoder(tiny_denoiser.unet)
    copy.conv_in.weight.data.zero_()
    assert all(torch.equal(before[name], value) for name, value in tiny_denoiser.unet.state_dict().items())


def test_training_moves_it_alone_and_resumes_to_the_same_weights(tiny_denoiser: Denoiser, tmp_path: Path) -> None:
    before = {name: value.clone() for name, value in tiny_denoiser.unet.state_dict().items()}

    def train(folder: str, num_images: int) -> ControlNet:
        settings = SETTINGS.model_copy(update={"num_images": num_images})
        return train_controlnet(tiny_denoiser, *pairs(), CLASSES, [], settings, tmp_path / folder, "mine", CPU)

    whole = train("whole", 16)
    train("parts", 8)
    resumed = train("parts", 16)
    assert all(torch.equal(before[name], value) for name, value in tiny_denoiser.unet.state_dict().items())
    assert float(whole.zeros[0].weight.abs().max()) > 0
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_it_survives_the_disk_and_refuses_another_denoiser(
    tiny_denoiser: Denoiser, controlnet: ControlNet, tmp_path: Path
) -> None:
    save_module(controlnet, controlnet.config, tmp_path, {"denoiser": tiny_denoiser.digest})
    loaded = load_controlnet(tmp_path, tiny_denoiser.digest)
    assert all(torch.equal(value, loaded.state_dict()[name]) for name, value in controlnet.state_dict().items())
    with pytest.raises(WeightsError):
        load_controlnet(tmp_path, "1" * 64)


def test_sample_i_shows_mask_i(tiny_denoiser: Denoiser, controlnet: ControlNet) -> None:
    for module in (*controlnet.zeros, controlnet.hint[-1]):
        module.weight.data.normal_(std=0.1)
    x_t, _, masks = batch()
    (unit,) = plan_units(first_seed=4, units=1, unit_size=3)  # seeds 4, 5, 6: masks 1, 2, 0
    found = controlnet_predictors(tiny_denoiser, controlnet, masks, CPU)(unit)(x_t, 600, torch.tensor(0.4))
    expected = controlled(tiny_denoiser.unet, controlnet, x_t, torch.full((3,), 600), masks[[1, 2, 0]])
    assert torch.equal(found, expected)
    assert not torch.equal(found, controlled(tiny_denoiser.unet, controlnet, x_t, torch.full((3,), 600), masks))


def test_a_denoiser_that_cannot_be_copied_is_refused() -> None:
    unet = UNet2DModel(
        sample_size=16, block_out_channels=(8, 16), layers_per_block=1, norm_num_groups=4, attention_head_dim=8,
        down_block_types=("DownBlock2D", "SkipDownBlock2D"), up_block_types=("SkipUpBlock2D", "UpBlock2D"),
    )  # fmt: skip
    with pytest.raises(ConfigError, match="SkipDownBlock2D"):
        ControlNet(dict(unet.config), CLASSES)
