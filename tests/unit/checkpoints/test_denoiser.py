"""A public checkpoint becomes a run's denoiser: planned by its stated shape, refused if it has another."""

from pathlib import Path
from typing import Any

import pytest
import torch

from fewshot_diffusion.checkpoints.denoiser import convert_denoiser
from fewshot_diffusion.config.denoiser import CheckpointConfig, DenoiserConfig
from fewshot_diffusion.diffusion.denoiser import load_denoiser
from fewshot_diffusion.errors import WeightsError
from fewshot_diffusion.planning.runs import denoiser_costs
from fewshot_diffusion.runtime import CPU
from miniatures import NETS, SIDE, weights
from support import smoke_config

LAYOUTS = {"celeba64": "ddim_celeba", "ffhq256": "adm", "tinyimagenet": "improved_diffusion"}


def stated(run: str, file: Path, **changes: Any) -> DenoiserConfig:
    network, shape = NETS[run]
    schedule = {"num_train_timesteps": 1000, "beta_schedule": "linear", "prediction_type": "epsilon"}
    if run == "tinyimagenet":
        schedule |= {"num_train_timesteps": 4000, "beta_schedule": "squaredcos_cap_v2"}
    shape = {**shape, "block_out_channels": network.channels, "layers_per_block": network.layers} | changes
    checkpoint = CheckpointConfig(layout=LAYOUTS[run], file=file, **shape)
    smoke = smoke_config().denoiser.model_dump()
    return DenoiserConfig.model_validate(
        smoke | {"source": "checkpoint", "checkpoint": checkpoint, "schedule": schedule}
    )


@pytest.mark.parametrize("run", LAYOUTS)
def test_the_denoiser_computes_what_the_checkpoint_does_and_is_planned_as_it_is(tmp_path: Path, run: str) -> None:
    torch.save(weights(run), tmp_path / "x.pt")
    settings = stated(run, tmp_path / "x.pt")
    convert_denoiser(settings, SIDE, tmp_path / "x.pt", tmp_path / "denoiser")
    denoiser, network = load_denoiser(tmp_path / "denoiser", CPU), NETS[run][0]
    x_t, timesteps = torch.randn(2, 3, SIDE, SIDE), torch.tensor([20, 800])
    network.timestep_scale = 0.25 if run == "tinyimagenet" else 1
    with torch.no_grad():
        expected = network(x_t, timesteps)[:, :3]
        assert torch.allclose(denoiser.unet(x_t, timesteps).sample, expected, atol=1e-4)
    config = smoke_config()
    sized = config.data.model_copy(update={"image_size": SIDE})
    planned = denoiser_costs(config.model_copy(update={"denoiser": settings, "data": sized}))
    assert planned.parameters == sum(parameter.numel() for parameter in denoiser.parameters())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"layers_per_block": 1}, "layers_per_block: found 2, configured 1"),
        ({"attention_levels": []}, "down_block_types"),
    ],
)
def test_another_shape_than_stated_is_refused(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    torch.save(weights("celeba64"), tmp_path / "x.pt")
    with pytest.raises(WeightsError, match=said):
        convert_denoiser(stated("celeba64", tmp_path / "x.pt", **changes), SIDE, tmp_path / "x.pt", tmp_path / "out")
