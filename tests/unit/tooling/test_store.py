"""What Snakemake recorded of stored products: what is kept, and when a clone adopts it. Five tiny jobs."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from fewshot_diffusion.tooling.store import (
    METADATA,
    RECORDS,
    STORED,
    StoreError,
    adopt_records,
    planned_products,
    read_records,
    record_path,
    stored_paths,
    write_records,
)
from support import ROOT, planned_jobs, snakemake

pytestmark = pytest.mark.slow  # all but two read what a run of Snakemake left

NOTHING = "Nothing to be done"
LEFT_OUT = "results/a set/descriptions/all.txt"
SHARD = "results/a set/attributes/heads/exact/1-of-2.txt"
TABLE = "results/a set/tables/table.csv"
WORKFLOW = """
from fewshot_diffusion.tooling.store import adopt_records
adopt_records()

rule all:
    input: "results/a set/tables/table.csv"

rule make:
    output: "results/a set/images/all.txt"
    params: section="{'size': 4}"
    shell: "echo pixels > {output:q}"

rule sample:
    input: "results/a set/images/all.txt", "settings.txt"
    output: "results/a set/attributes/heads/exact/{part}-of-2.txt"
    params: scale=config.get("scale", 3)
    shell: "cat {input:q} > {output:q}; echo {wildcards.part:q} {params.scale:q} >> {output:q}"

rule describe:
    input: expand("results/a set/attributes/heads/exact/{part}-of-2.txt", part=[1, 2])
    output: "results/a set/descriptions/all.txt"
    shell: "cat {input:q} > {output:q}"

rule table:
    input: rules.describe.output
    output: "results/a set/tables/table.csv"
    shell: "wc {input:q} > {output:q}"
"""


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the workflow ran and was stored."""
    tree = tmp_path_factory.mktemp("store") / "tree"
    shutil.copytree(ROOT / "profiles", tree / "profiles")
    (tree / "Snakefile").write_text(WORKFLOW)
    (tree / "settings.txt").write_text("settings\n")
    run(tree, "--cores", "1")
    summary = run(tree, "--summary")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tree)
        write_records(planned_products(summary))
    return tree


