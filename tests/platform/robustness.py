"""Interrupt the workflow at random moments in every way that machines do, resume it, and compare every byte.

    python tests/platform/robustness.py --moments 120 --output results/robustness.csv

A run of ten jobs (training, fine-tuning, sampling, generation, one classifier) is interrupted again and again until it
is through; then it starts anew. Every run is the same plain command. The disk that fills is a small tmpfs of its own.
"""

import argparse
import base64
import contextlib
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import yaml

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / "platform"), str(ROOT / "workflow" / "scripts")]

from fewshot_diffusion.storage.tables import write_csv  # noqa: E402 - the tests are no package
from warm import Run, Warm, wait_until  # noqa: E402

TARGETS = (
    "results/smoke/attributes/samples/unguided/pool/1-of-1.parquet",
    "results/smoke/classes/cells/resnet18/plain/1_none.csv",
)
OVERLAY = {
    "denoiser": {"training": {"num_images": 192, "checkpoint_images": 16}},
    "attributes": {"sets": {"shards_unguided": 1, "units_unguided": 16}},
    "classes": {
        "splits": {"class_train": 200, "class_test": 24},
        "conditional": {"num_images": 32},
        "sampling": {"shards": 1},
        "architectures": [{"name": "resnet18", "epochs": 1, "seeds": [0, 1, 2], "controls": False}],
    },
}
COMMAND = ["--cores", "2", *TARGETS, "--configfile", "config/smoke.yaml", "robustness.yaml"]
DISK = 64  # MiB
COLUMNS = ["kind", "moments", "resumed", "finished_units", "units_redone", "equal_bytes", "runs_compared"]


# --- interruptions --------------------------------------------------------------------------------------------------


def kill_everything(run: Run, tree: Path) -> None:
    os.killpg(run.group, signal.SIGKILL)


def kill_one_job(run: Run, tree: Path) -> None:
    wait_until(lambda: bool(run.jobs()) or run.is_over())
    for process in run.jobs()[:1]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)


def kill_snakemake(run: Run, tree: Path) -> None:
    os.kill(run.group, signal.SIGKILL)  # its jobs live on, beside those of the next run


def interrupt(run: Run, tree: Path) -> None:
    os.killpg(run.group, signal.SIGINT)


def terminate(run: Run, tree: Path) -> None:
    os.kill(run.group, signal.SIGTERM)


def terminate_everything(run: Run, tree: Path) -> None:
    os.killpg(run.group, signal.SIGTERM)


def fill_the_disk(run: Run, tree: Path) -> None:
    with contextlib.suppress(OSError), (tree / "filler").open("wb", buffering=0) as file:
        os.posix_fallocate(file.fileno(), 0, os.statvfs(tree).f_bavail * os.statvfs(tree).f_bsize)
        while True:
            os.write(file.fileno(), bytes(4096))


def fail_writes(run: Run, tree: Path) -> None:
    for process, _ in run.members():
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(process, resource.RLIMIT_FSIZE, (0, 0))  # inherited by what it starts


KINDS: dict[str, Callable[[Run, Path], None]] = {
    "kill -9, process group": kill_everything,
    "kill -9, one job": kill_one_job,
    "kill -9, snakemake alone": kill_snakemake,
    "SIGINT": interrupt,
    "SIGTERM, snakemake alone": terminate,
    "SIGTERM, process group": terminate_everything,
    "full disk": fill_the_disk,
    "error on write": fail_writes,
}


# --- what is finished -----------------------------------------------------------------------------------------------


def work_units(tree: Path) -> dict[str, int]:
    """Return the finished work units and outputs, each with the time of its last writing."""
    units = [*tree.glob("checkpoints/**/unit-*.safetensors"), *tree.glob("checkpoints/**/seed-*.json")]
    units = [path for path in units if path.suffix == ".json" or path.with_suffix(".json").exists()]
    found = {str(path.relative_to(tree)): path.stat().st_mtime_ns for path in units}
    records, incomplete = (set(_recorded(tree / ".snakemake" / name)) for name in ("metadata", "incomplete"))
    for name in records - incomplete:
        with contextlib.suppress(FileNotFoundError):
            found[name] = (tree / name).stat().st_mtime_ns
    return found


def _recorded(folder: Path) -> Iterator[str]:
    for path in folder.rglob("*"):
        if path.is_file() and path.stat().st_size:
            name = "".join(part.lstrip("@") for part in path.relative_to(folder).parts)
            with contextlib.suppress(ValueError):
                yield base64.urlsafe_b64decode(name).decode()


def repeated_steps(tree: Path) -> int:
    """Return how many checkpoints of a training were reached twice."""
    repeated = 0
    for path in tree.glob("checkpoints/**/log.jsonl"):
        highest = 0
        for line in path.read_text().splitlines():
            with contextlib.suppress(ValueError):  # a full disk cuts lines
                images = json.loads(line)["images"]
                repeated += images <= highest
                highest = max(highest, images)
    return repeated


def products(tree: Path) -> dict[str, bytes]:
    """Return the content of every result but the measured seconds."""
    files = [path for path in (tree / "results").rglob("*") if path.is_file() and not path.name.startswith(".")]
    return {str(path.relative_to(tree)): path.read_bytes() for path in files if not path.name.endswith(".timing.json")}


# --- the sweep ------------------------------------------------------------------------------------------------------


@dataclass
class Moment:
    """One interruption and what came of it."""

    kind: str
    second: float
    finished: int = 0
    redone: int = 0
    resumed: bool = True
    equal: bool = False


