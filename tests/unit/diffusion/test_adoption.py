"""Denoisers of one's own: what cannot serve is refused by its small files alone; weights are read whole or refused."""

import json
import logging
from collections.abc import Callable, Iterator
from inspect import signature
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDPMScheduler, EDMEulerScheduler, FlowMatchEulerDiscreteScheduler, UNet2DModel
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor

from fewshot_diffusion.config.denoiser import ArchitectureConfig, DenoiserConfig, ScheduleConfig
from fewshot_diffusion.diffusion.adoption import adopt_denoiser
from fewshot_diffusion.diffusion.denoiser import load_denoiser, unet_config
from fewshot_diffusion.diffusion.description import SchedulerDescription, UNetDescription, describe, require_fits
from fewshot_diffusion.errors import FewshotError, WeightsError
from fewshot_diffusion.runtime import CPU
from fewshot_diffusion.storage.weights import WEIGHTS_FILE, WEIGHTS_FILES
from support import outputs

RECIPE = {"num_images": 1, "batch_size": 1, "learning_rate": 1e-3, "warmup_images": 0, "decay_from": 0.5}
RECIPE |= {"ema_decay": 0.9, "random_flip": True, "checkpoint_images": 1}
FITTING = {"beta_schedule": "squaredcos_cap_v2", "prediction_type": "v_prediction"}


def configured(architecture: ArchitectureConfig, source: str = "folder", **schedule: object) -> DenoiserConfig:
    schedules = ScheduleConfig.model_validate(schedule)
    return DenoiserConfig(
        source=source, folder=Path("mine"), architecture=architecture, schedule=schedules, training=RECIPE
    )


@pytest.fixture
def own(tiny_unet: UNet2DModel, tmp_path: Path) -> Path:
    """A plain folder of diffusers'."""
    tiny_unet.save_pretrained(tmp_path / "unet")
    return tmp_path / "unet"


Adopt = Callable[..., Path]


@pytest.fixture
def adopt(tiny_architecture: ArchitectureConfig, tmp_path: Path) -> Adopt:
    """Adopt a folder under a configuration whose architecture, which a folder brings along, is another."""
    other = tiny_architecture.model_copy(update={"block_out_channels": (8, 32)})

    def adopt(folder: Path, name: str = "adopted", **schedule: object) -> Path:
        adopt_denoiser(folder, configured(other, **schedule), 16, tmp_path / name)
        return tmp_path / name

    return adopt


def rewrite(folder: Path, change: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> None:
    save_file(change(load_file(folder / WEIGHTS_FILE)), folder / WEIGHTS_FILE, {"format": "pt"})


# --- what is adopted ---


def test_an_adopted_denoiser_computes_the_same_with_the_configured_schedule(
    tiny_unet: UNet2DModel, own: Path, folder: Path, adopt: Adopt
) -> None:
    denoiser = load_denoiser(adopt(own, prediction_type="epsilon"), CPU)
    assert torch.equal(outputs(denoiser.unet), outputs(tiny_unet))
    assert denoiser.schedule == ScheduleConfig(prediction_type="epsilon")
    assert torch.equal(outputs(UNet2DModel.from_pretrained(adopt(own))), outputs(tiny_unet)), "and diffusers reads it"
    assert torch.equal(outputs(load_denoiser(adopt(folder), CPU).unet), outputs(tiny_unet)), "one of this project, too"


def test_where_a_folder_lies_is_no_part_of_its_adoption(own: Path, adopt: Adopt) -> None:
    here = [(adopt(own) / name).read_bytes() for name in WEIGHTS_FILES]
    there = own.rename(own.with_name("elsewhere"))
    assert [(adopt(there) / name).read_bytes() for name in WEIGHTS_FILES] == here


@pytest.mark.parametrize(
    ("options", "precision"),
    [({"variant": "fp16"}, 0), ({"max_shard_size": "20KB"}, 0), ({"max_shard_size": "10KB", "variant": "fp16"}, 1e-2)],
)
def test_shards_and_half_precision_are_read(
    tiny_unet: UNet2DModel, tmp_path: Path, adopt: Adopt, options: dict[str, Any], precision: float
) -> None:
    kept = outputs(tiny_unet)
    (tiny_unet.half() if precision else tiny_unet).save_pretrained(tmp_path / "unet", **options)
    unet = load_denoiser(adopt(tmp_path / "unet"), CPU).unet
    assert unet.dtype == torch.float32
    torch.testing.assert_close(outputs(unet), kept, rtol=precision, atol=precision)
    if shards := sorted((tmp_path / "unet").glob("*-of-*")):
        shards[0].unlink()
        with pytest.raises(WeightsError, match=f"names the shards {shards[0].name}, which are missing"):
            describe(tmp_path / "unet")


def test_old_names_of_attention_layers_load(tiny_unet: UNet2DModel, own: Path, adopt: Adopt) -> None:
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}

    def renamed(weights: dict[str, Tensor]) -> dict[str, Tensor]:
        for new, name in old.items():
            weights = {key.replace(new, name): tensor for key, tensor in weights.items()}
        return weights

    rewrite(own, renamed)
    assert any(".query." in name for name in load_file(own / WEIGHTS_FILE))
    assert torch.equal(outputs(load_denoiser(adopt(own), CPU).unet), outputs(tiny_unet))