@pytest.fixture
def clone(origin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where files come younger and in any order, some do not come, and nothing was run."""
    tree = tmp_path / "clone"
    shutil.copytree(origin, tree, ignore=shutil.ignore_patterns(".snakemake", "images", "descriptions"))
    for number, path in enumerate(sorted(tree.rglob("*"), reverse=True)):
        os.utime(path, (1e9 + number, 1e9 + number))
    monkeypatch.chdir(tree)
    return tree


def run(tree: Path, *words: str) -> str:
    done = snakemake(tree, *words, PYTHONPATH=str(ROOT / "workflow" / "scripts"))
    assert done.status == 0, done.text
    return done.text


def jobs(tree: Path, *words: str) -> set[str]:
    return set(planned_jobs(run(tree, *words))) - {"all"}


def recorded(product: str) -> dict[str, Any]:
    return dict(json.loads(record_path(product).read_text()))


def test_a_clone_has_nothing_to_do(clone: Path) -> None:
    assert NOTHING in run(clone, "-n")
    assert not Path(LEFT_OUT).exists()


def test_a_file_of_other_bytes_is_not_adopted_and_what_follows_from_it_is_made_again(clone: Path) -> None:
    Path(SHARD).write_text("something else\n")
    assert jobs(clone, "--cores", "1") == {"describe", "table"}
    assert not record_path(SHARD).exists()
    assert "something else" in Path(LEFT_OUT).read_text()


@pytest.mark.parametrize("change", ["a parameter", "an input"])
def test_a_change_after_storing_is_seen(clone: Path, change: str) -> None:
    if change == "an input":
        Path("settings.txt").write_text("others\n")
    assert "sample" in jobs(clone, "-n", *(["--config", "scale=4"] if change == "a parameter" else []))


def test_what_is_made_again_is_made_from_what_is_there(clone: Path) -> None:
    Path(TABLE).unlink()
    assert jobs(clone, "--cores", "1") == {"describe", "table"}
    assert NOTHING in run(clone, "-n")


def test_storing_twice_gives_the_same_bytes(origin: Path, clone: Path) -> None:
    before = RECORDS.read_bytes()
    adopt_records()
    products = list(read_records())
    write_records(products)
    assert RECORDS.read_bytes() == before, "from adopted records"
    shutil.copytree(origin / METADATA, clone / METADATA, dirs_exist_ok=True)
    write_records(reversed(products))
    assert RECORDS.read_bytes() == before


def test_a_text_that_records_share_is_kept_once(clone: Path) -> None:
    text = RECORDS.read_text()
    assert text.count("{'size': 4}") == 1
    assert text.count("results/a set/images/all.txt") == 1, "products are named by their place among the files"
    assert "echo" not in text, "no command"


def test_a_record_of_ones_own_run_stays_unless_its_file_was_restored(origin: Path, clone: Path) -> None:
    adopt_records()
    os.utime(SHARD, (2e9, 2e9))
    record_path(SHARD).write_text(json.dumps({**recorded(SHARD), "params": ["'4'"], "starttime": 1.0, "endtime": 2e9}))
    assert adopt_records() == []
    os.utime(SHARD, (3e9, 3e9))
    assert adopt_records() == [SHARD]
    assert recorded(SHARD)["params"] == ["3"]


def test_an_adopted_record_follows_the_next_store(clone: Path) -> None:
    assert SHARD in adopt_records()
    assert adopt_records() == []
    RECORDS.write_text(RECORDS.read_text().replace('"3"', '"5"'))
    assert adopt_records() == [SHARD, SHARD.replace("1-of", "2-of")]
    assert recorded(SHARD)["params"] == ["5"]


@pytest.mark.parametrize("text", ["", "[]", "{", '{"files": []}', '{"files": [], "params": [], "products": [["a"]]}'])
def test_a_damaged_file_of_records_is_named(clone: Path, text: str) -> None:
    RECORDS.write_text(text)
    with pytest.raises(StoreError, match=r"results/records\.json"):
        adopt_records()


def test_nothing_stored_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert adopt_records() == []
    assert list(tmp_path.iterdir()) == []


def test_records_lie_where_snakemake_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    long = "results/" + 40 * "long-name/" + "x.csv"
    (tmp_path / "Snakefile").write_text(f'rule all:\n    output: "{long}"\n    shell: "touch {{output:q}}"\n')
    assert snakemake(tmp_path, "--cores", "1").status == 0
    assert recorded(long)["rule"] == "all"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"incomplete": True}, "no complete record"),
        ({"input": ["/data/faces.zip"]}, "path of this machine"),
        ({"params": ["'{cwd}/x'"]}, "path of this machine"),
        ({"input_checksums": {"settings.txt": "sha256:0"}}, r"settings\.txt: products were made from another file"),
    ],
)
def test_what_cannot_be_stored_is_refused(clone: Path, change: dict[str, Any], said: str) -> None:
    adopt_records()
    text = json.dumps({**recorded(SHARD), **change}).replace("{cwd}", str(clone))
    record_path(SHARD).write_text(text)
    with pytest.raises(StoreError, match=said):
        write_records([SHARD])


def test_a_plan_with_something_to_do_is_refused(clone: Path) -> None:
    Path("settings.txt").write_text("others\n")
    with pytest.raises(StoreError, match=r"5 of 5 products are missing or stale, first results/a set/"):
        planned_products(run(clone, "--summary"))
    with pytest.raises(StoreError, match="lists no product"):
        planned_products("Building DAG of jobs...\n")


def test_what_is_stored_is_what_is_listed_and_there(clone: Path) -> None:
    assert stored_paths(Path("results/a set")) == [Path("results/a set/attributes/heads/exact")]
    assert not [one for one in STORED for other in STORED if other.startswith(f"{one}/")], "one within another"
