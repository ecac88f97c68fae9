"""A job killed at any moment and run again gives the bytes of a job that was left alone."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml

from fewshot_diffusion.config.denoiser import ArchitectureConfig, DenoiserConfig, DenoiserTrainingConfig, ScheduleConfig
from fewshot_diffusion.config.sampling import SamplingConfig
from fewshot_diffusion.data.image_set import ImageSet, save_image_set
from fewshot_diffusion.diffusion.denoiser import build_unet, unet_config
from fewshot_diffusion.storage.tensors import read_tensors
from fewshot_diffusion.storage.weights import WEIGHTS_FILES, save_module

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "workflow" / "scripts"
DEFAULT = yaml.safe_load((ROOT / "config" / "config.yaml").read_text())
ARCHITECTURE = ArchitectureConfig(block_out_channels=(8, 16), norm_num_groups=4, attention_head_dim=8)
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}
PATIENCE = 300  # seconds

pytestmark = pytest.mark.slow


def command(script: str, **options: object) -> list[str]:
    """Return a script's command line; options in the order of their names."""
    words = [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    return [sys.executable, str(SCRIPTS / f"{script}.py"), *words, "--device", "cpu"]


def finish(words: list[str]) -> None:
    done = subprocess.run(words, env=ENVIRONMENT, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr


def wait_until(process: subprocess.Popen[str], reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while process.poll() is None and not reached():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def kill_when(words: list[str], reached: Callable[[], bool], delay: float) -> None:
    """Start a job and kill it, without warning, some time after it has got somewhere."""
    process = subprocess.Popen(words, env=ENVIRONMENT, stderr=subprocess.DEVNULL, start_new_session=True, text=True)
    try:
        wait_until(process, reached)
        time.sleep(delay)
    finally:
        process.kill()
    assert process.wait() == -signal.SIGKILL, "the job ended before it could be killed"


def files_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


# --- training -------------------------------------------------------------------------------------------------------

STEPS = 40


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    pixels = torch.randint(256, (32, 3, 16, 16), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    image_set = ImageSet(pixels, torch.arange(32), pd.DataFrame({"A": [True] * 32}))
    save_image_set(image_set, folder / "train.safetensors", folder / "train.parquet", {})
    return folder / "train.safetensors"


def training(images: Path, folder: Path, **changed: object) -> list[str]:
    tiny = {
        "num_images": STEPS * 8,
        "batch_size": 8,
        "warmup_images": 32,
        "random_flip": True,
        "checkpoint_images": 8,
        "precision": "float32",
        **changed,
    }
    recipe = DenoiserTrainingConfig.model_validate({**DEFAULT["denoiser"]["training"], **tiny})
    settings = DenoiserConfig(source="train", architecture=ARCHITECTURE, schedule=ScheduleConfig(), training=recipe)
    return command(
        "train_denoiser",
        settings=settings.model_dump_json(),
        images=images,
        checkpoints=folder / "checkpoints",
        output=folder / "denoiser",
        code="0123",
    )


def logged(folder: Path) -> list[int]:
    """Return how many images each line of the training's log has seen."""
    lines = [path.read_text().splitlines() for path in folder.glob("checkpoints/*/log.jsonl")]
    return [json.loads(line)["images"] for line in lines[0]] if lines else []


@pytest.fixture(scope="module")
def undisturbed_training(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    finish(training(images, folder))
    return folder


def test_a_killed_training_continues_to_the_same_bytes(
    images: Path, undisturbed_training: Path, tmp_path: Path
) -> None:
    choose = random.Random(20231)
    for _ in range(2):  # twice: the second start resumes, too
        seen, more = len(logged(tmp_path)), choose.randint(2, 8)
        kill_when(training(images, tmp_path), lambda: len(logged(tmp_path)) >= seen + more, choose.uniform(0, 0.03))  # noqa: B023
        assert not (tmp_path / "denoiser").exists(), "weights appear only at the end"
    interrupted = logged(tmp_path)[-1]
    assert 0 < interrupted < STEPS * 8
    finish(training(images, tmp_path))
    assert files_below(tmp_path / "denoiser") == set(WEIGHTS_FILES)
    for name in WEIGHTS_FILES:
        assert (tmp_path / "denoiser" / name).read_bytes() == (undisturbed_training / "denoiser" / name).read_bytes()
    # It really continued: after the kill the log goes on where the last checkpoint was.
    assert len(logged(tmp_path)) <= STEPS + 2


def test_sigterm_makes_a_training_keep_its_step(images: Path, undisturbed_training: Path, tmp_path: Path) -> None:
    """As Slurm ends a job. Only the first half's end is a checkpoint otherwise, so that SIGTERM's own is seen."""
    words = training(images, tmp_path, checkpoint_images=STEPS // 2 * 8)
    process = subprocess.Popen(words, env=ENVIRONMENT, stderr=subprocess.PIPE, start_new_session=True, text=True)
    wait_until(process, lambda: bool(logged(tmp_path)))
    process.terminate()
    _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert not (tmp_path / "denoiser").exists()
    state = next(tmp_path.glob("checkpoints/*/state.safetensors"))
    kept = int(read_tensors(state)[1]["step"])
    assert STEPS // 2 < kept < STEPS, "the step that SIGTERM came in"
    last = said.splitlines()[-1]
    assert last.startswith(f"error: told to stop (SIGTERM) after step {kept} of {STEPS}; {state} holds it.")
    assert "Traceback" not in said
    finish(words)
    # One line per checkpoint: none of the steps before it was taken again.
    assert logged(tmp_path) == [STEPS // 2 * 8, kept * 8, STEPS * 8]
    for name in WEIGHTS_FILES[:2]:  # the third file tells how often there was a checkpoint
        assert (tmp_path / "denoiser" / name).read_bytes() == (undisturbed_training / "denoiser" / name).read_bytes()


def test_a_finished_training_repeats_its_output(images: Path, undisturbed_training: Path, tmp_path: Path) -> None:
    words = training(images, undisturbed_training)
    words[words.index("--output") + 1] = str(tmp_path / "again")
    lines = logged(undisturbed_training)
    finish(words)
    assert logged(undisturbed_training) == lines, "nothing was trained again"
    for name in WEIGHTS_FILES:
        assert (tmp_path / "again" / name).read_bytes() == (undisturbed_training / "denoiser" / name).read_bytes()


# --- sampling -------------------------------------------------------------------------------------------------------

UNITS = 30


@pytest.fixture(scope="module")
def denoiser(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("denoiser")
    torch.manual_seed(0)
    unet = build_unet(ARCHITECTURE, 16)
    save_module(unet, unet_config(unet), folder, {"schedule": ScheduleConfig().model_dump(mode="json")})
    return folder


def sampling(denoiser: Path, folder: Path) -> list[str]:
    tiny = {"num_inference_steps": 3, "eta": 0.5, "unit_size": 3, "units_unguided": UNITS, "precision": "float32"}
    settings = SamplingConfig.model_validate({**DEFAULT["sampling"], **tiny})
    return command(
        "sample",
        settings=settings.model_dump_json(),
        denoiser=denoiser,
        mode="unguided",
        first_seed=7,
        units=UNITS,
        checkpoints=folder / "checkpoints",
        output=folder / "out" / "shard.safetensors",
        timing=folder / "out" / "shard.timing.json",
        code="0123",
    )


def finished_units(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.glob("checkpoints/*/unit-*.safetensors")}


@pytest.fixture(scope="module")
def undisturbed_sampling(denoiser: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    finish(sampling(denoiser, folder))
    return folder


def test_killed_sampling_continues_to_the_same_bytes(
    denoiser: Path, undisturbed_sampling: Path, tmp_path: Path
) -> None:
    whole, killed = undisturbed_sampling, tmp_path
    choose = random.Random(411)
    after = choose.randint(3, UNITS // 2)
    kill_when(sampling(denoiser, killed), lambda: len(finished_units(killed)) >= after, choose.uniform(0, 0.03))
    kept = finished_units(killed)
    assert after <= len(kept) < UNITS
    assert not (killed / "out").exists() or not files_below(killed / "out")
    finish(sampling(denoiser, killed))
    assert files_below(killed / "out") == {"shard.safetensors", "shard.timing.json"}
    assert (killed / "out" / "shard.safetensors").read_bytes() == (whole / "out" / "shard.safetensors").read_bytes()
    again = finished_units(killed)
    assert len(again) == UNITS
    assert {path: again[path] for path in kept} == kept, "finished units were drawn again"
    assert json.loads((killed / "out" / "shard.timing.json").read_text())["samples"] == UNITS * 3


def test_a_damaged_unit_is_named_not_used(denoiser: Path, undisturbed_sampling: Path, tmp_path: Path) -> None:
    shutil.copytree(undisturbed_sampling, tmp_path, dirs_exist_ok=True)
    unit = sorted(finished_units(tmp_path))[4]
    data = bytearray(unit.read_bytes())
    data[-5] ^= 16
    unit.write_bytes(data)
    (tmp_path / "out" / "shard.safetensors").unlink()
    done = subprocess.run(sampling(denoiser, tmp_path), env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 1
    assert str(unit) in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out" / "shard.safetensors").exists()
