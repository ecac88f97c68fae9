"""Files: round trips, equal bytes in every process, damage is found, nothing half-written stays."""

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from fewshot_diffusion.errors import CorruptFileError, FewshotError, WeightsError
from fewshot_diffusion.storage.files import atomic_path, fingerprint, sha256, write_json, write_text
from fewshot_diffusion.storage.records import read_records, write_records
from fewshot_diffusion.storage.tables import write_csv
from fewshot_diffusion.storage.tensors import pixel_digest, read_tensors, write_tensors
from fewshot_diffusion.storage.weights import (
    WEIGHTS_FILE,
    WEIGHTS_FILES,
    install_weights,
    load_module,
    read_weights_provenance,
    save_module,
)

SCRIPTS = Path(__file__).resolve().parents[2] / "workflow" / "scripts"
PROVENANCE = {"code": "0123456789abcdef", "forwards_per_sample": 2.5, "nested": {"b": [1, 2], "a": None}}


def tensors(rows: int = 5) -> dict[str, Tensor]:
    stream = torch.Generator().manual_seed(rows)
    return {
        "images": torch.randint(256, (rows, 3, 4, 4), generator=stream, dtype=torch.uint8),
        "features": torch.randn(rows, 7, generator=stream),
        "ids": torch.arange(rows),
        "kept": torch.tensor([True, False] * rows),
        "empty": torch.empty(0, 3),
        "half": torch.randn(3, generator=stream).bfloat16(),
    }


def records(rows: int = 9) -> pd.DataFrame:
    values = torch.randn(rows, generator=torch.Generator().manual_seed(rows))
    return pd.DataFrame(
        {"id": range(rows), "log_prob": values.numpy(), "accepted": [i % 3 == 0 for i in range(rows)], "note": "é,\n"}
    )


def module(width: int = 3) -> nn.Linear:
    torch.manual_seed(width)
    return nn.Linear(width, 2)


def make_module(config: dict[str, int]) -> nn.Linear:
    return nn.Linear(config["width"], 2)


def files_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


# --- round trips ----------------------------------------------------------------------------------------------------


def test_tensors_come_back_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "a.safetensors"
    written = tensors()
    write_tensors(path, written, PROVENANCE)
    found, provenance = read_tensors(path)
    assert found.keys() == written.keys()
    for name, tensor in written.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor)
    assert {key: provenance[key] for key in PROVENANCE} == PROVENANCE
    assert files_below(tmp_path) == {"new/folder/a.safetensors"}


def test_tensors_need_not_be_contiguous(tmp_path: Path) -> None:
    tensor = torch.arange(12).reshape(3, 4).T
    write_tensors(tmp_path / "a.safetensors", {"t": tensor}, {})
    assert torch.equal(read_tensors(tmp_path / "a.safetensors")[0]["t"], tensor)


def test_records_come_back_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    write_records(path, records(), PROVENANCE)
    found, provenance = read_records(path)
    pd.testing.assert_frame_equal(found, records())
    assert {key: provenance[key] for key in PROVENANCE} == PROVENANCE
    assert files_below(tmp_path) == {"a.parquet"}


def test_module_comes_back_frozen(tmp_path: Path) -> None:
    save_module(module(), {"width": 3}, tmp_path / "w", {"role": "judge"})
    loaded = load_module(make_module, tmp_path / "w")
    assert torch.equal(loaded.weight, module().weight)
    assert not loaded.training
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    assert read_weights_provenance(tmp_path / "w")["role"] == "judge"
    assert files_below(tmp_path / "w") == set(WEIGHTS_FILES)


def test_csv_has_six_digits_and_plain_line_ends(tmp_path: Path) -> None:
    write_csv(tmp_path / "t.csv", pd.DataFrame({"x": [1 / 3, float("nan")], "y": ["a,b", "é"]}))
    digest = "000010d3a6e6ab31"
    expected = f'x,y,digest\n0.333333,"a,b",{digest}\n,é,{digest}\n'
    assert (tmp_path / "t.csv").read_bytes() == expected.encode()


def test_json_is_sorted(tmp_path: Path) -> None:
    write_json(tmp_path / "t.json", {"b": 1, "a": [None]})
    assert list(json.loads((tmp_path / "t.json").read_text())) == ["a", "b"]


def test_fingerprint_sees_every_part_and_no_key_order() -> None:
    assert fingerprint({"a": 1, "b": 2}, 3) == fingerprint({"b": 2, "a": 1}, 3)
    assert len({fingerprint({"a": 1}, 3), fingerprint({"a": 2}, 3), fingerprint({"a": 1}, 4), fingerprint(3)}) == 4


