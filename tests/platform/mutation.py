"""Change the library in many small ways, one at a time, and say which changes no unit test notices.

    python tests/platform/mutation.py --rooms metrics --sample 150 --output results/mutation.csv

`mutmut` makes the changes and runs the tests that reach them. It wants the package in a folder `src`: a copy of the
tree gets one. What survives is listed by `mutmut results` in the folder that is named. Errors raised, which are mostly
texts, are left as they are; so are decorated functions, which mutmut cannot change.
"""

import argparse
import json
import random
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import pandas as pd

from fewshot_diffusion.metrics.intervals import wilson_interval

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("diffusion", "attributes", "masks", "classes", "metrics")
SETTINGS = """
[tool.pytest.ini_options]
pythonpath = ["src", "tests"]
addopts = ["--import-mode=importlib", "-p", "no:cacheprovider"]
markers = ["slow: tried, too"]

[tool.mutmut]
source_paths = ["src/fewshot_diffusion"]
only_mutate = ["src/fewshot_diffusion/{room}/*"]
do_not_mutate_patterns = ['^\\s*raise ', '^\\s*f?".*"$']
also_copy = ["config", "tests", "workflow"]
pytest_add_cli_args = ["-x"]
pytest_add_cli_args_test_selection = {tests}
process_isolation = "forkserver"
track_dependencies = false
"""


def prepare(folder: Path, room: str) -> None:
    """Copy the library, its tests and its configurations to where mutmut takes them."""
    ignored = shutil.ignore_patterns("__pycache__", "platform", "workflow")
    shutil.copytree(ROOT / "workflow" / "scripts" / "fewshot_diffusion", folder / "src" / "fewshot_diffusion")
    shutil.copytree(ROOT / "workflow", folder / "workflow", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "tests", folder / "tests", ignore=ignored)
    shutil.copytree(ROOT / "config", folder / "config")
    (folder / "pyproject.toml").write_text(SETTINGS.format(room=room, tests=json.dumps(tests_of(room))))


def tests_of(room: str) -> list[str]:
    """Return the tests that import from a room, its own and others'."""
    tests = [path for kind in ("unit", "property") for path in (ROOT / "tests" / kind).rglob("test_*.py")]
    found = sorted(path for path in tests if f"fewshot_diffusion.{room}" in path.read_text())
    return [str(path.relative_to(ROOT)) for path in found]


def mutmut(folder: Path, *words: str) -> int:
    """Run mutmut in a prepared folder; what it says is appended to a file there."""
    with (folder / "log.txt").open("a") as log:
        return subprocess.run(
            [sys.executable, "-m", "mutmut", *words], cwd=folder, stdout=log, stderr=log, check=False
        ).returncode


def outcomes(folder: Path) -> dict[str, int | None]:
    """Return change -> the exit status of the tests, None where they did not run; 33 where no test reaches it."""
    found = sorted((folder / "mutants" / "src").rglob("*.meta"))
    return {name: status for path in found for name, status in json.loads(path.read_text())["exit_code_by_key"].items()}


def score(room: str, jobs: int, sample: int, seed: int) -> dict[str, object]:
    """Return how many changes of a room are possible, how many were tried, and how many of these were noticed."""
    folder = Path(tempfile.mkdtemp(prefix=f"mutation-{room}-"))
    prepare(folder, room)
    mutmut(folder, "run", "--max-children", "1", "none")  # makes the changes and times the tests, then finds no "none"
    made = sorted(outcomes(folder))
    drawn = random.Random(seed).sample(made, sample) if 0 < sample < len(made) else made
    if not made or mutmut(folder, "run", "--max-children", str(jobs), *drawn):
        raise SystemExit(f"{room}: mutmut stopped; see {folder / 'log.txt'}")
    found = Counter(outcomes(folder)[name] for name in drawn)
    noticed = len(drawn) - found[0] - found[33]
    print(f"{room}: {noticed} of {len(drawn)} noticed; the others: `mutmut results` in {folder}", flush=True)
    share = wilson_interval(noticed, len(drawn))
    row = {"room": room, "changes": len(made), "tried": len(drawn), "noticed": noticed, "share": round(share.value, 3)}
    bounds = {"low": round(share.low, 3), "high": round(share.high, 3)}  # of a sample; all changes have none
    return row | (bounds if len(drawn) < len(made) else {})


def main() -> None:
    """Score rooms; the table so far is written after each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rooms", nargs="+", choices=ROOMS, default=ROOMS)
    parser.add_argument("--sample", type=int, default=0, help="changes drawn at random per room; 0: all of them")
    parser.add_argument("--seed", type=int, default=0, help="which are drawn")
    parser.add_argument("--jobs", type=int, default=2, help="changes that are tried at a time")
    parser.add_argument("--output", type=Path, default=ROOT / "results" / "mutation.csv")
    args = parser.parse_args()
    rows = []
    for room in args.rooms:
        rows.append(score(room, args.jobs, args.sample, args.seed))
        pd.DataFrame(rows).to_csv(args.output, index=False)


if __name__ == "__main__":
    main()