def test_of_a_learned_variance_the_mean_is_kept(
    tiny_unet: UNet2DModel, tmp_path: Path, adopt: Adopt, caplog: pytest.LogCaptureFixture
) -> None:
    six = UNet2DModel.from_config(unet_config(tiny_unet) | {"out_channels": 6, "sample_size": [16, 16]})
    six.save_pretrained(tmp_path / "pipeline/unet")
    with pytest.raises(WeightsError, match=r"out_channels: found 6, expected 3, or 6 where scheduler_config\.json"):
        adopt(tmp_path / "pipeline")
    DDPMScheduler(**FITTING, variance_type="learned_range").save_pretrained(tmp_path / "pipeline/scheduler")
    with caplog.at_level(logging.INFO):
        adopted = load_denoiser(adopt(tmp_path / "pipeline"), CPU)
    assert adopted.sample_shape == (3, 16, 16)
    assert torch.equal(outputs(adopted.unet), outputs(six.eval())[:, :3])
    assert "of 6 channels, the first 3" in caplog.text


def test_heads_of_several_widths_are_read(tiny_unet: UNet2DModel, own: Path, adopt: Adopt) -> None:
    """Which a plain ``UNet2DModel`` stops at; another width computes something else from the same weights."""
    config = json.loads((own / "config.json").read_text())
    found = {}
    for widths in ([8, 8], [8, 4]):
        (own / "config.json").write_text(json.dumps(config | {"attention_head_dim": widths, "timestep_scale": 1}))
        adopted = load_denoiser(adopt(own), CPU).unet
        assert adopted.config.attention_head_dim == widths
        found[widths[1]] = outputs(adopted)
    torch.testing.assert_close(found[8], outputs(tiny_unet))
    assert not torch.allclose(found[4], found[8])
    (own / "config.json").write_text(json.dumps(config | {"attention_head_dim": [8]}))
    with pytest.raises(WeightsError, match=r"unet: cannot be read .* attention_head_dim has 1 numbers, expected 2"):
        adopt(own, name="refused")


