"""Denoisers: weights folders that cannot be mistaken."""

from pathlib import Path

import pytest
import torch
from diffusers import UNet2DModel

from fewshot_diffusion.config.denoiser import ScheduleConfig
from fewshot_diffusion.diffusion.denoiser import load_denoiser, unet_config
from fewshot_diffusion.errors import WeightsError
from fewshot_diffusion.runtime import CPU
from fewshot_diffusion.storage.weights import save_module
from support import outputs

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
