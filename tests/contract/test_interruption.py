"""A job killed at any moment and run again gives the bytes of a job that was left alone."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
import torch

from fewshot_diffusion.config.denoiser import ArchitectureConfig, DenoiserConfig, ScheduleConfig
from fewshot_diffusion.data.image_set import ImageSet, save_image_set
from fewshot_diffusion.storage.tensors import read_tensors
from fewshot_diffusion.storage.weights import WEIGHTS_FILE, WEIGHTS_FILES

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT / "workflow" / "scripts")}
PATIENCE = 300  # seconds
STEPS, UNITS = 40, 30

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Job:
    """A process that keeps what is finished, and makes one file at the end."""

    words: list[str]
    output: Path
    finished: Callable[[], int]
    """How much it has kept."""

    def start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(self.words, env=ENVIRONMENT, stderr=subprocess.PIPE, start_new_session=True, text=True)

    def finish(self) -> str:
        process = self.start()
        _, said = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, said
        return said

    def stop(self, by: signal.Signals, after: int, delay: float = 0.0) -> tuple[int, str]:
        """Start it and end it once it has kept so much, and some time has passed; return its status and last words."""
        process = self.start()
        deadline = time.monotonic() + PATIENCE
        while process.poll() is None and self.finished() < after:
            assert time.monotonic() < deadline
            time.sleep(0.002)
        time.sleep(delay)
        process.send_signal(by)
        _, said = process.communicate(timeout=PATIENCE)
        assert not self.output.exists(), "the job ended before it could be stopped"
        return process.returncode, said


def lines(folder: Path) -> list[int]:
    """Return how many images each line of a training's log has seen."""
    found = [path.read_text().splitlines() for path in folder.glob("states/*/log.jsonl")]
    return [json.loads(line)["images"] for line in found[0]] if found else []


def training(folder: Path, **changed: object) -> Job:
    folder.mkdir(exist_ok=True)
    pixels = torch.randint(256, (32, 3, 16, 16), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    split = ImageSet(pixels, torch.arange(32), pd.DataFrame({"A": [True] * 32}))
    save_image_set(split, folder / "train.parquet", {})
    recipe = {"num_images": STEPS * 8, "batch_size": 8, "learning_rate": 1e-3, "warmup_images": 32, "decay_from": 0.5}
    recipe |= {"ema_decay": 0.9, "random_flip": True, "checkpoint_images": 8, "precision": "float32"}
    settings = DenoiserConfig(
        source="train",
        architecture=ArchitectureConfig(block_out_channels=(8, 16), norm_num_groups=4, attention_head_dim=8),
        schedule=ScheduleConfig(),
        training=recipe | changed,
    )
    script = str(ROOT / "workflow" / "scripts" / "train_denoiser.py")
    words = [sys.executable, script, "--settings", settings.model_dump_json(), "--device", "cpu"]
    words += ["--images", f"{folder}/train.parquet", "--checkpoints", f"{folder}/states", "--output", f"{folder}/out"]
    return Job(words, folder / "out", lambda: len(lines(folder)))


SAMPLING = f"""
import sys
from pathlib import Path
from fewshot_diffusion.config.sampling import SamplingConfig
from fewshot_diffusion.diffusion.denoiser import load_denoiser
from fewshot_diffusion.diffusion.guidance import unguided
from fewshot_diffusion.diffusion.samples import save_samples
from fewshot_diffusion.diffusion.sampling import draw_units, plan_units
from fewshot_diffusion.runtime import CPU
from fewshot_diffusion.storage.checkpoints import CheckpointFolder

folder, denoiser = Path(sys.argv[1]), load_denoiser(Path(sys.argv[2]), CPU)
settings = SamplingConfig(num_inference_steps=3, eta=0.5, timestep_spacing="trailing", clip_sample=True,
                          guidance_interval=(0, 999), unit_size=3, precision="float32")
predict, checkpoints = unguided(denoiser, CPU), CheckpointFolder(folder / "units", "mine")
samples, _ = draw_units(plan_units(7, {UNITS}, 3), lambda _: predict, denoiser, settings, CPU, checkpoints)
save_samples(samples, folder / "samples.parquet", {{}})
"""


def sampling(folder: Path, denoiser: Path) -> Job:
    folder.mkdir(exist_ok=True)
    words = [sys.executable, "-c", SAMPLING, str(folder), str(denoiser)]
    return Job(words, folder / "samples.parquet", lambda: len(list(folder.glob("units/mine/unit-*.safetensors"))))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training that was left alone."""
    folder = tmp_path_factory.mktemp("undisturbed")
    training(folder).finish()
    return folder


def test_a_killed_training_continues_to_the_same_bytes(undisturbed: Path, tmp_path: Path) -> None:
    job, choose = training(tmp_path), random.Random(20231)
    for _ in range(2):  # twice: the second start resumes, too
        after = job.finished() + choose.randint(2, 8)
        assert job.stop(signal.SIGKILL, after, choose.uniform(0, 0.03))[0] == -signal.SIGKILL
    assert 0 < lines(tmp_path)[-1] < STEPS * 8
    job.finish()
    assert contents(tmp_path / "out") == contents(undisturbed / "out")
    assert set(contents(tmp_path / "out")) == set(WEIGHTS_FILES)
    # It really continued: after the kill the log goes on where the last checkpoint was.
    assert len(lines(tmp_path)) <= STEPS + 2


def test_sigterm_makes_a_training_keep_its_step(undisturbed: Path, tmp_path: Path) -> None:
    """As Slurm ends a job. Only the first half's end is a checkpoint otherwise, so that SIGTERM's own is seen."""
    job = training(tmp_path, checkpoint_images=STEPS // 2 * 8)
    status, said = job.stop(signal.SIGTERM, 1)
    state = next(tmp_path.glob("states/*/state.safetensors"))
    kept = int(read_tensors(state)[1]["step"])
    assert STEPS // 2 < kept < STEPS, "the step that SIGTERM came in"
    assert status == 1 and "Traceback" not in said
    assert said.splitlines()[-1].startswith(f"error: told to stop (SIGTERM) after step {kept} of {STEPS}; {state} hold")
    job.finish()
    # One line per checkpoint: none of the steps before it was taken again.
    assert lines(tmp_path) == [STEPS // 2 * 8, kept * 8, STEPS * 8]
    # The header says how often there was to be a checkpoint.
    found, expected = (read_tensors(folder / "out" / WEIGHTS_FILE)[0] for folder in (tmp_path, undisturbed))
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_a_finished_training_repeats_its_output(undisturbed: Path) -> None:
    before, logged = contents(undisturbed / "out"), lines(undisturbed)
    training(undisturbed).finish()
    assert lines(undisturbed) == logged, "nothing was trained again"
    assert contents(undisturbed / "out") == before


def test_killed_sampling_continues_to_the_same_bytes(undisturbed: Path, tmp_path: Path) -> None:
    whole, job = (sampling(tmp_path / name, undisturbed / "out") for name in ("whole", "killed"))
    whole.finish()
    choose = random.Random(411)
    after = choose.randint(3, UNITS // 2)
    assert job.stop(signal.SIGKILL, after, choose.uniform(0, 0.03))[0] == -signal.SIGKILL
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.glob("killed/units/mine/unit-*.safetensors")}
    assert after <= len(kept) < UNITS
    job.finish()
    assert job.output.read_bytes() == whole.output.read_bytes()
    assert job.finished() == UNITS
    assert {path: path.stat().st_mtime_ns for path in kept} == kept, "finished units were drawn again"
