"""One run of the smoke workflow as on a cluster: through a real Slurm of one node, in envs of conda; tests look at it.

A training job is cancelled, Snakemake is killed while its jobs draw samples, and the same command is typed again.
Every job starts from nothing, as users' do. One of the smoke configuration's two classes, so every rule of the
attributes. Where Slurm cannot run, the run is local; where the interpreter is not that of the env files, without conda.
"""

import fcntl
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from conda.channel import build_channel
from conda.standin import write_base
from determinism import products
from support import BIN, Finished, copy_tree, one_class, overlay, snakemake, start

PROGRAM = Path(__file__).with_name("cluster.sh")
CANNOT_RUN = 3  # its exit status where Slurm cannot run at all
HAS_CONDA = sys.version_info[:2] == (3, 11)
PIP = os.environ.get("CONDA_STANDIN_PIP", "link")
CONFIG = ("--configfile", "config/smoke.yaml", "cluster.yaml")
PROFILE = ("--profile", "slurm", "--slurm-init-seconds-before-status-checks", "5", "--slurm-keep-successful-logs")
WORDS = {"SBATCH_PARTITION": "tests", "FEWSHOT_GPU": "fake"}
STEPS, CHECKPOINT, BATCH = 200, 25, 16  # of the training: long enough to be caught
TRAINING = {"num_images": STEPS * BATCH, "batch_size": BATCH, "checkpoint_images": CHECKPOINT * BATCH}
PATIENCE = 1500  # seconds

Jobs = dict[str, dict[str, str]]  # id -> what Slurm remembers of it: its state, its rule, its memory and its GPUs


@dataclass
class Story:
    """What happened to a run: what Snakemake said before and after it was killed, and Slurm's jobs at the end."""

    said: list[str] = field(default_factory=list)
    again: str = ""  # what the same command said once everything was there
    jobs: Jobs = field(default_factory=dict)
    cancelled: str = ""
    seen_images: list[int] = field(default_factory=list)  # of each line of the training's log
    products: dict[str, str] = field(default_factory=dict)  # name -> digest
    without_slurm: str = ""  # why
    seconds: float = 0.0

    @property
    def text(self) -> str:
        return "".join(self.said)


@dataclass(frozen=True)
class Tree:
    """A copy of the tree that runs in envs of conda; the stand-in's base prefix lies beside it."""

    folder: Path

    @property
    def base(self) -> Path:
        return self.folder.parent / "base"

    @property
    def story(self) -> Story:
        return Story(**json.loads((self.folder.parent / "story.json").read_text()))

    def command(self, *options: str, targets: tuple[str, ...] = ("attributes",)) -> tuple[str, ...]:
        return (*options, *CONFIG, *(("--sdm", "conda") if HAS_CONDA else ()), "--", *targets)

    def variables(self) -> dict[str, str]:
        return {**WORDS, "PATH": os.pathsep.join((str(self.base / "bin"), str(BIN), os.environ["PATH"]))}

    def run(self, *options: str, targets: tuple[str, ...] = ("attributes",)) -> Finished:
        return snakemake(self.folder, *self.command(*options, targets=targets), **self.variables())


def run(folder: Path) -> None:
    """Make the run in a folder, through Slurm if that is possible, and write down its story."""
    tree, story, started = prepare(folder), Story(), time.monotonic()
    with slurm() as story.without_slurm:
        where = ("--cores", "2") if story.without_slurm else PROFILE
        if not story.without_slurm:
            disturb(tree, story)
        done = tree.run(*where)
        assert done.status == 0, done.text
        story.said.append(done.text)
        story.seconds = time.monotonic() - started
        before = times(folder)
        story.again = tree.run(*where).text
        assert times(folder) == before, "something was made again"
        story.jobs = {} if story.without_slurm else jobs()
    story.seen_images = seen_images(folder)
    story.products = dict(products(folder))
    (folder.parent / "story.json").write_text(json.dumps(asdict(story)))


def prepare(folder: Path) -> Tree:
    tree = Tree(copy_tree(folder))
    overlay(folder, "cluster.yaml", **one_class(), denoiser={"training": TRAINING})
    if HAS_CONDA:
        build_channel(folder.parent / "channel")
        write_base(tree.base, folder.parent / "channel", pip=PIP)
    return tree


def disturb(tree: Tree, story: Story) -> None:
    """Start the run; cancel its training between two checkpoints, and kill Snakemake while jobs of it draw samples."""
    said = tree.folder.parent / "said.txt"
    with said.open("w") as file:
        command = (str(BIN / "snakemake"), *tree.command(*PROFILE))
        process = start(tree.folder, *command, output=file, **tree.variables())
    try:
        wait_until(process, said, lambda: seen_images(tree.folder))
        [story.cancelled] = jobs_of("train_denoiser", jobs())
        subprocess.run(["scancel", story.cancelled], check=True)
        wait_until(process, said, lambda: any_runs("sample_attributes", jobs()))
    finally:
        process.kill()
        process.wait()
    story.said.append(said.read_text())


def wait_until(process: subprocess.Popen[str], said: Path, reached: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not reached():
        if process.poll() is not None or time.monotonic() > deadline:
            raise AssertionError(said.read_text())
        time.sleep(0.1)


def seen_images(tree: Path) -> list[int]:
    lines = [path.read_text().splitlines() for path in tree.glob("checkpoints/denoiser/*/log.jsonl")]
    return [json.loads(line)["images"] for line in lines[0]] if lines else []


def times(tree: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in (tree / "results").rglob("*") if path.is_file()}


# --- Slurm ----------------------------------------------------------------------------------------------------------


@contextmanager
def slurm() -> Iterator[str]:
    """Start a Slurm of one node, one at a time on this machine; yields why it cannot run here, or nothing."""
    with (Path(tempfile.gettempdir()) / "fewshot-slurm.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        refusal = ask("install") or ask("start")
        try:
            yield refusal
        finally:
            if not refusal:
                ask("stop")


def ask(what: str) -> str:
    done = subprocess.run([str(PROGRAM), what], capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode in (0, CANNOT_RUN), done.stderr
    return done.stderr.strip() if done.returncode else ""


def jobs() -> Jobs:
    names = ("state", "memory", "gpus", "rule")
    fields = "JobID:|,State:|,MinMemory:|,tres-per-job:|,Comment:|"
    done = subprocess.run(
        ["squeue", "--noheader", "--states=all", f"--Format={fields}"], capture_output=True, text=True, check=True
    )
    rows = [line.split("|") for line in done.stdout.splitlines()]
    return {row[0]: dict(zip(names, row[1:5], strict=True)) for row in rows}


def jobs_of(rule: str, known: Jobs) -> list[str]:
    return sorted((job for job, about in known.items() if rule_of(about) == rule), key=int)


def rule_of(about: dict[str, str]) -> str:
    return about["rule"].partition("_wildcards")[0].removeprefix("rule_")


def any_runs(rule: str, known: Jobs) -> bool:
    return any(known[job]["state"] == "RUNNING" for job in jobs_of(rule, known))
