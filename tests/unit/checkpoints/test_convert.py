"""Files of any form become one folder, or are refused by name; nothing in them is run."""

import argparse
import json
import os
import random
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, UNet2DModel
from safetensors.torch import save_file
from torch import Tensor

from fewshot_diffusion.checkpoints.convert import convert_checkpoint, converted_state
from fewshot_diffusion.checkpoints.layout import Flags
from fewshot_diffusion.errors import FewshotError, WeightsError
from fewshot_diffusion.storage.weights import WEIGHTS_FILE
from reference_nets import Adm, Ddim, Network
from support import ROOT

State = dict[str, Tensor]
SMALL = Flags(num_head_channels=16)


def drawn(network: Network) -> State:
    with torch.no_grad():
        network(torch.zeros(1, 3, 8, 8), torch.zeros(1))
    return dict(network.weights)


@pytest.fixture(scope="module")
def adm() -> State:
    return drawn(Adm(out=6))


@pytest.fixture(scope="module")
def ddim() -> State:
    return drawn(Ddim())


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def output(unet: UNet2DModel) -> Tensor:
    with torch.no_grad():
        return unet(torch.ones(1, 3, 8, 8), 321).sample


def assert_same(found: UNet2DModel, expected: UNet2DModel) -> None:
    """Equal weights; of outputs, the last bits depend on where weights lie in memory."""
    assert all(torch.equal(tensor, expected.state_dict()[name]) for name, tensor in found.state_dict().items())
    torch.testing.assert_close(output(found), output(expected), rtol=1e-5, atol=1e-5)


def older(state: State) -> State:
    return {name: torch.zeros_like(tensor) for name, tensor in state.items()}


def wrapped(state: State) -> State:
    return {f"module.{name}": tensor for name, tensor in state.items()}


# --- forms of files ---

FORMS: dict[str, Callable[[State], Any]] = {
    "weights": lambda state: state,
    "parallel": wrapped,
    "double": lambda state: {name: tensor.double() for name, tensor in state.items()},
    "average": lambda state: {"step": 3, "state_dict": older(state), "ema": state},
    "no average": lambda state: {"optimizer": {"state": {}}, "model": wrapped(state)},
    "list": lambda state: [wrapped(older(state)), {"state": {}, "param_groups": []}, 7, 9, state],
    "list without average": lambda state: [wrapped(state), {"state": {}, "param_groups": []}, 7, 9],
}