WRITE_ALL = """
import sys
from pathlib import Path
import pandas as pd, torch
from fewshot_diffusion.storage.tables import write_csv
from fewshot_diffusion.io import save_module, write_json, write_records, write_tensors
out = Path(sys.argv[1])
names = sorted(f"t{i}" for i in range(20))
provenance = {name: {"x": i} for i, name in enumerate(set(names))}
provenance = {name: len(name) for name in provenance}
write_tensors(out / "a.safetensors", {n: torch.arange(i + 1) for i, n in enumerate(names)}, provenance)
frame = pd.DataFrame({"id": range(50), "p": [1 / (i + 1) for i in range(50)], "s": "x", "b": True})
write_records(out / "a.parquet", frame, provenance)
write_csv(out / "a.csv", frame)
write_json(out / "a.json", provenance)
torch.manual_seed(0)
save_module(torch.nn.Sequential(*[torch.nn.Linear(2, 2) for _ in range(8)]), provenance, out / "w", provenance)
"""


def test_two_processes_write_the_same_bytes(tmp_path: Path) -> None:
    for seed in ("1", "4242"):
        environment = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(SCRIPTS), "OMP_NUM_THREADS": "1"}
        subprocess.run([sys.executable, "-c", WRITE_ALL, str(tmp_path / seed)], env=environment, check=True)
    names = files_below(tmp_path / "1")
    assert names == files_below(tmp_path / "4242")
    assert len(names) == 4 + len(WEIGHTS_FILES)
    for name in sorted(names):
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "4242" / name).read_bytes(), name


# --- atomic writes --------------------------------------------------------------------------------------------------


def test_an_exception_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(RuntimeError), atomic_path(path) as temporary:
        temporary.write_text("half of the n")
        assert temporary.parent == path.parent  # a rename across file systems is not atomic
        assert temporary != path
        raise RuntimeError
    assert path.read_text() == "old"
    assert files_below(tmp_path) == {"a.txt"}


def test_an_interrupt_before_the_first_version_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), atomic_path(tmp_path / "a.txt") as temporary:
        temporary.write_text("x")
        raise KeyboardInterrupt
    assert files_below(tmp_path) == set()


