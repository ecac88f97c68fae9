"""Denoisers: weights folders that cannot be mistaken, and those of one's own, read whole or refused."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDPMScheduler, UNet2DModel
from safetensors.torch import load_file, save_file
from torch import Tensor

from fewshot_diffusion.config.denoiser import ArchitectureConfig, DenoiserConfig, ScheduleConfig
from fewshot_diffusion.diffusion.denoiser import Denoiser, adopt_denoiser, check_fits, load_denoiser, unet_config
from fewshot_diffusion.errors import CorruptFileError, WeightsError
from fewshot_diffusion.runtime import CPU
from fewshot_diffusion.storage.weights import WEIGHTS_FILE, WEIGHTS_FILES, save_module

ABOUT = {"schedule": ScheduleConfig().model_dump()}
RECIPE = {"num_images": 1, "batch_size": 1, "learning_rate": 1e-3, "warmup_images": 0, "decay_from": 0.5}
RECIPE |= {"ema_decay": 0.9, "random_flip": True, "checkpoint_images": 1}


def settings(architecture: ArchitectureConfig, source: str = "train", **schedule: object) -> DenoiserConfig:
    return DenoiserConfig(
        source=source,
        folder=Path("mine"),
        architecture=architecture,
        schedule=ScheduleConfig.model_validate(schedule),
        training=RECIPE,
    )


def outputs(unet: UNet2DModel) -> Tensor:
    x_t = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        return unet(x_t, 321).sample


@pytest.fixture
def folder(tiny_unet: UNet2DModel, tmp_path: Path) -> Path:
    save_module(tiny_unet, unet_config(tiny_unet), tmp_path / "ours", ABOUT)
    return tmp_path / "ours"


# --- folders of this project ---


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


@pytest.mark.parametrize("name", WEIGHTS_FILES)
def test_a_missing_file_is_named_with_the_way_out(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(WeightsError, match=rf"{name} is missing\. Run `make restore`"):
        load_denoiser(folder, CPU)


@pytest.mark.parametrize("name", WEIGHTS_FILES)
@pytest.mark.parametrize("position", [0.1, 0.5, 0.97])
def test_a_flipped_bit_is_found(folder: Path, name: str, position: float) -> None:
    data = bytearray((folder / name).read_bytes())
    data[int(position * len(data))] ^= 1
    (folder / name).write_bytes(data)
    with pytest.raises((CorruptFileError, WeightsError), match=str(folder)):
        load_denoiser(folder, CPU)


@pytest.mark.parametrize("change", [{"block_out_channels": [8, 24]}, {"layers_per_block": 2}, {"norm_num_groups": 3}])
def test_weights_of_another_shape_are_refused(
    tiny_unet: UNet2DModel, tmp_path: Path, change: dict[str, object]
) -> None:
    save_module(tiny_unet, unet_config(tiny_unet) | change, tmp_path, ABOUT)
    with pytest.raises(WeightsError, match=r"the weights do not fit config\.json"):
        load_denoiser(tmp_path, CPU)


# --- what the configuration describes ---


@pytest.mark.parametrize(
    "key",
    ["sample_size", "block_out_channels", "layers_per_block", "norm_num_groups", "attention_head_dim", "schedule"],
)
def test_a_denoiser_that_is_not_the_configured_one_is_refused_by_key(
    tiny_denoiser: Denoiser, tiny_architecture: ArchitectureConfig, key: str
) -> None:
    config, image_size = settings(tiny_architecture), 16
    check_fits(tiny_denoiser, config, image_size)
    if key == "sample_size":
        image_size = 32
    elif key == "schedule":
        tiny_denoiser = replace(tiny_denoiser, schedule=ScheduleConfig(prediction_type="epsilon"))
    else:
        other = {"block_out_channels": (8, 32)}.get(key, 2)
        config = settings(tiny_architecture.model_copy(update={key: other}))
    with pytest.raises(WeightsError, match=rf"denoiser\.{key}: the weights have .*, the configuration expects"):
        check_fits(tiny_denoiser, config, image_size)


# --- a denoiser of one's own ---


@pytest.fixture
def own(tiny_unet: UNet2DModel, tmp_path: Path) -> Path:
    """A plain folder of diffusers'."""
    tiny_unet.save_pretrained(tmp_path / "unet")
    return tmp_path / "unet"


@pytest.fixture
def adopt(tiny_architecture: ArchitectureConfig, tmp_path: Path) -> Callable[..., Path]:
    """Adopt a folder under a configuration whose architecture, which a folder brings along, is another."""
    other = tiny_architecture.model_copy(update={"block_out_channels": (8, 32)})

    def adopt(folder: Path, image_size: int = 16, name: str = "adopted", **schedule: object) -> Path:
        adopt_denoiser(folder, settings(other, "folder", **schedule), image_size, tmp_path / name)
        return tmp_path / name

    return adopt


