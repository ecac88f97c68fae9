"""Notebooks run as they stand, and are stored as they ran."""

import json
from pathlib import Path
from typing import Any

import pytest

from support import ROOT

NOTEBOOKS = sorted((ROOT / "docs/notebooks").glob("*.ipynb"))
WEIGHTS = ROOT / "results/avatars64/denoiser/diffusion_pytorch_model.safetensors"


def cells(path: Path) -> list[dict[str, Any]]:
    return [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_small_and_was_run_in_order(path: Path) -> None:
    assert path.stat().st_size < 300_000
    assert [cell["execution_count"] for cell in cells(path)] == list(range(1, len(cells(path)) + 1))
    found = [output for cell in cells(path) for output in cell["outputs"]]
    assert {output["output_type"] for output in found} <= {"stream", "execute_result", "display_data"}
    assert sum("image/png" in output.get("data", {}) for output in found) >= 1
    assert len("".join(cells(path)[2]["source"]).splitlines()) <= 10, "from a folder to a sheet in ten lines"


@pytest.mark.slow
@pytest.mark.skipif(not WEIGHTS.is_file(), reason="needs the shipped denoiser: make restore")
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_its_cells_run(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    names: dict[str, Any] = {}
    for cell in cells(path):
        exec("".join(cell["source"]), names)
    assert names["head"].report["cross_validation"]["accuracy"] > 0.75
    assert "own: 100 images" in names["done"].stdout + names["done"].stderr