@dataclass
class Sweep:
    """Interrupted runs in one tree, compared with one that was left alone."""

    runner: Warm
    tree: Path
    log: Path
    choose: random.Random
    kinds: list[str]
    moments: list[Moment] = field(default_factory=list)
    compared: int = 0
    expected: dict[str, bytes] = field(default_factory=dict)
    seconds: float = 0.0

    def reference(self) -> None:
        """Run undisturbed."""
        started = time.monotonic()
        if self.run_to_the_end() != 0:
            raise RuntimeError(f"the undisturbed run failed:\n{self.log.read_text()[-4000:]}")
        self.seconds = time.monotonic() - started
        self.expected = products(self.tree)

    def start(self) -> Run:
        with self.log.open("a") as file:
            return self.runner.start(self.tree, file.fileno(), COMMAND)

    def run_to_the_end(self) -> int:
        run = self.start()
        status = run.status()
        self.wait_for_orphans(run)
        return status

    def wait_for_orphans(self, run: Run) -> None:
        wait_until(lambda: not list(run.members()))

    def one_round(self, most: int) -> None:
        """Interrupt runs until one is through, or ``most`` were interrupted; then let it finish and compare."""
        reset(self.tree)
        self.log.write_text("")
        mine: list[Moment] = []
        runs: list[Run] = []
        while len(mine) < most:
            moment = Moment(self.next_kind(), round(self.choose.uniform(0.02, 0.6) * self.seconds, 3))
            before = work_units(self.tree)
            run = self.start()
            runs.append(run)
            deadline = time.monotonic() + moment.second
            while time.monotonic() < deadline and not run.is_over():
                time.sleep(0.005)
            if run.is_over():
                self.kinds.insert(0, moment.kind)
                self.judge(mine, before, resumed=run.status() == 0)
                break
            KINDS[moment.kind](run, self.tree)
            run.status()
            (self.tree / "filler").unlink(missing_ok=True)
            self.judge(mine, before, resumed=True)
            moment.finished = len(work_units(self.tree))
            mine.append(moment)
        before = work_units(self.tree)
        status = self.run_to_the_end()
        for run in runs:
            self.wait_for_orphans(run)
        self.judge(mine, before, resumed=status == 0)
        equal = products(self.tree) == self.expected
        for moment in mine:
            moment.equal = equal
        if mine:
            mine[-1].redone += repeated_steps(self.tree)
        if not (status == 0 and equal):
            self.log.rename(self.log.with_suffix(f".{len(self.moments)}"))
        self.moments += mine
        self.compared += 1

    def next_kind(self) -> str:
        if not self.kinds:
            self.kinds = self.choose.sample(list(KINDS), len(KINDS))
        return self.kinds.pop(0)

    def judge(self, mine: list[Moment], before: dict[str, int], resumed: bool) -> None:
        """Charge the run that has just ended to the interruption before it."""
        if mine:
            after = work_units(self.tree)
            redone = [name for name, written in before.items() if after.get(name) != written]
            mine[-1].redone += len(redone)
            mine[-1].resumed &= resumed
            if redone:
                print(f"  redone after {mine[-1].kind}: {redone}", flush=True)

    def table(self) -> pd.DataFrame:
        frame = pd.DataFrame([vars(moment) for moment in self.moments])
        rows = frame.groupby("kind", sort=False).agg(
            moments=("kind", "size"),
            resumed=("resumed", "sum"),
            finished_units=("finished", "sum"),
            units_redone=("redone", "sum"),
            equal_bytes=("equal", "sum"),
        )
        rows = rows.reindex([kind for kind in KINDS if kind in rows.index]).reset_index()
        return rows.assign(runs_compared=self.compared)[COLUMNS]


def reset(tree: Path) -> None:
    for name in ("results", "checkpoints", "logs", "benchmarks", ".snakemake"):
        shutil.rmtree(tree / name, ignore_errors=True)


def copy_workflow(tree: Path) -> None:
    for name in ("Snakefile", "config", "envs", "profiles", "workflow"):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, tree / name)
    (tree / "robustness.yaml").write_text(yaml.safe_dump(OVERLAY))


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """Mount a small tmpfs on a folder; yields whether that was allowed."""
    folder.mkdir()
    options = ["mount", "-t", "tmpfs", "-o", f"size={DISK}m", "tmpfs", str(folder)]
    mounted = shutil.which("mount") is not None and subprocess.run(options, capture_output=True).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


def sweep(moments: int, per_round: int, seed: int, output: Path | None = None) -> Sweep:
    """Interrupt the workflow so many times; the table so far is written after every round."""
    with tempfile.TemporaryDirectory() as name, small_disk(Path(name) / "disk") as small:
        tree = Path(name) / "disk" / "tree"
        tree.mkdir()
        copy_workflow(tree)
        runner = Warm(Path(name) / "warm")
        try:
            found = Sweep(runner, tree, Path(name) / "runs.log", random.Random(seed), [])
            found.reference()
            if not small:
                print("a small disk cannot be mounted here: left out 'full disk'", flush=True)
                KINDS.pop("full disk", None)
            print(f"undisturbed: {found.seconds:.1f} s, {len(found.expected)} files to compare", flush=True)
            while len(found.moments) < moments:
                found.one_round(min(per_round, moments - len(found.moments)))
                print(f"{len(found.moments)} moments in {found.compared} runs", flush=True)
                if output:
                    write_csv(output, found.table())
        finally:
            runner.close()
        for path in Path(name).glob("runs.[0-9]*"):
            shutil.copy(path, tempfile.gettempdir())
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--moments", type=int, default=120)
    parser.add_argument("--per-run", type=int, default=12, help="interruptions of one run, at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=ROOT / "results" / "robustness.csv")
    args = parser.parse_args()
    table = sweep(args.moments, args.per_run, args.seed, args.output).table()
    print(table.to_string(index=False))


if __name__ == "__main__":
    main()
