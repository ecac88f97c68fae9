"""Which experiment was run on which data set: the README's table, read off the committed tables."""

from pathlib import Path

import pandas as pd
import yaml

from ..config.runs import load_runs, merged
from ..storage.tables import read_source_csv
from .readme import to_markdown

EXPERIMENTS = ("attributes", "masks", "classes")
PASSING = ("*-demo", "smoke*")  # runs that .gitignore leaves out, as `make demo` and tests make them


def data_sets(results: Path, config: Path, paper: Path) -> str:
    """Return a row per data set that has tables, and per run of the paper's size.

    Args:
        results: Folder that holds the data sets' tables.
        config: Folder of the configuration.
        paper: The overlay that names the paper's runs.
    """
    kept = [path for path in results.glob("*/tables") if not any(path.parent.match(name) for name in PASSING)]
    rows = {folder.parent.name: _measured(folder) for folder in sorted(kept)}
    rows |= {name: row for name, row in _planned(config, paper).items() if name not in rows}
    frame = pd.DataFrame.from_dict(rows, orient="index", columns=[*EXPERIMENTS, "rows are"]).fillna("")
    return to_markdown(frame[frame["rows are"] != ""].rename_axis("data set"))


def _measured(tables: Path) -> list[str]:
    found = {name: _ours(tables / f"{name}.csv") for name in EXPERIMENTS if (tables / f"{name}.csv").is_file()}
    kinds = {kind for rows in found.values() if "kind" in rows for kind in rows["kind"]} or {"scaled-down"}
    return [*(_numbers(found.get(name)) for name in EXPERIMENTS), ", ".join(sorted(kinds)) if found else ""]


def _ours(table: Path) -> pd.DataFrame:
    rows = read_source_csv(table)
    return rows[rows["kind"] != "published"] if "kind" in rows else rows


def _numbers(rows: pd.DataFrame | None) -> str:
    if rows is None:
        return ""
    numbers = sorted({int(number) for number in rows.get("n", rows.get("n_test", pd.Series(dtype=int)))})
    return f"n = {numbers[0]}" if len(numbers) == 1 else f"n = {numbers[0]} to {numbers[-1]}"


def _planned(config: Path, paper: Path) -> dict[str, list[str]]:
    raw: dict[str, object] = {}
    for file in (config / "config.yaml", config / "artefacts.yaml", paper):
        raw = merged(raw, yaml.safe_load(file.read_text(encoding="utf-8")))
    runs = load_runs(raw, config.parent)[1]
    return {
        str(run["data"]["name"]): [*("planned" if run[name] else "" for name in EXPERIMENTS), "never run"]
        for run in runs.values()
    }
