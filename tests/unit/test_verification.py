"""Verification of everything that is stored."""

from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import nn

from fewshot_diffusion.io import save_module, write_records, write_tensors
from fewshot_diffusion.verification import verify


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
