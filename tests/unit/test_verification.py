"""Verification of everything that is stored."""

import errno
import hashlib
import json
import os
import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import nn

from fewshot_diffusion.diffusion.sampling import WorkUnit, finish_unit
from fewshot_diffusion.storage.files import write_sealed_json
from fewshot_diffusion.storage.records import write_records
from fewshot_diffusion.storage.tables import write_csv
from fewshot_diffusion.storage.tensors import write_tensors
from fewshot_diffusion.storage.weights import save_module
from fewshot_diffusion.tooling.records import METADATA, file_sha256, record_path
from fewshot_diffusion.tooling.verification import missing_products, verify, verify_inputs, verify_remote, verify_stored

UNREADABLE = Path("/proc/self/mem")  # reading its first byte is an error of input and output


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    write_tensors(tmp_path / "a" / "samples.safetensors", {"x": torch.arange(64)}, {})
    write_records(tmp_path / "a" / "records.parquet", pd.DataFrame({"id": range(50)}), {})
    save_module(nn.Linear(4, 4), {}, tmp_path / "b" / "weights", {})
    write_sealed_json(tmp_path / "a" / "samples.timing.json", {"seconds": 1.5, "samples": 64})
    write_sealed_json(tmp_path / "cell" / "seed-0.json", {"top1": 0.625})
    (tmp_path / "a" / ".half-written.safetensors").write_bytes(b"x")
    draw_unit(tmp_path / "0123", first_seed=0)
    return tmp_path


def draw_unit(checkpoints: Path, first_seed: int) -> Path:
    seeds = range(first_seed, first_seed + 8)
    images = torch.linspace(-1, 1, 8 * 48).reshape(8, 3, 4, 4)
    finish_unit(WorkUnit(0, seeds), lambda: images, checkpoints, checkpoints.name)
    return checkpoints / f"unit-{first_seed:08d}.safetensors"


def exchange(one: Path, other: Path) -> None:
    content = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(content)


def names(problems: list[str]) -> list[str]:
    return sorted(problem.partition(": ")[0] for problem in problems)


def test_what_was_written_is_found_and_matches(stored: Path) -> None:
    assert verify([stored]) == (9, [])