def test_a_failing_writer_keeps_the_old_tensors(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    write_tensors(path, tensors(), PROVENANCE)
    before = sha256(path)
    with pytest.raises(TypeError):
        write_tensors(path, tensors(2), {"unwritable": object()})
    assert sha256(path) == before
    assert files_below(tmp_path) == {"a.safetensors"}


def test_others_may_read_what_is_written(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "x")
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == 0o644


# --- damage ---------------------------------------------------------------------------------------------------------


def flipped(data: bytes, choose: random.Random) -> bytes:
    """Flip one bit anywhere."""
    position = choose.randrange(len(data))
    return data[:position] + bytes([data[position] ^ (1 << choose.randrange(8))]) + data[position + 1 :]


def truncated(data: bytes, choose: random.Random) -> bytes:
    return data[: choose.randrange(1, len(data))]


def zeroed(data: bytes, choose: random.Random) -> bytes:
    """Lose a block, as a disk does."""
    size = min(64, len(data) // 4)
    start = choose.randrange(len(data) - size)
    return data[:start] + bytes(size) + data[start + size :]


def emptied(data: bytes, choose: random.Random) -> bytes:
    return b""


Mutation = Callable[[bytes, random.Random], bytes]
MUTATIONS: list[tuple[int, Mutation]] = [
    *[(seed, flipped) for seed in range(60)],
    *[(seed, truncated) for seed in range(12)],
    *[(seed, zeroed) for seed in range(8)],
    (0, emptied),
]


def survivors(path: Path, read: Callable[[], object], same: Callable[[object], bool]) -> int:
    """Mutate a file in every way; return how many mutations were not refused.

    A mutation that is not refused must not change what a reader gets.
    """
    data, accepted = path.read_bytes(), 0
    for seed, mutate in MUTATIONS:
        mutated = mutate(data, random.Random(f"{path.name} {mutate.__name__} {seed}"))
        if mutated == data:
            continue
        path.write_bytes(mutated)
        try:
            found = read()
        except (CorruptFileError, WeightsError) as error:
            assert str(path) in str(error) or str(path.parent) in str(error), error
        else:
            assert same(found), f"{mutate.__name__} {seed}: altered content was accepted"
            accepted += 1
    path.write_bytes(data)
    assert same(read())
    return accepted


def test_damaged_tensors_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    write_tensors(path, tensors(), PROVENANCE)
    expected, expected_provenance = read_tensors(path)

    def same(found: object) -> bool:
        read, provenance = found  # type: ignore[misc]
        equal = read.keys() == expected.keys() and all(torch.equal(read[name], expected[name]) for name in expected)
        return bool(equal) and provenance == expected_provenance

    assert survivors(path, lambda: read_tensors(path), same) <= 2  # a bit of the header's padding


def test_damaged_records_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    write_records(path, records(), PROVENANCE)
    expected, expected_provenance = read_records(path)

    def same(found: object) -> bool:
        frame, provenance = found  # type: ignore[misc]
        return bool(frame.equals(expected)) and provenance == expected_provenance

    assert survivors(path, lambda: read_records(path), same) == 0


@pytest.mark.parametrize("file", [WEIGHTS_FILE, "config.json"])
def test_damaged_weights_are_refused(tmp_path: Path, file: str) -> None:
    save_module(module(), {"width": 3}, tmp_path / "w", {"role": "judge"})
    state = module().state_dict()

    def same(found: object) -> bool:
        return all(torch.equal(found.state_dict()[name], state[name]) for name in state)  # type: ignore[attr-defined]

    assert survivors(tmp_path / "w" / file, lambda: load_module(make_module, tmp_path / "w"), same) == 0


def test_every_truncation_of_small_tensors_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    write_tensors(path, {"t": torch.arange(3)}, {})
    data = path.read_bytes()
    for length in range(len(data)):
        path.write_bytes(data[:length])
        with pytest.raises(CorruptFileError, match=r"a\.safetensors"):
            read_tensors(path)


def test_a_swapped_weights_file_is_refused(tmp_path: Path) -> None:
    for width in (3, 4):
        save_module(module(width), {"width": width}, tmp_path / str(width), {})
    (tmp_path / "4" / WEIGHTS_FILE).replace(tmp_path / "3" / WEIGHTS_FILE)
    with pytest.raises(CorruptFileError, match="SHA-256") as caught:
        load_module(make_module, tmp_path / "3")
    assert str(tmp_path / "3" / WEIGHTS_FILE) in str(caught.value)


def test_weights_of_another_shape_with_a_matching_digest_are_refused(tmp_path: Path) -> None:
    save_module(module(4), {"width": 3}, tmp_path / "w", {})
    with pytest.raises(WeightsError, match="do not fit") as caught:
        load_module(make_module, tmp_path / "w")
    assert str(tmp_path / "w") in str(caught.value)


def test_swapped_kinds_of_file_are_refused(tmp_path: Path) -> None:
    write_tensors(tmp_path / "a.safetensors", tensors(), {})
    write_records(tmp_path / "a.parquet", records(), {})
    (tmp_path / "a.safetensors").rename(tmp_path / "b.parquet")
    (tmp_path / "a.parquet").rename(tmp_path / "b.safetensors")
    with pytest.raises(CorruptFileError, match=r"b\.safetensors"):
        read_tensors(tmp_path / "b.safetensors")
    with pytest.raises(CorruptFileError, match=r"b\.parquet"):
        read_records(tmp_path / "b.parquet")


@pytest.mark.parametrize("missing", WEIGHTS_FILES)
def test_missing_files_are_named_with_the_way_out(tmp_path: Path, missing: str) -> None:
    save_module(module(), {"width": 3}, tmp_path, {})
    (tmp_path / missing).unlink()
    with pytest.raises(WeightsError, match="make restore") as caught:
        load_module(make_module, tmp_path)
    assert missing in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"sha256": 3}', '"x"', "\udcff"])
def test_a_broken_provenance_record_is_refused(tmp_path: Path, text: str) -> None:
    save_module(module(), {"width": 3}, tmp_path, {})
    (tmp_path / "provenance.json").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(FewshotError, match=r"provenance\.json"):
        load_module(make_module, tmp_path)


@pytest.mark.parametrize("read", [read_tensors, read_records])
def test_a_missing_file_is_named(tmp_path: Path, read: Callable[[Path], object]) -> None:
    with pytest.raises(CorruptFileError, match="nothing, expected a file"):
        read(tmp_path / "absent.safetensors")


def test_a_foreign_tensor_file_is_refused(tmp_path: Path) -> None:
    import safetensors.torch

    safetensors.torch.save_file({"t": torch.ones(2)}, tmp_path / "foreign.safetensors")
    with pytest.raises(CorruptFileError, match=r"foreign\.safetensors"):
        read_tensors(tmp_path / "foreign.safetensors")


def test_installed_weights_must_be_of_the_configured_data(tmp_path: Path) -> None:
    save_module(nn.Linear(2, 2), {}, tmp_path / "shipped", {"classes": ["a", "b"]})
    install_weights(tmp_path / "shipped", tmp_path / "installed", {"classes": ["a", "b"]})
    assert read_weights_provenance(tmp_path / "installed")["classes"] == ["a", "b"]
    with pytest.raises(WeightsError, match=r"classes is \['a', 'b'\], but the configured data have \['a', 'c'\]"):
        install_weights(tmp_path / "shipped", tmp_path / "other", {"classes": ["a", "c"]})
    assert not (tmp_path / "other").exists()


def test_a_pixel_digest_is_of_values_and_their_order() -> None:
    images = torch.arange(24, dtype=torch.uint8).view(2, 3, 2, 2)
    assert pixel_digest(images) == pixel_digest(images.clone())
    assert pixel_digest(images) != pixel_digest(images.flip(0))
    assert pixel_digest(images, torch.tensor([0, 1])) != pixel_digest(images, torch.tensor([1, 0]))