# --- what its small files tell ---


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"in_channels": 1}, "in_channels: found 1, which is for grey images; expected 3"),
        ({"in_channels": 4}, "in_channels: found 4, which is for latents"),
        ({"in_channels": 6}, "in_channels: found 6, which is for an image beside the noisy one"),
        ({"out_channels": 1}, "out_channels: found 1, expected 3"),
        ({"num_class_embeds": 10}, "num_class_embeds: found 10, expected null: it is conditioned on a class"),
        ({"class_embed_type": "timestep"}, "class_embed_type: found timestep, expected null"),
        ({"sample_size": 32}, r"sample_size: found 32, expected data\.image_size \(16\)"),
        ({"sample_size": [16, 24]}, r"sample_size: found \[16, 24\], expected"),
        ({"sample_size": None}, "sample_size: found None, expected"),
        (
            {"_class_name": "UNet2DConditionModel", "layers_per_block": [2, 2]},
            "found UNet2DConditionModel, ",
        ),
        ({"block_out_channels": "8"}, "is not what diffusers writes .block_out_channels: "),
    ],
)
def test_a_network_that_cannot_serve_is_refused_with_the_reason(
    own: Path, adopt: Adopt, change: dict[str, Any], message: str
) -> None:
    config = json.loads((own / "config.json").read_text())
    (own / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(WeightsError, match=message):
        adopt(own)
    assert not (own.parent / "adopted").exists()


@pytest.mark.parametrize("place", ["unet", "scheduler"])
@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ({"prediction_type": "epsilon"}, r"says epsilon, denoiser\.schedule\.prediction_type is v_prediction"),
        ({"beta_schedule": "linear"}, r"put into your configuration: denoiser: {schedule: {beta_schedule: linear}}"),
        ({"num_train_timesteps": 4000}, r"says 4000, denoiser\.schedule\.num_train_timesteps is 1000"),
        ({"beta_schedule": "linear", "beta_end": 0.012}, r"says 0\.012, denoiser\.schedule\.beta_end is 0\.02"),
        ({"beta_schedule": "sigmoid"}, "found sigmoid, expected linear or scaled_linear or squaredcos_cap_v2"),
        ({"trained_betas": [0.1, 0.2]}, "trained_betas: found"),
        ({"rescale_betas_zero_snr": True}, "rescale_betas_zero_snr: found True"),
    ],
)
def test_another_schedule_beside_the_weights_is_refused_with_both_values(
    own: Path, adopt: Adopt, place: str, stated: dict[str, Any], message: str
) -> None:
    path = own.parent / place
    DDPMScheduler(**FITTING, beta_end=0.5).save_pretrained(path)  # a cosine has no use for it
    adopt(own)
    DDPMScheduler(**FITTING | stated).save_pretrained(path)
    with pytest.raises(WeightsError, match=rf"{path}/scheduler_config\.json.*(\n.*)?{message}"):
        adopt(own, name="refused")
    assert not (own.parent / "refused").exists()


@pytest.mark.parametrize(
    ("scheduler", "message"),
    [(FlowMatchEulerDiscreteScheduler, "a flow-matching model's"), (EDMEulerScheduler, "which has no beta_schedule")],
)
def test_a_schedule_of_another_kind_is_named(own: Path, adopt: Adopt, scheduler: type[Any], message: str) -> None:
    scheduler().save_pretrained(own)
    with pytest.raises(WeightsError, match=f"found {scheduler.__name__}, {message}"):
        adopt(own)


def test_another_schedule_in_the_header_is_refused(folder: Path, adopt: Adopt) -> None:
    with pytest.raises(WeightsError, match=rf"{WEIGHTS_FILE} says v_prediction, denoiser\.schedule\.prediction_type"):
        adopt(folder, prediction_type="epsilon")


def test_latents_and_what_is_not_read_are_named(tiny_unet: UNet2DModel, tmp_path: Path) -> None:
    tiny_unet.save_pretrained(tmp_path / "unet", safe_serialization=False)
    with pytest.raises(WeightsError, match=r"found diffusion_pytorch_model\.bin, which is pickled .* python -c"):
        describe(tmp_path)
    for path in (tmp_path / "unet").iterdir():
        path.unlink()
    (tmp_path / "unet/model.ckpt").touch()
    with pytest.raises(WeightsError, match=rf"{WEIGHTS_FILE} is missing \(found model\.ckpt\)"):
        describe(tmp_path)
    with pytest.raises(WeightsError, match="nowhere: there is no such folder"):
        describe(tmp_path / "nowhere")


def test_a_denoiser_of_latents_is_refused(own: Path, adopt: Adopt) -> None:
    (own.parent / "vqvae").mkdir()
    (own.parent / "vqvae/config.json").write_text("{}")
    with pytest.raises(WeightsError, match="draws the latents of vqvae/"):
        adopt(own.parent)


