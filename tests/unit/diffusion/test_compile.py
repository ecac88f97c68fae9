"""Compiled networks: calls are compiled and say the same, passes that read features are not, nor is what is counted."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from fewshot_diffusion.config.denoiser import ArchitectureConfig, DenoiserConfig, ScheduleConfig
from fewshot_diffusion.diffusion.denoiser import Denoiser, PixelDenoiser, build_unet
from fewshot_diffusion.diffusion.denoiser_training import fit_denoiser
from fewshot_diffusion.diffusion.guidance import ExactGuidance, Predictor, ReadoutGuidance, guided, unguided
from fewshot_diffusion.diffusion.sampling import count_forwards
from fewshot_diffusion.errors import ConfigError
from fewshot_diffusion.runtime import CPU, Runtime, make_runtime
from fewshot_diffusion.storage.checkpoints import CheckpointFolder

COMPILED = replace(CPU, compiler="aot_eager")
TAPS = ["up_blocks.0"]


@pytest.fixture(autouse=True)
def compiled_frames() -> dict[str, int]:
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    return torch._dynamo.utils.counters["frames"]


def likelihood(maps: Sequence[Tensor], _timestep: int) -> Tensor:
    return torch.sin(maps[0]).mean((1, 2, 3))


def predictor(mode: str, architecture: ArchitectureConfig, runtime: Runtime) -> tuple[Denoiser, Predictor]:
    torch.manual_seed(0)
    unet = build_unet(architecture, 16).requires_grad_(False).eval()
    denoiser = PixelDenoiser(ScheduleConfig(), "", runtime, runtime.place(unet))
    guidances = {
        "exact": ExactGuidance(denoiser, likelihood, TAPS, 100),
        "readout": ReadoutGuidance(denoiser, likelihood, TAPS),
    }
    plain = unguided(denoiser)
    return denoiser, guided(guidances[mode], 50.0, "v_prediction", plain) if mode in guidances else plain


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "compiles"), [("unguided", True), ("exact", True), ("readout", False)])
def test_steps_say_the_same_and_costs_are_counted_without_a_compiler(
    mode: str, compiles: bool, tiny_architecture: ArchitectureConfig, compiled_frames: dict[str, int]
) -> None:
    (plain, expected), (denoiser, predict) = (predictor(mode, tiny_architecture, one) for one in (CPU, COMPILED))
    assert count_forwards(predict, denoiser) == count_forwards(expected, plain) >= 1
    assert not compiled_frames.get("ok")
    x_t = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    for timestep in (900, 500, 100):
        alpha_bar_t = torch.tensor(0.5)
        found, wanted = (one(x_t, timestep, alpha_bar_t) for one in (predict, expected))
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
    assert bool(compiled_frames.get("ok")) == compiles
    assert compiled_frames.get("ok", 0) <= 3, "not anew at every timestep"


@pytest.mark.slow
def test_a_training_step_is_compiled_and_learns_the_same(
    tiny_architecture: ArchitectureConfig, tmp_path: Path, compiled_frames: dict[str, int]
) -> None:
    recipe = {
        "num_images": 8, "batch_size": 4, "learning_rate": 1e-3, "warmup_images": 0, "decay_from": 0.5,
        "ema_decay": 0.9, "random_flip": True, "checkpoint_images": 8, "compile": True,
    }  # fmt: skip
    settings = DenoiserConfig(
        source="train", architecture=tiny_architecture, schedule=ScheduleConfig(), training=recipe
    )
    images = torch.randint(0, 256, (6, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    runs = {"eager": CPU, "compiled": COMPILED}
    eager, compiled = (fit_denoiser(images, settings, CheckpointFolder(tmp_path, key), runs[key]) for key in runs)
    assert compiled_frames["ok"]
    apart = [(one - two).abs().flatten() for one, two in zip(eager.parameters(), compiled.parameters(), strict=True)]
    assert float(torch.cat(apart).median()) < 1e-6


def test_what_cannot_compile_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert make_runtime("cpu", "float32", 1).compiler is None
    monkeypatch.setattr("shutil.which", {"clang++": "/usr/bin/clang++"}.get)
    assert make_runtime("cpu", "float32", 1, compile=True).compiler == "inductor"
    monkeypatch.setattr("shutil.which", {}.get)
    with pytest.raises(
        ConfigError, match=r"compile: found true, but cpu takes a C\+\+ compiler.* set compile to false"
    ):
        make_runtime("cpu", "float32", 1, compile=True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr("torch.utils._triton.has_triton", lambda: False)
    with pytest.raises(ConfigError, match="cuda:1 takes Triton"):
        make_runtime("cuda:1", "float32", 1, compile=True)
