"""Files: round trips, equal bytes in every process, damage and exchange refused, nothing half-written stays."""

import json
import os
import random
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from pyarrow import parquet
from torch import Tensor, nn

from fewshot_diffusion.errors import CorruptFileError, FewshotError, WeightsError
from fewshot_diffusion.storage.files import (
    atomic_path,
    fingerprint,
    read_json,
    require_sisters,
    sha256,
    write_json,
    write_text,
)
from fewshot_diffusion.storage.records import read_records, write_records
from fewshot_diffusion.storage.tensors import pixel_digest, read_tensors, tensor_digest, write_tensors
from fewshot_diffusion.storage.weights import (
    WEIGHTS_FILE,
    WEIGHTS_FILES,
    load_module,
    read_config,
    save_module,
    weights_digest,
)

ABOUT = {"attribute": "Blond", "forwards_per_sample": 2.5, "nested": {"b": [1, 2], "a": None}}


def tensors(variant: int = 0) -> dict[str, Tensor]:
    stream = torch.Generator().manual_seed(variant)
    return {
        "images": torch.randint(256, (2, 3, 4, 4), generator=stream, dtype=torch.uint8),
        "features": torch.randn(3, 2, generator=stream),
        "transposed": torch.arange(6).reshape(2, 3).T,
        "kept": torch.tensor([True, False]),
        "empty": torch.empty(0, 3),
        "half": torch.randn(3, generator=stream).bfloat16(),
        "scalar": torch.tensor(2.0),
    }


def records(variant: int = 0, rows: int = 6) -> pd.DataFrame:
    values = torch.randn(rows, generator=torch.Generator().manual_seed(variant)).numpy()
    frame = pd.DataFrame({"id": np.arange(rows) + variant, "log_prob": values, "accepted": values > 0})
    frame["count"] = np.arange(rows).astype("uint8")
    frame["note"] = pd.Series([f"é,\n{i}" for i in range(rows)], dtype="str")
    frame["image"] = pd.Series([bytes([i] * i) for i in range(rows)], dtype=object)
    return frame