@pytest.fixture(scope="module")
def plain(ddim: State, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("plain")
    save_file(ddim, folder / "ddim.safetensors")
    convert_checkpoint("ddim_celeba", folder / "ddim.safetensors", folder / "out", Flags())
    return files(folder / "out")


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_file_gives_the_same_bytes(
    ddim: State, plain: dict[str, bytes], tmp_path: Path, form: str, zipped: bool
) -> None:
    """The moving average where there is one; in torch's format of today and of before 1.6."""
    torch.save(FORMS[form](ddim), tmp_path / "ckpt.pth", _use_new_zipfile_serialization=zipped)
    convert_checkpoint("ddim_celeba", tmp_path / "ckpt.pth", tmp_path / "out", Flags(), check=False)
    assert files(tmp_path / "out") == plain
    assert set(plain) == {"config.json", WEIGHTS_FILE, "scheduler_config.json"}


def test_half_precision_is_stored_in_full(ddim: State, tmp_path: Path) -> None:
    torch.save({name: tensor.half() for name, tensor in ddim.items()}, tmp_path / "half.pt")
    convert_checkpoint("ddim_celeba", tmp_path / "half.pt", tmp_path / "out", Flags())
    unet = UNet2DModel.from_pretrained(tmp_path / "out")
    assert unet.dtype == torch.float32
    assert torch.equal(unet.conv_in.weight, ddim["conv_in.weight"].half().float())


def test_the_folder_says_what_it_is(adm: State, tmp_path: Path) -> None:
    """Six channels out, of which the second three are a learned variance, and a schedule that says so."""
    torch.save(adm, tmp_path / "adm.pt")
    (tmp_path / "out").mkdir()  # as Snakemake makes it
    convert_checkpoint("adm", tmp_path / "adm.pt", tmp_path / "out", Flags(image_size=32, num_head_channels=16))
    unet = UNet2DModel.from_pretrained(tmp_path / "out")
    assert (unet.config.sample_size, unet.config.out_channels, unet.config.attention_head_dim) == (32, 6, 16)
    assert_same(unet, converted_state(adm, "adm", SMALL)[0])
    scheduler = DDPMScheduler.from_pretrained(tmp_path / "out")
    assert (scheduler.config.variance_type, scheduler.config.prediction_type) == ("learned_range", "epsilon")
    stepped = scheduler.step(output(unet), 500, torch.ones(1, 3, 8, 8), generator=torch.Generator())
    assert stepped.prev_sample.shape == (1, 3, 8, 8)


def linear(timesteps: int) -> Tensor:
    betas = torch.linspace(0.1 / timesteps, 20 / timesteps, timesteps, dtype=torch.float64)
    return (1 - betas).cumprod(0)


def cosine(timesteps: int) -> Tensor:
    phase = (torch.arange(timesteps + 1, dtype=torch.float64) / timesteps + 0.008) / 1.008
    level = (phase * torch.pi / 2).cos() ** 2
    return (level / level[0])[1:]


@pytest.mark.parametrize(
    ("layout", "flags", "expected"),
    [
        ("adm", {}, linear(1000)),
        ("adm", {"diffusion_steps": 4000, "rescale_timesteps": True}, linear(4000)),
        ("adm", {"noise_schedule": "cosine"}, cosine(1000)),
        ("improved_diffusion", {}, cosine(4000)),
    ],
)
def test_the_schedule_is_the_authors(adm: State, layout: str, flags: dict[str, Any], expected: Tensor) -> None:
    _, schedule = converted_state(adm, layout, Flags(**flags, num_heads=4))
    assert not [key for key in schedule if key.startswith("_use")]
    found = DDIMScheduler.from_config(schedule).alphas_cumprod
    torch.testing.assert_close(found.double()[:-9], expected[:-9], rtol=1e-3, atol=1e-6)  # the last betas are clipped
    assert len(found) == len(expected)


# --- folders from the hub ---


STATED = {"beta_schedule": "scaled_linear", "prediction_type": "sample", "num_train_timesteps": 500}


def old_names(state: State) -> State:
    for new, old in {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}.items():
        state = {name.replace(new, old): tensor for name, tensor in state.items()}
    return state


def save_old(unet: UNet2DModel, folder: Path) -> None:
    unet.save_config(folder)
    torch.save(old_names(unet.state_dict()), folder / "diffusion_pytorch_model.bin")


def save_parts_of_bin(unet: UNet2DModel, folder: Path) -> None:
    unet.save_pretrained(folder, max_shard_size="100KB", safe_serialization=False)
    assert len(list(folder.glob("*.bin"))) > 1


def save_parts(unet: UNet2DModel, folder: Path, **how: Any) -> None:
    unet.save_pretrained(folder, max_shard_size="100KB", **how)
    assert len(list(folder.glob("*.safetensors"))) > 1


@pytest.mark.parametrize("scheduler", ["unet", "scheduler"])
@pytest.mark.parametrize(
    "save",
    [
        lambda unet, folder: unet.save_pretrained(folder),
        lambda unet, folder: unet.save_pretrained(folder, variant="fp16"),
        lambda unet, folder: save_parts(unet, folder),
        lambda unet, folder: save_parts(unet, folder, variant="fp16"),
        lambda unet, folder: save_parts_of_bin(unet, folder),
        save_old,
    ],
    ids=["whole", "fp16", "parts", "parts of fp16", "parts of bin", "old names"],
)
def test_folders_from_the_hub(
    tiny_unet: UNet2DModel, tmp_path: Path, save: Callable[[UNet2DModel, Path], None], scheduler: str
) -> None:
    save(tiny_unet, tmp_path / "hub" / "unet")
    DDPMScheduler(**STATED).save_pretrained(tmp_path / "hub" / scheduler)
    convert_checkpoint("diffusers", tmp_path / "hub", tmp_path / "out", Flags())
    assert_same(UNet2DModel.from_pretrained(tmp_path / "out"), tiny_unet)
    written = DDPMScheduler.from_pretrained(tmp_path / "out").config
    assert [written[key] for key in ("beta_schedule", "prediction_type", "num_train_timesteps")] == [*STATED.values()]


def edit(name: str, **values: Any) -> Callable[[Path], object]:
    """Return an edit of a JSON file of a folder; None takes a key away."""

    def change(hub: Path) -> None:
        content = json.loads((hub / name).read_text()) | values
        (hub / name).write_text(json.dumps({key: value for key, value in content.items() if value is not None}))

    return change


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda hub: (hub / "scheduler/scheduler_config.json").unlink(), r"unet: no scheduler_config\.json"),
        (edit("scheduler/scheduler_config.json", beta_schedule=None), "beta_schedule: missing"),
        (
            edit("scheduler/scheduler_config.json", prediction_type="flow"),
            "prediction_type: found flow, expected one of",
        ),
        (edit("scheduler/scheduler_config.json", beta_schedule="mine"), "cannot build this schedule"),
        (edit("unet/config.json", _class_name="UNet2DConditionModel"), "UNet2DConditionModel, expected a UNet2DModel"),
        (edit("unet/config.json", num_class_embeds=10), "num_class_embeds is 10: a class-conditional"),
        (edit("unet/config.json", block_out_channels=[8, 32]), r"hub/unet: .* found the shape .*, expected .* for"),
        (
            lambda hub: next((hub / "unet").glob("*.index.json")).write_text("[]"),
            r"index\.json: cannot be read as a JSON",
        ),
        (edit("unet/config.json", norm_num_groups=3), "cannot build this network"),
        (edit("unet/config.json", timestep_scale=0.25), "timestep_scale needs attention_head_dim as a list"),
        (edit("unet/config.json", attention_head_dim=[8]), "attention_head_dim has 1 numbers, expected 2"),
        (edit("unet/config.json", attention_head_dim=[8, 7]), "heads of 7 do not divide 16 channels"),
        (lambda hub: (hub / "unet/config.json").write_text("<html>"), r"config\.json: cannot be read as a JSON object"),
        (lambda hub: next((hub / "unet").glob("*-00002*")).unlink(), "00002.*there is no such file"),
        (edit("unet/diffusion_pytorch_model.safetensors.index.json", weight_map={"a": "../a"}), "of the same folder"),
        (lambda hub: [path.unlink() for path in (hub / "unet").glob("diff*")], "unet: no weights; expected"),
    ],
)
def test_a_folder_that_cannot_serve_is_refused(
    tiny_unet: UNet2DModel, tmp_path: Path, damage: Callable[[Path], object], message: str
) -> None:
    save_parts(tiny_unet, tmp_path / "hub" / "unet")
    DDPMScheduler().save_pretrained(tmp_path / "hub" / "scheduler")
    damage(tmp_path / "hub")
    with pytest.raises(FewshotError, match=message):
        convert_checkpoint("diffusers", tmp_path / "hub", tmp_path / "out", Flags())
    assert not (tmp_path / "out").exists()


