"""Snakemake's records of stored products: what is kept, and when a clone adopts it."""

import json
from base64 import urlsafe_b64encode
from pathlib import Path
from typing import Any

import pytest

from fewshot_diffusion.tooling.records import (
    StoreError,
    adopt,
    file_sha256,
    normalised,
    read_record,
    read_stored,
    record_path,
    write_stored,
)

PRODUCT = "results/a/samples.safetensors"
LEFT_OUT = "results/a/images/judge.safetensors"


def record(**values: Any) -> dict[str, Any]:
    made: dict[str, Any] = {
        "rule": "sample",
        "input": ["results/a/denoiser/config.json"],
        "log": ["logs/a.log"],
        "shellcmd": "python sample.py",
        "params": ["'4'"],
        "starttime": 17.5,
        "endtime": 18.5,
        "job_hash": 123,
        "external_jobid": "99",
        "incomplete": False,
        "conda_env": "IyBG",
    }
    return made | values


def put_record(product: str, metadata: Path, **values: Any) -> None:
    metadata.mkdir(parents=True, exist_ok=True)
    path = record_path(product, metadata)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record(**values)))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with one finished product, its record, and the record of one that is left out."""
    monkeypatch.chdir(tmp_path)
    path = Path(PRODUCT)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"pixels")
    put_record(PRODUCT, Path(".snakemake/metadata"))
    put_record(LEFT_OUT, Path(".snakemake/metadata"))
    write_stored([PRODUCT], [LEFT_OUT])
    return tmp_path


def forget(product: str) -> None:
    record_path(product, Path(".snakemake/metadata")).unlink()


def params(product: str) -> Any:
    found = read_record(product, Path(".snakemake/metadata"))
    return found and found["params"]


@pytest.mark.parametrize("product", ["results/tables/x.csv", "results/" + 40 * "long-name/" + "x.csv"])
def test_records_lie_where_snakemake_looks(product: str, tmp_path: Path) -> None:
    from snakemake.persistence.file import FilePersistence

    bare = object.__new__(FilePersistence)
    bare._max_len = None
    assert str(record_path(product, tmp_path)) == bare._record_path(str(tmp_path), product)


def test_a_short_name_is_one_base64_name(tmp_path: Path) -> None:
    assert record_path("x.csv", tmp_path).name == urlsafe_b64encode(b"x.csv").decode()


def test_two_runs_of_a_job_have_one_record() -> None:
    again = record(starttime=99.0, endtime=100.0, job_hash=-5, external_jobid=None)
    assert normalised(record()) == normalised(again)
    assert normalised(record()) != normalised(record(params=["'5'"]))
    assert normalised(record())["job_hash"] != normalised(record(log=["logs/b.log"]))["job_hash"]


def test_storing_twice_gives_the_same_bytes(folder: Path) -> None:
    before = Path("results/stored.json").read_bytes()
    put_record(PRODUCT, Path(".snakemake/metadata"), starttime=1e9, job_hash=7)
    write_stored([PRODUCT], [LEFT_OUT])
    assert Path("results/stored.json").read_bytes() == before


def test_digests_are_of_stored_products_alone(folder: Path) -> None:
    entries = read_stored()
    assert entries[PRODUCT]["sha256"] == file_sha256(Path(PRODUCT))
    assert entries[LEFT_OUT]["sha256"] is None


@pytest.mark.parametrize(
    "values", [{"input": ["/data/faces.zip"]}, {"shellcmd": "python {cwd}/sample.py"}, {"params": ["{cwd}/x"]}]
)
def test_paths_of_this_machine_are_refused(folder: Path, values: dict[str, Any]) -> None:
    text = json.dumps(values).replace("{cwd}", str(folder))
    put_record(PRODUCT, Path(".snakemake/metadata"), **json.loads(text))
    with pytest.raises(StoreError, match="path of this machine"):
        write_stored([PRODUCT])


@pytest.mark.parametrize("state", ["absent", "incomplete"])
def test_a_product_without_a_record_is_refused(folder: Path, state: str) -> None:
    forget(PRODUCT) if state == "absent" else put_record(PRODUCT, Path(".snakemake/metadata"), incomplete=True)
    with pytest.raises(StoreError, match=PRODUCT):
        write_stored([PRODUCT])


def test_a_clone_adopts_records_of_the_stored_bytes_and_of_what_is_left_out(folder: Path) -> None:
    forget(PRODUCT)
    forget(LEFT_OUT)
    assert sorted(adopt()) == sorted([PRODUCT, LEFT_OUT])
    assert read_record(PRODUCT, Path(".snakemake/metadata")) == normalised(record())
    assert adopt() == []


@pytest.mark.parametrize("content", [b"pixelz", b"", None])
def test_other_bytes_get_no_record(folder: Path, content: bytes | None) -> None:
    forget(PRODUCT)
    Path(PRODUCT).unlink()
    if content is not None:
        Path(PRODUCT).write_bytes(content)
    assert adopt() == []
    assert params(PRODUCT) is None


def test_a_record_of_ones_own_run_stays_unless_renewed(folder: Path) -> None:
    put_record(PRODUCT, Path(".snakemake/metadata"), params=["'mine'"])
    assert adopt() == []
    assert params(PRODUCT) == ["'mine'"]
    assert PRODUCT in adopt(renew=True)
    assert params(PRODUCT) == ["'4'"]


def test_an_adopted_record_follows_the_next_store(folder: Path) -> None:
    forget(PRODUCT)
    adopt()
    entries = json.loads(Path("results/stored.json").read_text())
    entries[PRODUCT]["record"]["params"] = ["'newer'"]
    Path("results/stored.json").write_text(json.dumps(entries))
    assert adopt() == [PRODUCT]
    assert params(PRODUCT) == ["'newer'"]


@pytest.mark.parametrize("text", ["", "[]", "{", '{"a": {}}', '{"a": {"sha256": null, "record": 3}}'])
def test_a_damaged_file_of_records_is_named(folder: Path, text: str) -> None:
    Path("results/stored.json").write_text(text)
    with pytest.raises(StoreError, match=r"results/stored\.json"):
        adopt()


def test_nothing_stored_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert adopt() == []
    assert list(tmp_path.iterdir()) == []