@pytest.mark.parametrize("key", ["block_out_channels", "layers_per_block", "norm_num_groups", "attention_head_dim"])
def test_one_from_the_store_must_be_the_configured_one(
    folder: Path, tiny_architecture: ArchitectureConfig, key: str
) -> None:
    require_fits(describe(folder), configured(tiny_architecture, "store"), 16)
    other = tiny_architecture.model_copy(update={key: {"block_out_channels": (8, 32)}.get(key, 2)})
    with pytest.raises(WeightsError, match=rf"{key}: found .*, denoiser\.architecture\.{key} is"):
        require_fits(describe(folder), configured(other, "store"), 16)


@pytest.mark.parametrize(("kind", "theirs"), [(UNetDescription, UNet2DModel), (SchedulerDescription, DDPMScheduler)])
def test_what_a_file_leaves_open_is_diffusers_default(kind: type[Any], theirs: type[Any]) -> None:
    usual = {name: one.default for name, one in signature(theirs).parameters.items()}
    said = kind().model_dump(exclude={"class_name", "variance_type"})
    assert {key: usual[key] for key in said} == {
        key: tuple(value) if isinstance(value, list) else value for key, value in said.items()
    }


# --- what only its weights tell ---


def not_finite(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    weights["conv_in.weight"][0, 0, 0, 0] = torch.nan
    return weights


def huge(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return weights | {"conv_out.weight": torch.full_like(weights["conv_out.weight"], 3e38)}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda weights: {name: weights[name] for name in weights if name != "conv_out.bias"}, r"conv_out\.bias"),
        (lambda weights: weights | {"more.weight": torch.zeros(1)}, r"more\.weight"),
        (lambda weights: weights | {"conv_out.bias": torch.zeros(4)}, r"conv_out\.bias"),
        (not_finite, r"not finite: conv_in\.weight"),
        (huge, "none that is finite"),
    ],
)
def test_weights_that_are_missing_left_over_or_broken_are_named(
    own: Path, adopt: Adopt, change: Callable[[dict[str, Tensor]], dict[str, Tensor]], named: str
) -> None:
    """Those that are missing diffusers would draw at random, and warn."""
    rewrite(own, change)
    with pytest.raises(WeightsError, match=named):
        adopt(own)


def test_a_truncated_file_is_refused(own: Path, adopt: Adopt) -> None:
    weights = own / WEIGHTS_FILE
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(WeightsError, match="cannot be read as a diffusers UNet2DModel"):
        adopt(own)


# --- files that nobody wrote ---

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(["DDIMScheduler"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


@pytest.fixture(scope="module")
def tried() -> Iterator[list[str]]:
    found: list[str] = []
    yield found
    assert len(found) >= 500
    assert 0 < found.count("adopted") < len(found) / 2
    assert all(found), "a refusal without a word"
    print(f"\n{len(found)} mutated files, {found.count('adopted')} adopted, {len(set(found))} different messages")


@pytest.mark.slow
@settings(max_examples=520, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(data=st.data())
def test_mutated_files_are_refused_in_words(
    tiny_unet: UNet2DModel,
    tiny_architecture: ArchitectureConfig,
    own: Path,
    adopt: Adopt,
    tried: list[str],
    data: st.DataObject,
) -> None:
    """Values of another type or size, and texts cut off or changed."""
    files = {"config.json": unet_config(tiny_unet), "scheduler_config.json": FITTING}
    for name, content in files.items():
        (own / name).write_text(json.dumps(content))
    name = data.draw(st.sampled_from(sorted(files)))
    keys = data.draw(st.lists(st.sampled_from(sorted(files[name])), min_size=1, max_size=3))
    text = json.dumps(files[name] | {key: data.draw(VALUES) for key in keys})
    cut = data.draw(st.just(len(text)) | st.integers(0, len(text)))
    (own / name).write_text(text[:cut] + data.draw(st.sampled_from(["", "", "", "}", "\0", "[" * 9000])))
    try:
        require_fits(describe(own), configured(tiny_architecture), 16)
        if name == "config.json":
            adopt(own)
        tried.append("adopted")
    except FewshotError as error:  # anything else fails the test
        tried.append(str(error))
