"""Run the whole smoke workflow in every way that must not matter, and compare one SHA-256 of all products.

    python tests/platform/determinism.py --output results/determinism.csv

The digest covers every file below results/ by name and content. Two things are left out or joined: measured seconds,
and the borders of sample shards, whose number is one of the ways.
"""

import argparse
import hashlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import yaml
from safetensors import safe_open
from safetensors.torch import save

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / "platform"), str(ROOT / "workflow" / "scripts")]

from fewshot_diffusion.storage.records import read_records  # noqa: E402 - the tests are no package
from fewshot_diffusion.storage.tables import write_csv  # noqa: E402
from robustness import copy_workflow  # noqa: E402
from warm import Warm  # noqa: E402

TARGETS = ("attributes", "masks", "classes")
SECONDS = ["seconds_per_sample", "seconds"]


@dataclass(frozen=True)
class Way:
    """A way to run the workflow: what is asked for in which commands, how it is shared out, and where."""

    name: str
    cores: int = 2
    shards: int = 1
    commands: tuple[tuple[str, ...], ...] = (TARGETS,)
    folder: str = "tree"
    start_in: str = "tree"
    variables: dict[str, str] = field(default_factory=dict)


WAYS = [
    Way("two cores, one shard"),
    Way("one core", cores=1),
    *(Way(f"{shards} shards", shards=shards) for shards in (2, 3, 5, 8)),
    Way("targets one by one, last first", commands=tuple((target,) for target in reversed(TARGETS))),
    Way("another folder, with a space", folder="an other tree", start_in="an other tree"),
    Way("started elsewhere", start_in="."),
    Way("LC_ALL=C", variables={"LC_ALL": "C"}),
    Way("TZ=Asia/Tokyo", variables={"TZ": "Asia/Tokyo"}),
    *(Way(f"PYTHONHASHSEED={seed}", variables={"PYTHONHASHSEED": seed}) for seed in ("0", "7")),
]


def overlay(shards: int) -> dict[str, object]:
    """Return a configuration with enough work units for eight shards."""
    return {
        "attributes": {"sets": {"units_per_target": 8, "shards_per_target": shards, "shards_unguided": shards}},
        "classes": {"sampling": {"shards": shards}},
    }


def run(way: Way, folder: Path) -> Path:
    """Run the workflow in a way, in a folder of its own; returns the tree.

    Raises:
        RuntimeError: If a command fails.
    """
    tree = folder / way.folder
    tree.mkdir(parents=True)
    copy_workflow(tree)
    (tree / "ways.yaml").write_text(yaml.safe_dump(overlay(way.shards)))
    before = dict(os.environ)
    os.environ.update(way.variables)
    runner = Warm(folder / "warm", way.variables)
    try:
        for targets in way.commands:
            log = folder / "log"
            where = ["--directory", str(tree), "--snakefile", str(tree / "Snakefile")] if way.start_in == "." else []
            words = ["--cores", str(way.cores), *targets, *where, "--configfile"]
            words += [str(tree / name) if where else name for name in ("config/smoke.yaml", "ways.yaml")]
            with log.open("w") as file:
                status = runner.start(folder / way.start_in, file.fileno(), words).status()
            if status != 0:
                raise RuntimeError(f"{way.name}: failed\n{log.read_text()[-4000:]}")
    finally:
        runner.close()
        os.environ.clear()
        os.environ.update(before)
    return tree


def products(tree: Path) -> Iterator[tuple[str, str]]:
    """Yield the name and the digest of every product; shards of one set are one product."""
    sets: dict[Path, list[Path]] = {}
    for path in sorted((tree / "results").rglob("*")):
        if not path.is_file() or path.name.endswith(".timing.json"):
            continue
        if "-of-" in path.name:
            sets.setdefault(path.parent, []).append(path)
        elif path.suffix == ".csv":
            frame = pd.read_csv(path, dtype=str, keep_default_na=False).drop(columns=SECONDS, errors="ignore")
            yield str(path.relative_to(tree)), hashlib.sha256(frame.to_csv(index=False).encode()).hexdigest()
        else:
            yield str(path.relative_to(tree)), hashlib.sha256(content(path)).hexdigest()
    for folder, shards in sets.items():
        yield str(folder.relative_to(tree)), joined_digest(shards)


def content(path: Path) -> bytes:
    """Return a file's bytes; of a description, all that it holds but the seconds that its samples took."""
    if "descriptions" not in path.parts:
        return path.read_bytes()
    with safe_open(path, "pt") as file:
        about = json.loads(file.metadata()["about"])
        about["cost"].pop("seconds_per_sample", None)
        del about["sha256"]  # of these seconds, too
        return save({name: file.get_tensor(name) for name in file.keys()}, {"about": json.dumps(about)})  # noqa: SIM118


def joined_digest(shards: list[Path]) -> str:
    """Return the digest of all records of a set, in order of seeds, and of what each shard says of itself."""
    read = [read_records(path, "seed") for path in shards]
    rows = pd.concat([frame for frame, _ in read]).sort_values("seed", ignore_index=True)
    cells = [[hashlib.sha256(repr(cell).encode()).hexdigest() for cell in row] for row in rows.to_numpy().tolist()]
    about = {str(sorted(about.items())) for _, about in read}
    return hashlib.sha256(str([cells, sorted(about)]).encode()).hexdigest()


def compare(ways: list[Way], output: Path | None = None) -> pd.DataFrame:
    """Run in every way; the table so far is written after each."""
    rows: list[dict[str, object]] = []
    first: dict[str, str] = {}
    for way in ways:
        started = time.monotonic()
        with tempfile.TemporaryDirectory() as name:
            found = dict(products(run(way, Path(name))))
        first = first or found
        different = sorted(name for name in first.keys() | found.keys() if first.get(name) != found.get(name))
        digest = hashlib.sha256(str(sorted(found.items())).encode()).hexdigest()
        row = {"way": way.name, "sha256": digest, "products": len(found), "equal": not different}
        rows.append(row)
        print(f"{way.name}: {digest}, {time.monotonic() - started:.0f} s {different}", flush=True)
        if output:
            write_csv(output, pd.DataFrame(rows))
    return pd.DataFrame(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ways", nargs="+", default=[way.name for way in WAYS], help="names of ways; the first leads")
    parser.add_argument("--output", type=Path, default=ROOT / "results" / "determinism.csv")
    args = parser.parse_args()
    table = compare([way for way in WAYS if way.name in args.ways], args.output)
    sys.exit(0 if table["equal"].all() else "error: products differ.")


if __name__ == "__main__":
    main()