def rewrite(folder: Path, change: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> None:
    save_file(change(load_file(folder / WEIGHTS_FILE)), folder / WEIGHTS_FILE, {"format": "pt"})


def test_an_adopted_denoiser_computes_the_same_with_the_configured_schedule(
    tiny_unet: UNet2DModel, own: Path, folder: Path, adopt: Callable[..., Path]
) -> None:
    denoiser = load_denoiser(adopt(own, prediction_type="epsilon"), CPU)
    assert torch.equal(outputs(denoiser.unet), outputs(tiny_unet))
    assert denoiser.schedule == ScheduleConfig(prediction_type="epsilon")
    assert torch.equal(outputs(UNet2DModel.from_pretrained(adopt(own))), outputs(tiny_unet)), "and diffusers reads it"
    assert torch.equal(outputs(load_denoiser(adopt(folder), CPU).unet), outputs(tiny_unet)), "one of this project, too"


def test_where_a_folder_lies_is_no_part_of_its_adoption(own: Path, adopt: Callable[..., Path]) -> None:
    here = [(adopt(own) / name).read_bytes() for name in WEIGHTS_FILES]
    there = own.rename(own.with_name("elsewhere"))
    assert [(adopt(there) / name).read_bytes() for name in WEIGHTS_FILES] == here


def test_old_names_of_attention_layers_and_half_precision_load(
    tiny_unet: UNet2DModel, own: Path, adopt: Callable[..., Path]
) -> None:
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}

    def renamed(weights: dict[str, Tensor]) -> dict[str, Tensor]:
        for new, name in old.items():
            weights = {key.replace(new, name): tensor for key, tensor in weights.items()}
        return {key: tensor.half() for key, tensor in weights.items()}

    rewrite(own, renamed)
    assert any(".query." in name for name in load_file(own / WEIGHTS_FILE))
    unet = load_denoiser(adopt(own), CPU).unet
    assert unet.dtype == torch.float32
    assert torch.equal(outputs(unet), outputs(tiny_unet.half().float()))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"in_channels": 1}, r"denoiser\.in_channels: the weights have 1, the configuration expects 3"),
        ({"out_channels": 6}, r"denoiser\.out_channels: the weights have 6"),
        ({"num_class_embeds": 10}, r"denoiser\.num_class_embeds: the weights have 10, the configuration expects None"),
        ({"class_embed_type": "timestep"}, r"denoiser\.class_embed_type: the weights have timestep"),
        ({"sample_size": 32}, r"denoiser\.sample_size: the weights have 32, the configuration expects 16"),
    ],
)
def test_a_network_that_does_not_draw_such_images_is_refused(
    tiny_unet: UNet2DModel, tmp_path: Path, adopt: Callable[..., Path], change: dict[str, Any], message: str
) -> None:
    UNet2DModel.from_config(unet_config(tiny_unet) | change).save_pretrained(tmp_path / "unet")
    with pytest.raises(WeightsError, match=message):
        adopt(tmp_path / "unet")
    assert not (tmp_path / "adopted").exists()


@pytest.mark.parametrize("place", ["unet/scheduler_config.json", "scheduler/scheduler_config.json"])
@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ({"prediction_type": "epsilon"}, r"denoiser\.schedule: the weights have .*'epsilon'"),
        ({"beta_schedule": "linear"}, r"denoiser\.schedule: the weights have .*'linear'"),
        ({"num_train_timesteps": 4000}, "another kind of schedule"),
        ({"beta_end": 0.012}, r"trained with beta_end 0\.012, expected 0\.02"),
    ],
)
def test_another_schedule_beside_the_weights_is_refused(
    own: Path, adopt: Callable[..., Path], place: str, stated: dict[str, Any], message: str
) -> None:
    fitting = {"beta_schedule": "squaredcos_cap_v2", "prediction_type": "v_prediction"}
    path = own.parent / place
    DDPMScheduler(**fitting).save_pretrained(path.parent)
    adopt(own)
    DDPMScheduler(**fitting | stated).save_pretrained(path.parent)
    with pytest.raises(WeightsError, match=message):
        adopt(own, name="refused")
    assert not (own.parent / "refused").exists()


def test_another_schedule_in_the_header_is_refused(folder: Path, adopt: Callable[..., Path]) -> None:
    with pytest.raises(WeightsError, match=r"denoiser\.schedule: the weights have .*'v_prediction'"):
        adopt(folder, prediction_type="epsilon")


def not_finite(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    weights["conv_in.weight"][0, 0, 0, 0] = torch.nan
    return weights


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda weights: {name: weights[name] for name in weights if name != "conv_out.bias"}, r"conv_out\.bias"),
        (lambda weights: weights | {"more.weight": torch.zeros(1)}, r"more\.weight"),
        (lambda weights: weights | {"conv_out.bias": torch.zeros(4)}, r"conv_out\.bias"),
        (not_finite, r"not finite: conv_in\.weight"),
    ],
)
def test_weights_that_are_missing_left_over_or_broken_are_named(
    own: Path, adopt: Callable[..., Path], change: Callable[[dict[str, Tensor]], dict[str, Tensor]], named: str
) -> None:
    """Those that are missing diffusers would draw at random, and warn."""
    rewrite(own, change)
    with pytest.raises(WeightsError, match=named):
        adopt(own)


def test_a_folder_of_something_else_is_refused(own: Path, adopt: Callable[..., Path]) -> None:
    weights = own / WEIGHTS_FILE
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(WeightsError, match="cannot be read as a diffusers UNet2DModel"):
        adopt(own)
    (own / "config.json").write_text(json.dumps({"_class_name": "AutoencoderKL"}))
    with pytest.raises(WeightsError, match=str(own)):
        adopt(own)
    weights.unlink()
    with pytest.raises(WeightsError, match=f"{WEIGHTS_FILE} is missing"):
        adopt(own)