# --- what is refused ---


def nan(state: State) -> State:
    return state | {"out.2.bias": torch.full((6,), torch.nan)}


def pooled(state: State) -> State:
    """Resampling without weights."""
    return {name: state[name] for name in state if not name.startswith(("input_blocks.2.", "output_blocks.1.2."))}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: {**state, "out.2.bias": None}, r"out\.2\.bias: missing, expected of an architecture with"),
        (lambda state: {**state, "out.2.weight": None}, r"out\.2\.weight: missing"),
        (lambda state: state | {"more.weight": torch.ones(1)}, r"more\.weight: found, but no part of"),
        (lambda state: state | {"out.2.bias": torch.ones(4)}, r"out\.2\.bias: found the shape 4, expected 6"),
        (lambda state: state | {"out.2.bias": torch.ones(6).int()}, r"out\.2\.bias: found torch\.int32"),
        (lambda state: state | {"out.2.weight": torch.ones(5, 32, 3, 3)}, "channels out: found 5, expected 3, or 6"),
        (nan, r"out\.2\.bias: holds infinite values"),
        (lambda state: state | {"out.2.weight": torch.full((6, 32, 3, 3), 3e38)}, "gives infinite values"),
        (pooled, "found 3 input blocks and 4 output blocks"),
        (lambda state: state | {"label_emb.weight": torch.ones(9, 128)}, "class-conditional network"),
        (lambda state: drawn(Ddim()), "weights are named as in layout ddim_celeba, expected those of layout adm"),
        (lambda state: {"fc.weight": torch.ones(1)}, r"found fc\.weight, \.\.\., expected those of layout adm"),
        (lambda state: {"step": 3, "config": {}}, "found the entries step, config; expected named tensors"),
        (lambda state: {**state, "args": argparse.Namespace(lr=1)}, r"holds argparse\.Namespace, .* is refused"),
    ],
)
def test_contents_that_do_not_fit_are_named(
    adm: State, tmp_path: Path, change: Callable[[State], dict[str, Any]], message: str
) -> None:
    content = {name: value for name, value in change(adm).items() if value is not None}
    torch.save(content, tmp_path / "adm.pt")
    with pytest.raises(WeightsError, match=rf"{tmp_path}/adm\.pt: .*{message}"):
        convert_checkpoint("adm", tmp_path / "adm.pt", tmp_path / "out", SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ["adm.pt"]


class Hostile:
    def __reduce__(self) -> tuple[Any, ...]:
        return (exec, ("raise SystemExit('it ran')",))


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_file_is_not_run(tmp_path: Path, zipped: bool) -> None:
    torch.save({"a": Hostile()}, tmp_path / "adm.pt", _use_new_zipfile_serialization=zipped)
    with pytest.raises(WeightsError, match=r"holds exec, expected tensors alone"):
        convert_checkpoint("adm", tmp_path / "adm.pt", tmp_path / "out", SMALL)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("adm.pt", lambda data: b"", "there is no such file, or it is empty"),
        ("adm.pt", lambda data: data[:-200], "cannot be read as a torch checkpoint .* It may be cut off"),
        ("adm.pt", lambda data: data[: len(data) // 2], "It may be cut off"),
        ("adm.pt", lambda data: b"\n<!DOCTYPE html><title>Quota exceeded</title>", "is a web page"),
        ("adm.pt", lambda data: b"\x80\x02" + bytes(100), "It may be cut off"),
        ("adm.pt", lambda data: b"version https://git-lfs", "cannot be read as a torch checkpoint"),
        ("adm.safetensors", lambda data: data, "cannot be read as safetensors"),
    ],
)
def test_damaged_files_are_told_apart(
    adm: State, tmp_path: Path, name: str, change: Callable[[bytes], bytes], message: str
) -> None:
    torch.save(adm, tmp_path / name)
    (tmp_path / name).write_bytes(change((tmp_path / name).read_bytes()))
    with pytest.raises(WeightsError, match=message):
        convert_checkpoint("adm", tmp_path / name, tmp_path / "out", SMALL)


@pytest.mark.parametrize(
    ("layout", "flags", "message"),
    [
        ("ddim_celeba", {"num_heads": 4}, "num_heads: layout ddim_celeba has no such flag, only .*image_size"),
        ("ddim_celeba", {"diffusion_steps": 4000}, "diffusion_steps: layout ddim_celeba has no such flag"),
        ("adm", {"num_heads": 4, "num_head_channels": 16}, "both are given, expected one"),
        ("adm", {}, r"num_head_channels: found 64, expected a divisor of all widths with attention: \[32, 64\]"),
        ("adm", {"num_heads": 5}, "num_heads: found 5, expected a divisor"),
        ("adm", {"diffusion_steps": 0}, "diffusion_steps: found 0, expected a positive number"),
    ],
)
def test_flags_that_mean_nothing_are_refused(layout: str, flags: dict[str, Any], message: str) -> None:
    state = drawn(Ddim() if layout == "ddim_celeba" else Adm(attention=(0, 1)))
    with pytest.raises(WeightsError, match=message):
        converted_state(state, layout, Flags(**flags))


CHANGES: list[Callable[[Tensor], Tensor]] = [
    torch.sum,
    torch.flatten,
    lambda tensor: tensor[:0],
    lambda tensor: tensor[:1],
    lambda tensor: tensor[None],
    lambda tensor: torch.cat([tensor, tensor]),
    lambda tensor: tensor.int(),
]


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["ddim_celeba", "adm", "improved_diffusion"])
def test_any_change_of_names_and_shapes_is_refused_by_a_message(adm: State, ddim: State, layout: str) -> None:
    state = ddim if layout == "ddim_celeba" else adm
    for seed in range(40):
        stream = random.Random(seed)
        changed = dict(state)
        for name in stream.sample(sorted(state), stream.choice([1, 2, 9])):
            tensor = changed.pop(name)
            change = stream.choice([None, *CHANGES])
            if change is not None and (tensor.dim() or change not in CHANGES[2:4]):
                changed[name if stream.random() < 0.9 else name[1:]] = change(tensor)
        if {name: tensor.shape for name, tensor in changed.items()} == {name: state[name].shape for name in state}:
            continue  # a vector was flattened
        with pytest.raises(WeightsError, match=r"\w"):
            converted_state(changed, layout, SMALL if layout == "adm" else Flags())


