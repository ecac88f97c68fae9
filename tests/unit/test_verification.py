"""Verification of everything that is stored."""

import hashlib
import json
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import nn

from fewshot_diffusion.io import save_module, write_records, write_tensors
from fewshot_diffusion.records import METADATA, file_sha256, record_path
from fewshot_diffusion.verification import missing_products, verify, verify_remote, verify_stored


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    write_tensors(tmp_path / "a" / "samples.safetensors", {"x": torch.arange(64)}, {})
    write_records(tmp_path / "a" / "records.parquet", pd.DataFrame({"id": range(50)}), {})
    save_module(nn.Linear(4, 4), {}, tmp_path / "b" / "weights", {})
    (tmp_path / "a" / ".half-written.safetensors").write_bytes(b"x")
    return tmp_path


def test_what_was_written_is_found_and_matches(stored: Path) -> None:
    assert verify([stored]) == (4, [])


@pytest.mark.parametrize(
    "name",
    [
        "a/samples.safetensors",
        "a/records.parquet",
        "b/weights/diffusion_pytorch_model.safetensors",
        "b/weights/config.json",
    ],
)
@pytest.mark.parametrize("damage", ["flip", "cut", "empty"])
def test_damage_is_named(stored: Path, name: str, damage: str) -> None:
    path = stored / name
    content = bytearray(path.read_bytes())
    if damage == "flip":
        content[min(40, len(content) // 2)] ^= 1
    path.write_bytes({"flip": content, "cut": content[:-3], "empty": b""}[damage])
    _, problems = verify([stored])
    assert problems
    assert all(path.parent.name in problem for problem in problems)


def test_a_weights_folder_without_its_weights(stored: Path) -> None:
    (stored / "b/weights/diffusion_pytorch_model.safetensors").unlink()
    _, problems = verify([stored])
    assert "diffusion_pytorch_model.safetensors is missing" in problems[0]


@pytest.fixture
def restored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A restored table with its digest; one more product that is not here; one that is left out."""
    monkeypatch.chdir(tmp_path)
    table = Path("results/table.csv")
    table.parent.mkdir()
    table.write_text("a,b\n")
    entries = {
        str(table): {"sha256": file_sha256(table), "record": {}},
        "results/absent.csv": {"sha256": "0" * 64, "record": {}},
        "results/left_out": {"sha256": None, "record": {}},
    }
    Path("results/stored.json").write_text(json.dumps(entries))
    return table


def test_a_restored_product_is_compared_with_its_digest(restored: Path) -> None:
    assert verify_stored() == (1, [])
    restored.write_text("a,c\n")
    number, [problem] = verify_stored()
    assert number == 1
    assert problem.startswith("results/table.csv: has SHA-256 ")


def test_what_is_not_here_is_told(restored: Path) -> None:
    assert missing_products() == ["results/absent.csv"]


@pytest.mark.parametrize(("started", "compared"), [(0.0, 1), (1.5, 0)])
def test_a_product_made_anew_is_not(restored: Path, started: float, compared: int) -> None:
    METADATA.mkdir(parents=True)
    record_path(str(restored), METADATA).write_text(json.dumps({"starttime": started}))
    restored.write_text("a,c\n")
    number, problems = verify_stored()
    assert (number, len(problems)) == (compared, compared)


def test_a_damaged_file_of_digests_is_named(restored: Path) -> None:
    Path("results/stored.json").write_text("{")
    assert "results/stored.json" in verify_stored()[1][0]


def test_content_in_the_remote_agrees_with_its_name(tmp_path: Path) -> None:
    name = hashlib.md5(b"content", usedforsecurity=False).hexdigest()
    path = tmp_path / "files" / "md5" / name[:2] / name[2:]
    path.parent.mkdir(parents=True)
    path.write_bytes(b"content")
    assert verify_remote(tmp_path) == (1, [])
    path.write_bytes(b"c0ntent")
    assert str(path) in verify_remote(tmp_path)[1][0]