@pytest.mark.parametrize(
    "name",
    [
        "a/samples.safetensors",
        "a/records.parquet",
        "b/weights/diffusion_pytorch_model.safetensors",
        "b/weights/config.json",
        "a/samples.timing.json",
        "cell/seed-0.json",
        "0123/unit-00000000.json",
        "0123/unit-00000000.safetensors",
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


@pytest.mark.skipif(not UNREADABLE.exists(), reason="needs Linux")
@pytest.mark.parametrize(
    "name",
    [
        "a/samples.safetensors",
        "a/records.parquet",
        "a/samples.timing.json",
        "b/weights/config.json",
        "b/weights/diffusion_pytorch_model.safetensors",
        "b/weights/provenance.json",
    ],
)
def test_a_file_that_cannot_be_read_is_named_and_the_others_are_still_read(stored: Path, name: str) -> None:
    (stored / name).unlink()
    (stored / name).symlink_to(UNREADABLE)
    (stored / "cell" / "seed-0.json").write_text("{}")
    number, problems = verify([stored])
    assert number == 9
    assert names(problems) == sorted([str(stored / name), str(stored / "cell" / "seed-0.json")])
    assert any("cannot be read (Input/output error)" in problem for problem in problems)


def test_a_folder_that_cannot_be_listed_is_named(stored: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = os.scandir

    def scandir(path: str) -> "os.ScandirIterator[str]":
        if Path(path).name == "a":
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)
        return listed(path)

    monkeypatch.setattr(os, "scandir", scandir)
    number, problems = verify([stored, stored / "absent"])
    assert (number, names(problems)) == (6, [str(stored / "a")])


# --- work units -----------------------------------------------------------------------------------------------------


def test_exchanged_work_units_are_named(tmp_path: Path) -> None:
    units = [draw_unit(tmp_path / "0123", first_seed) for first_seed in (0, 8, 1_000_000)]
    assert verify([tmp_path]) == (6, [])
    exchange(units[0], units[2])
    _, problems = verify([tmp_path])
    assert names(problems) == [str(units[0]), str(units[2])]
    assert "holds the samples from seed 1000000" in problems[0]


def test_a_work_unit_of_another_sampling_is_named(tmp_path: Path) -> None:
    units = [draw_unit(tmp_path / identity, 0) for identity in ("0123", "4567")]
    exchange(*units)
    _, problems = verify([tmp_path])
    assert names(problems) == list(map(str, units))
    assert "computation 4567" in problems[0]


def test_a_state_of_another_training_is_named(tmp_path: Path) -> None:
    for identity in ("0123", "4567"):
        write_tensors(tmp_path / "0123" / "state.safetensors", {"x": torch.ones(2)}, {"identity": identity})
        number, problems = verify([tmp_path])
        assert (number, len(problems)) == (1, int(identity != "0123"))


# --- what jobs read -------------------------------------------------------------------------------------------------


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Two sample sets and two tables that were made from them by jobs of this machine."""
    monkeypatch.chdir(tmp_path)
    inputs = [Path("results/Blond.safetensors"), Path("results/Beard.safetensors")]
    for number, path in enumerate(inputs):
        write_tensors(path, {"x": torch.full((4,), number)}, {})
        product = path.with_suffix(".csv")
        write_csv(product, pd.DataFrame({"n": [number]}))
        record_inputs(product, path)
    return inputs


def record_inputs(product: Path, *inputs: Path, incomplete: bool = False) -> None:
    METADATA.mkdir(parents=True, exist_ok=True)
    checksums = {str(path): f"sha256:{file_sha256(path)}" for path in inputs}
    record = {"starttime": 1.5, "incomplete": incomplete, "input_checksums": checksums}
    path = record_path(str(product), METADATA)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record))


def test_exchanged_inputs_are_named(made: list[Path]) -> None:
    assert verify_inputs() == (2, [])
    before = file_sha256(made[0])
    exchange(*made)
    assert verify([Path("results")]) == (4, []), "each is whole"
    number, problems = verify_inputs()
    assert (number, names(problems)) == (2, sorted(map(str, made)))
    [problem] = [problem for problem in problems if problem.startswith(f"{made[0]}: ")]
    assert f"but results/Blond.csv was made from {before}" in problem
    assert "`snakemake results/Blond.csv`" in problem


def test_an_input_of_many_products_gives_one_message(made: list[Path]) -> None:
    for name in ("a", "b" * 200):  # a long name's record lies in a folder
        product = Path("results", name, name)
        product.parent.mkdir()
        product.touch()
        record_inputs(product, *made)
    made[1].write_bytes(made[0].read_bytes())
    [problem] = verify_inputs()[1]
    assert problem.startswith("results/Beard.safetensors: ")
    assert "(and 2 more)" in problem


def test_an_input_that_cannot_be_read_is_named(made: list[Path]) -> None:
    made[0].unlink()
    made[0].symlink_to(UNREADABLE)
    [problem] = verify_inputs()[1]
    assert problem.startswith(f"{made[0]}: has SHA-256 unknown (Input/output error)")


def test_what_is_gone_is_compared_with_nothing(made: list[Path]) -> None:
    exchange(*made)
    made[0].unlink()
    assert len(verify_inputs()[1]) == 1
    made[1].with_suffix(".csv").unlink()
    assert verify_inputs() == (0, [])


def test_records_that_are_incomplete_or_damaged_are_passed_over(made: list[Path]) -> None:
    record_inputs(made[0].with_suffix(".csv"), made[0], incomplete=True)
    record_path(str(made[1].with_suffix(".csv")), METADATA).write_text("{")
    (METADATA / "no record").touch()
    exchange(*made)
    assert verify_inputs() == (0, [])


def test_before_snakemake_has_adopted_them_the_stored_records_count(made: list[Path]) -> None:
    entries = {
        str(path.with_suffix(".csv")): {
            "sha256": file_sha256(path.with_suffix(".csv")),
            "record": json.loads(record_path(str(path.with_suffix(".csv")), METADATA).read_text()),
        }
        for path in made
    }
    Path("results/stored.json").write_text(json.dumps(entries))
    shutil.rmtree(METADATA)
    assert verify_inputs() == (2, [])
    exchange(*made)
    assert names(verify_inputs()[1]) == sorted(map(str, made))


# --- restored products ----------------------------------------------------------------------------------------------


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


@pytest.mark.parametrize("product", ["results/table.csv", "results/stored.json"])
def test_a_restored_product_that_cannot_be_read_is_named(restored: Path, product: str) -> None:
    Path(product).unlink()
    Path(product).symlink_to(UNREADABLE)
    [problem] = verify_stored()[1]
    assert problem.startswith(f"{product}: ")
    assert "Input/output error" in problem


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