# --- the folder ---


def test_a_folder_appears_whole_or_not_at_all(adm: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save(adm, tmp_path / "adm.pt")

    def full(unet: UNet2DModel, folder: Path) -> None:
        (folder / "config.json").touch()
        raise OSError("no space left")

    monkeypatch.setattr(UNet2DModel, "save_pretrained", full)
    with pytest.raises(OSError, match="no space left"):
        convert_checkpoint("adm", tmp_path / "adm.pt", tmp_path / "out", SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ["adm.pt"]


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o007, 0o660)])
def test_files_respect_the_umask(ddim: State, tmp_path: Path, umask: int, mode: int) -> None:
    torch.save(ddim, tmp_path / "ckpt.pth")
    before = os.umask(umask)
    try:
        convert_checkpoint("ddim_celeba", tmp_path / "ckpt.pth", tmp_path / "out", Flags(), check=False)
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "out").iterdir()} == {mode}


def test_what_is_there_already_is_kept(adm: State, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").touch()
    with pytest.raises(WeightsError, match="out: is there already, and not empty"):
        convert_checkpoint("adm", tmp_path / "adm.pt", tmp_path / "out", SMALL)


@pytest.mark.parametrize(("layout", "message"), [("adm", "is a folder, layout adm a file"), ("diffusers", "is a file")])
def test_a_folder_and_a_file_are_told_apart(tmp_path: Path, layout: Any, message: str) -> None:
    (tmp_path / "ckpt.pt").touch()
    with pytest.raises(WeightsError, match=message):
        convert_checkpoint(layout, tmp_path if layout == "adm" else tmp_path / "ckpt.pt", tmp_path / "out", Flags())


def test_the_command(adm: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save(adm, tmp_path / "adm.pt")
    words = ["--layout", "adm", str(tmp_path / "adm.pt"), str(tmp_path / "out"), "--num-head-channels", "16"]
    monkeypatch.setattr(sys, "argv", ["convert_checkpoint.py", *words])
    runpy.run_path(str(ROOT / "tools/convert_checkpoint.py"), run_name="__main__")
    assert (tmp_path / "out" / "scheduler_config.json").is_file()
    with pytest.raises(SystemExit, match=r"error: .*is there already"):
        runpy.run_path(str(ROOT / "tools/convert_checkpoint.py"), run_name="__main__")