class Network(nn.Module):
    """Weights of every kind: floating point, and integer buffers."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, 2)
        self.norm = nn.BatchNorm1d(2)
        self.norm.num_batches_tracked.fill_(2**24 + 1)  # beyond what float32 counts


def network(width: int = 3) -> Network:
    torch.manual_seed(width)
    return Network(width)


def write_weights(folder: Path, variant: int = 0) -> None:
    save_module(network(3 + variant), {"width": 3 + variant}, folder, ABOUT | {"role": f"judge {variant}"})


def load(folder: Path, **expected: object) -> tuple[Network, dict[str, Any]]:
    return load_module(lambda config: Network(**config), folder, expected or None)


# --- round trips ----------------------------------------------------------------------------------------------------


def test_tensors_come_back_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "a.safetensors"
    write_tensors(path, tensors(), ABOUT)
    found, about = read_tensors(path, "images", "empty")
    assert about == ABOUT
    assert found.keys() == tensors().keys()
    for name, tensor in tensors().items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor)
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == [path]


@pytest.mark.parametrize("rows", [6, 1, 0])
def test_records_come_back_as_they_were(tmp_path: Path, rows: int) -> None:
    write_records(tmp_path / "a.parquet", records(rows=rows), ABOUT)
    found, about = read_records(tmp_path / "a.parquet", "id", "note")
    assert about == ABOUT
    pd.testing.assert_frame_equal(found, records(rows=rows))


def test_missing_values_of_records_come_back(tmp_path: Path) -> None:
    frame = pd.DataFrame({"score": [1.5, float("nan")], "note": ["a", None], "kept": [None, True]})
    write_records(tmp_path / "a.parquet", frame, {})
    pd.testing.assert_frame_equal(read_records(tmp_path / "a.parquet")[0], frame)


def test_the_bytes_of_records_hold_neither_their_index_nor_pandas(tmp_path: Path) -> None:
    write_records(tmp_path / "a.parquet", records(), ABOUT)
    write_records(tmp_path / "b.parquet", records().set_index(pd.Index(range(50, 56), name="x")), ABOUT)
    data = (tmp_path / "a.parquet").read_bytes()
    assert data == (tmp_path / "b.parquet").read_bytes()
    assert b"pandas" not in data


def test_a_module_comes_back_frozen_and_in_full_precision(tmp_path: Path) -> None:
    write_weights(tmp_path)
    loaded, about = load(tmp_path)
    assert about == ABOUT | {"role": "judge 0"}
    assert not loaded.training
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    for name, tensor in network().state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name
    assert {path.name for path in tmp_path.iterdir()} == set(WEIGHTS_FILES)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_weights_stored_in_half_precision_come_back_in_full(tmp_path: Path, kind: torch.dtype) -> None:
    save_module(network().to(kind), {"width": 3}, tmp_path, {})
    loaded = load(tmp_path)[0]
    assert {tensor.dtype for tensor in loaded.state_dict().values()} == {torch.float32, torch.int64}
    assert torch.equal(loaded.linear.weight, network().linear.weight.to(kind).float())
    assert int(loaded.norm.num_batches_tracked) == 2**24 + 1


def test_json_is_sorted_and_comes_back(tmp_path: Path) -> None:
    write_json(tmp_path / "t.json", {"b": 1, "a": [None]})
    assert list(json.loads((tmp_path / "t.json").read_text())) == ["a", "b"]
    assert read_json(tmp_path / "t.json") == {"a": [None], "b": 1}


def test_the_order_in_which_a_process_names_things_changes_no_byte(tmp_path: Path) -> None:
    """A set's order is the process's own."""
    for name, backwards in (("here", False), ("there", True)):
        about = dict(sorted(ABOUT.items(), reverse=backwards))
        write_tensors(tmp_path / name / "t", dict(sorted(tensors().items(), reverse=backwards)), about)
        write_records(tmp_path / name / "r", records(), about)
        write_json(tmp_path / name / "j", about)
        save_module(network(), about, tmp_path / name / "w", about)
    files = [path.relative_to(tmp_path / "here") for path in (tmp_path / "here").rglob("*") if path.is_file()]
    assert len(files) == 3 + len(WEIGHTS_FILES)
    for file in files:
        assert (tmp_path / "here" / file).read_bytes() == (tmp_path / "there" / file).read_bytes(), file


# --- atomic writes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("before", ["old", None])
def test_an_exception_leaves_what_was_there(tmp_path: Path, error: type[BaseException], before: str | None) -> None:
    path = tmp_path / "a.txt"
    if before:
        write_text(path, before)

    def interrupted() -> None:
        with atomic_path(path) as temporary:
            assert temporary.parent == path.parent  # a rename across file systems is not atomic
            temporary.write_text("half of the n")
            raise error

    with pytest.raises(error):
        interrupted()
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == ({"a.txt": before} if before else {})


@pytest.mark.parametrize(("write", "content"), [(write_tensors, tensors()), (write_records, records())])
def test_a_failing_writer_keeps_the_old_file(tmp_path: Path, write: Callable[..., None], content: object) -> None:
    write(tmp_path / "a", content, ABOUT)
    before = sha256(tmp_path / "a")
    with pytest.raises(TypeError):
        write(tmp_path / "a", content, {"unwritable": object()})
    assert [(path.name, sha256(path)) for path in tmp_path.iterdir()] == [("a", before)]


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
@pytest.mark.parametrize(
    ("write", "content"),
    [(write_text, ("x",)), (write_tensors, (tensors(), ABOUT)), (write_records, (records(), ABOUT))],
)
def test_the_umask_says_who_may_read_what_is_written(
    tmp_path: Path, write: Callable[..., None], content: tuple[object, ...], umask: int
) -> None:
    before = os.umask(umask)
    try:
        write(tmp_path / "a", *content)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o666 & ~umask


# --- damage ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Format:
    """Writes a file into a folder, names it, and reads it as something that can be compared."""

    write: Callable[[Path, int], None]
    file: str
    read: Callable[[Path], object]


def read_back_tensors(path: Path) -> object:
    found, about = read_tensors(path)
    return {name: (tensor.dtype, tensor.tolist()) for name, tensor in found.items()}, about


def read_back_records(path: Path) -> object:
    frame, about = read_records(path)
    return frame.to_dict("list"), frame.dtypes.astype(str).to_dict(), about


def read_back_weights(folder: Path) -> object:
    module, about = load(folder)
    return {name: tensor.tolist() for name, tensor in module.state_dict().items()}, about


FORMATS = {
    "tensors": Format(
        lambda folder, v: write_tensors(folder / "a.safetensors", tensors(v), ABOUT | {"v": v}),
        "a.safetensors", lambda folder: read_back_tensors(folder / "a.safetensors"),
    ),
    "records": Format(
        lambda folder, v: write_records(folder / "a.parquet", records(v), ABOUT | {"v": v}),
        "a.parquet", lambda folder: read_back_records(folder / "a.parquet"),
    ),
    "weights": Format(write_weights, WEIGHTS_FILE, read_back_weights),
    "their config": Format(write_weights, "config.json", read_back_weights),
}  # fmt: skip


def mutations(data: bytes) -> list[bytes]:
    """Return a file with one bit of every byte flipped, cut, with blocks lost or moved, and longer than it was."""
    choose = random.Random(0)
    flips = [data[:i] + bytes([data[i] ^ (1 << choose.randrange(8))]) + data[i + 1 :] for i in range(len(data))]
    cuts = [data[: choose.randrange(len(data))] for _ in range(30)]
    size = max(1, min(48, len(data) // 4))
    starts = [choose.randrange(len(data) - size) for _ in range(40)]
    lost = [data[:i] + bytes(size) + data[i + size :] for i in starts]
    moved = [data[:i] + data[j : j + size] + data[i + size :] for i, j in zip(starts, reversed(starts), strict=True)]
    changed = [*flips, *cuts, *lost, *moved, b"", data + b"\0", data + data, b"{}\n", b"[]\n"]
    return [mutated for mutated in changed if mutated != data]


@pytest.mark.parametrize("name", FORMATS)
def test_damage_is_refused_or_changes_nothing(tmp_path: Path, name: str) -> None:
    kind = FORMATS[name]
    kind.write(tmp_path, 0)
    path, expected = tmp_path / kind.file, kind.read(tmp_path)
    data, refused, same = path.read_bytes(), 0, 0
    for mutated in mutations(data):
        path.write_bytes(mutated)
        try:
            found = kind.read(tmp_path)
        except FewshotError as error:
            refused += str(tmp_path) in str(error)
        else:
            assert found == expected, f"altered content was accepted: {mutated!r}"
            same += 1
    print(f"{name}, {len(data)} bytes: {refused} of {refused + same} mutations refused, {same} left the same content")
    assert refused + same == len(mutations(data)), "every refusal names the file"
    assert refused > 2 * same


@pytest.mark.parametrize("change", [{"accepted": [True] * 6}, {"image": [b"x"] * 6}, {"note": ["\u00e9,\n"] * 6}])
def test_whole_pages_under_anothers_seal_are_refused(tmp_path: Path, change: dict[str, object]) -> None:
    """Their checksums are right: what does not fit is the SHA-256 over the values."""
    write_records(tmp_path / "a", records(), ABOUT)
    table = parquet.read_table(tmp_path / "a")
    other = pa.Table.from_pandas(records().assign(**change)).cast(table.schema.remove_metadata())
    parquet.write_table(other.replace_schema_metadata(table.schema.metadata), tmp_path / "a", write_page_checksum=True)
    with pytest.raises(CorruptFileError, match="does not match the SHA-256 in its header"):
        read_records(tmp_path / "a")


@pytest.mark.parametrize("file", WEIGHTS_FILES)
def test_a_file_of_another_weights_folder_is_refused(tmp_path: Path, file: str) -> None:
    for variant in (0, 1):
        write_weights(tmp_path / str(variant), variant)
    (tmp_path / "1" / file).replace(tmp_path / "0" / file)
    with pytest.raises(WeightsError, match=r"0: config\.json is not the one that the weights were written with"):
        load(tmp_path / "0")


@pytest.mark.parametrize("text", ["", "{", "[]", '[["a", 1]]', '"x"', "3", "null", "[" * 10**5, "\udcff"])
def test_what_is_no_json_object_is_refused(tmp_path: Path, text: str) -> None:
    write_weights(tmp_path)
    (tmp_path / "config.json").write_bytes(text.encode(errors="surrogateescape"))
    for read in (lambda: read_json(tmp_path / "config.json"), lambda: read_config(tmp_path), lambda: load(tmp_path)):
        with pytest.raises(CorruptFileError, match=r"config\.json"):
            read()


@pytest.mark.parametrize("read", [read_tensors, read_records, read_json])
def test_a_missing_or_empty_file_is_named(tmp_path: Path, read: Callable[[Path], object]) -> None:
    with pytest.raises(CorruptFileError, match=r"absent: there is no such file\. Run the step that writes it"):
        read(tmp_path / "absent")
    (tmp_path / "empty").touch()
    with pytest.raises(CorruptFileError, match=r"empty: found an empty file.*Delete it and run the same command again"):
        read(tmp_path / "empty")


@pytest.mark.parametrize("missing", WEIGHTS_FILES)
def test_missing_weights_are_named_with_the_way_out(tmp_path: Path, missing: str) -> None:
    write_weights(tmp_path)
    (tmp_path / missing).unlink()
    with pytest.raises(WeightsError, match=rf"{missing} is missing\. Name a folder that holds weights"):
        load(tmp_path)


@pytest.mark.parametrize("header", [None, "", "{}", "[]", "3", '{"sha256": 3}'])
def test_files_that_others_wrote_are_refused(tmp_path: Path, header: str | None) -> None:
    from safetensors.torch import save_file

    save_file({"t": torch.ones(2)}, tmp_path / "a", metadata=None if header is None else {"about": header})
    records().to_parquet(tmp_path / "b")
    for read, name in ((read_tensors, "a"), (read_records, "a"), (read_records, "b"), (read_tensors, "b")):
        with pytest.raises(CorruptFileError, match=rf"/{name}: "):
            read(tmp_path / name)


# --- what is expected of a file -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("read", "write", "content"), [(read_tensors, write_tensors, tensors()), (read_records, write_records, records())]
)
def test_a_file_in_anothers_place_is_refused(
    tmp_path: Path, read: Callable[..., object], write: Callable[..., None], content: object
) -> None:
    write(tmp_path / "a", content, ABOUT)
    read(tmp_path / "a", expected={"attribute": "Blond", "forwards_per_sample": 2.5})
    for expected in ({"attribute": "Beard"}, {"attribute": "Blond", "mode": "exact"}):
        with pytest.raises(CorruptFileError, match=r"a: was made for \w+ .*, expected '(Beard|exact)'"):
            read(tmp_path / "a", expected=expected)
    with pytest.raises(CorruptFileError, match=r"a: holds the (tensors|columns) .*; expected features, absent"):
        read(tmp_path / "a", "features", "absent")


def test_weights_of_another_role_are_refused(tmp_path: Path) -> None:
    write_weights(tmp_path)
    load(tmp_path, role="judge 0", attribute="Blond")
    with pytest.raises(WeightsError, match="the weights are of role 'judge 0', expected 'tuning_judge'"):
        load(tmp_path, role="tuning_judge")


@pytest.mark.parametrize("config", [{"width": 4}, {"depth": 3}, {}, {"width": "x"}])
def test_weights_that_do_not_fit_their_module_are_refused(tmp_path: Path, config: dict[str, object]) -> None:
    save_module(network(), config, tmp_path, {})
    for make in (lambda config: Network(**config), lambda config: Network(config["width"])):
        with pytest.raises(WeightsError, match=r"do not fit config\.json"):
            load_module(make, tmp_path)


def test_shards_of_two_computations_are_told_apart() -> None:
    shards = [(Path("a"), {"scale": 3}), (Path("b"), {"scale": 3}), (Path("c"), {"scale": 10, "more": 1})]
    require_sisters(shards[:2])
    with pytest.raises(CorruptFileError, match="c: does not belong with a: more is 1, there None"):
        require_sisters(shards)


# --- digests --------------------------------------------------------------------------------------------------------


def test_a_fingerprint_sees_every_part_and_no_key_order() -> None:
    assert fingerprint({"a": 1, "b": 2}, 3) == fingerprint({"b": 2, "a": 1}, 3)
    assert len({fingerprint({"a": 1}, 3), fingerprint({"a": 2}, 3), fingerprint({"a": 1}, 4), fingerprint(3)}) == 4


def test_a_tensor_digest_sees_names_types_shapes_and_values() -> None:
    one = {"a": torch.arange(6)}
    others = [{"b": torch.arange(6)}, {"a": torch.arange(6.0)}, {"a": torch.arange(6).view(2, 3)},
        {"a": torch.arange(6).int()}, {"a": torch.arange(6).flip(0)}, {**one, "b": torch.empty(0)}]  # fmt: skip
    assert len({tensor_digest(each) for each in [one, *others]}) == 7
    assert tensor_digest({"a": torch.arange(6), "b": torch.ones(2)}) == tensor_digest(
        {"b": torch.ones(2), "a": torch.arange(12)[::2] // 2}
    )


def test_a_pixel_digest_is_of_values_and_their_order() -> None:
    images = torch.arange(24, dtype=torch.uint8).view(2, 3, 2, 2)
    assert pixel_digest(images) == pixel_digest(images.clone())
    assert pixel_digest(images) != pixel_digest(images.flip(0))
    assert pixel_digest(images, torch.tensor([0, 1])) != pixel_digest(images, torch.tensor([1, 0]))


def test_a_weights_digest_sees_both_files(tmp_path: Path) -> None:
    write_weights(tmp_path)
    before = weights_digest(tmp_path)
    assert weights_digest(tmp_path) == before
    for file in WEIGHTS_FILES:
        data = (tmp_path / file).read_bytes()
        (tmp_path / file).write_bytes(data + b" ")
        assert weights_digest(tmp_path) != before
        (tmp_path / file).write_bytes(data)
