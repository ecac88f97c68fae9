"""The ControlNet baseline: it changes nothing at step 0, learns, resumes, and refuses what it cannot copy."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNet2DModel
from torch import Tensor

from fewshot_diffusion.config.denoiser import DenoiserTrainingConfig
from fewshot_diffusion.data.mask_set import flip_masks
from fewshot_diffusion.diffusion.denoiser import Denoiser
from fewshot_diffusion.errors import ConfigError, WeightsError
from fewshot_diffusion.masks import controlnet as module
from fewshot_diffusion.masks.controlnet import (
    ControlNet,
    controlled,
    controlled_predictor,
    fit_controlnet,
    load_controlnet,
)
from fewshot_diffusion.masks.pairs import Pairs
from fewshot_diffusion.runtime import CPU
from fewshot_diffusion.storage.checkpoints import CheckpointFolder
from fewshot_diffusion.storage.weights import save_module

CLASSES = ["background", "left", "right"]
SETTINGS = DenoiserTrainingConfig(
    num_images=16, batch_size=4, learning_rate=1e-3, warmup_images=0, decay_from=1.0, ema_decay=0.0,
    random_flip=False, checkpoint_images=4, precision="float32",
)  # fmt: skip


@pytest.fixture
def controlnet(tiny_denoiser: Denoiser) -> ControlNet:
    torch.manual_seed(0)
    made = ControlNet.beside(tiny_denoiser, CLASSES)
    made.copy_encoder(tiny_denoiser)
    return made.requires_grad_(False).eval()


def batch(number: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    stream = torch.Generator().manual_seed(0)
    x_t = torch.randn(number, 3, 16, 16, generator=stream)
    timesteps = torch.randint(1000, (number,), generator=stream)
    return x_t, timesteps, torch.randint(3, (number, 16, 16), generator=stream).to(torch.uint8)


@pytest.fixture
def pairs() -> Pairs:
    images = torch.randint(256, (4, 3, 16, 16), generator=torch.Generator().manual_seed(1)).to(torch.uint8)
    return Pairs(images, (images[:, 0] // 86).to(torch.uint8), CLASSES, flip_pairs=[(1, 2)])


def awaken(controlnet: ControlNet) -> None:
    for layer in (*controlnet.zeros, controlnet.hint[-1]):
        layer.weight.data.normal_(std=0.1)


def test_at_step_0_it_equals_the_base_model(tiny_denoiser: Denoiser, controlnet: ControlNet) -> None:
    x_t, timesteps, masks = batch()
    expected = tiny_denoiser.predict(x_t, timesteps)
    assert torch.equal(controlled(tiny_denoiser, controlnet, x_t, timesteps, masks), expected)
    awaken(controlnet)
    changed = controlled(tiny_denoiser, controlnet, x_t, timesteps, masks)
    assert not torch.equal(changed, expected)
    assert not torch.equal(changed, controlled(tiny_denoiser, controlnet, x_t, timesteps, 2 - masks))


def test_every_skip_and_the_middle_has_its_convolution(tiny_unet: UNet2DModel, controlnet: ControlNet) -> None:
    residuals = controlnet(*batch())
    assert len(residuals) == sum(len(block.resnets) for block in tiny_unet.up_blocks) + 1
    assert all(residual.abs().max() == 0 for residual in residuals)


def test_it_is_a_copy_that_leaves_the_denoiser_alone(tiny_denoiser: Denoiser) -> None:
    before = {name: value.clone() for name, value in tiny_denoiser.unet.state_dict().items()}
    copy = ControlNet.beside(tiny_denoiser, CLASSES)
    copy.copy_encoder(tiny_denoiser)
    assert torch.equal(copy.conv_in.weight, tiny_denoiser.unet.conv_in.weight)
    copy.conv_in.weight.data.zero_()
    assert all(torch.equal(before[name], value) for name, value in tiny_denoiser.unet.state_dict().items())


def test_training_moves_it_alone_and_resumes_to_the_same_weights(
    tiny_denoiser: Denoiser, pairs: Pairs, tmp_path: Path
) -> None:
    before = {name: value.clone() for name, value in tiny_denoiser.unet.state_dict().items()}

    def train(folder: str, num_images: int) -> ControlNet:
        settings = SETTINGS.model_copy(update={"num_images": num_images})
        return fit_controlnet(tiny_denoiser, pairs, settings, CheckpointFolder(tmp_path / folder, "mine"))

    whole = train("whole", 16)
    train("parts", 8)
    resumed = train("parts", 16)
    assert all(torch.equal(before[name], value) for name, value in tiny_denoiser.unet.state_dict().items())
    assert float(whole.zeros[0].weight.abs().max()) > 0
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_every_image_is_trained_with_its_own_mask_mirrored_or_not(
    monkeypatch: pytest.MonkeyPatch, tiny_denoiser: Denoiser, pairs: Pairs, tmp_path: Path
) -> None:
    seen: dict[str, Any] = {}

    def record(training: Any, images: Tensor, _checkpoints: CheckpointFolder) -> None:
        seen.update(predict=training.predict, model=training.model, images=images)

    monkeypatch.setattr(module, "run_training", record)
    fit_controlnet(tiny_denoiser, pairs, SETTINGS, CheckpointFolder(tmp_path, "mine"))
    awaken(seen["model"])
    assert torch.equal(seen["images"], torch.cat([pairs.images, pairs.images.flip(-1)]))
    masks = torch.cat([pairs.masks, flip_masks(pairs.masks, [(1, 2)])])
    x_t, timesteps, _ = batch(8)
    index = torch.tensor([7, 0, 5, 2, 6, 1, 4, 3])
    expected = controlled(tiny_denoiser, seen["model"], x_t, timesteps, masks[index])
    assert torch.equal(seen["predict"](x_t, timesteps, index), expected)


def test_an_output_in_bfloat16_is_returned_in_full_precision(tiny_denoiser: Denoiser, controlnet: ControlNet) -> None:
    awaken(controlnet)
    x_t, _, masks = batch()
    half = replace(tiny_denoiser, runtime=replace(CPU, dtype=torch.bfloat16))
    found = controlled_predictor(half, controlnet, masks)
    expected = controlled_predictor(tiny_denoiser, controlnet, masks)(x_t, 321, torch.tensor(0.5))
    torch.testing.assert_close(found(x_t, 321, torch.tensor(0.5)), expected, rtol=0.1, atol=0.1)  # and of one dtype


@pytest.mark.parametrize("change", [{"denoiser": "1" * 64}, {"classes": ["a", "b", "c"]}, {"shots": 200}])
def test_it_serves_its_own_denoiser_classes_and_pairs_alone(
    controlnet: ControlNet, tmp_path: Path, change: dict[str, Any]
) -> None:
    about = {"denoiser_digest": "0" * 64, "classes": CLASSES, "shots": 20}
    written = {"denoiser": "0" * 64, "classes": CLASSES, "shots": 20}
    save_module(controlnet, controlnet.config, tmp_path, written)
    loaded = load_controlnet(tmp_path, **about)
    assert all(torch.equal(value, loaded.state_dict()[name]) for name, value in controlnet.state_dict().items())
    other = {key.removesuffix("_digest"): value for key, value in about.items()} | change
    with pytest.raises(WeightsError, match=f"the weights are of {next(iter(change))}"):
        load_controlnet(tmp_path, other["denoiser"], other["classes"], other["shots"])


def test_a_denoiser_that_cannot_be_copied_is_refused() -> None:
    unet = UNet2DModel(
        sample_size=16, block_out_channels=(8, 16), layers_per_block=1, norm_num_groups=4, attention_head_dim=8,
        down_block_types=("DownBlock2D", "SkipDownBlock2D"), up_block_types=("SkipUpBlock2D", "UpBlock2D"),
    )  # fmt: skip
    with pytest.raises(ConfigError, match="SkipDownBlock2D"):
        ControlNet(dict(unet.config), CLASSES)
