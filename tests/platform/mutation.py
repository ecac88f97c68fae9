"""Change the library in many small ways, one at a time, and say which changes no unit test notices.

    python tests/platform/mutation.py --rooms metrics --output results/mutation.csv

`mutmut` makes the changes and runs the tests that reach them, about one a second. It wants the package in a folder
`src`: a copy of the tree gets one. What survives is listed by `mutmut results` in the folder that is named.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("diffusion", "attributes", "masks", "classes", "metrics")
SETTINGS = """
[tool.pytest.ini_options]
pythonpath = ["src", "tests"]
addopts = ["--import-mode=importlib", "-p", "no:cacheprovider"]
markers = ["slow: left out"]

[tool.mutmut]
source_paths = ["src/fewshot_diffusion"]
only_mutate = ["src/fewshot_diffusion/{room}/*"]
also_copy = ["config", "tests", "workflow"]
pytest_add_cli_args = ["-m", "not slow"]
pytest_add_cli_args_test_selection = {tests}
process_isolation = "forkserver"
"""


def prepare(folder: Path, room: str) -> None:
    """Copy the library, its tests and its configurations to where mutmut takes them."""
    ignored = shutil.ignore_patterns("__pycache__", "platform", "workflow")
    shutil.copytree(ROOT / "workflow" / "scripts" / "fewshot_diffusion", folder / "src" / "fewshot_diffusion")
    shutil.copytree(ROOT / "workflow", folder / "workflow", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "tests", folder / "tests", ignore=ignored)
    shutil.copytree(ROOT / "config", folder / "config")
    tests = [
        f"tests/{kind}/{room}" for kind in ("unit", "property", "contract") if (ROOT / "tests" / kind / room).is_dir()
    ]
    (folder / "pyproject.toml").write_text(SETTINGS.format(room=room, tests=json.dumps(tests)))


def score(room: str, jobs: int) -> dict[str, object]:
    """Return how many changes of a room were made and how many were noticed."""
    folder = Path(tempfile.mkdtemp(prefix=f"mutation-{room}-"))
    prepare(folder, room)
    mutmut = [sys.executable, "-m", "mutmut"]
    with (folder / "log.txt").open("w") as log:
        for words in (["run", "--max-children", str(jobs)], ["export-cicd-stats"]):
            subprocess.run([*mutmut, *words], cwd=folder, check=True, stdout=log, stderr=log)
    found = json.loads((folder / "mutants" / "mutmut-cicd-stats.json").read_text())
    noticed = found["killed"] + found["timeout"] + found["suspicious"]
    made = noticed + found["survived"] + found["no_tests"]
    print(f"{room}: {noticed} of {made} noticed; the others: `mutmut results` in {folder}", flush=True)
    return {"room": room, "changes": made, "noticed": noticed, "share": round(noticed / max(made, 1), 3)}


def main() -> None:
    """Score rooms; the table so far is written after each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rooms", nargs="+", choices=ROOMS, default=ROOMS)
    parser.add_argument("--jobs", type=int, default=2, help="changes that are tried at a time")
    parser.add_argument("--output", type=Path, default=ROOT / "results" / "mutation.csv")
    args = parser.parse_args()
    rows = []
    for room in args.rooms:
        rows.append(score(room, args.jobs))
        pd.DataFrame(rows).to_csv(args.output, index=False)


if __name__ == "__main__":
    main()
