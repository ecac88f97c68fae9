"""The crate to deposit: read back with the library it says what it holds, and the same content is the same bytes."""

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from zipfile import ZipFile

import pytest
from rocrate.rocrate import ROCrate

from fewshot_diffusion.errors import CorruptFileError
from fewshot_diffusion.tooling.crate import Product, Run, make_crate
from fewshot_diffusion.tooling.crate_files import DOCUMENTS, caption_text, workflow_digest
from support import ROOT

TABLE, FIGURE = Path("results/small/tables/masks.csv"), Path("results/small/figures/masks.png")
Pack = Callable[[], Path]


@pytest.fixture
def workflow(tmp_path: Path) -> Path:
    """A workflow of one setting, and what does not belong to it."""
    folder = tmp_path / "workflow of ours"
    for name in ("config/a.yaml", "config/.secret.yaml", "workflow/scripts/__pycache__/a.pyc"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    for name in ("Snakefile", *DOCUMENTS):
        shutil.copy(ROOT / name, folder)
    return folder


@pytest.fixture
def pack(workflow: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pack:
    """A function that packs a table and a figure, which lie in the working folder."""
    monkeypatch.chdir(tmp_path)
    for path in (TABLE, FIGURE):
        path.parent.mkdir(parents=True)
        path.write_text(path.name)
        os.utime(path, (0, 86400))
    products = [Product(path=path, name=path.stem, description=f"About {path.name}") for path in (TABLE, FIGURE)]
    run = Run(data_set="small", credit="Drawn by hand.", pictures="CC-BY-4.0", settings='{"seed": 0}', snakemake="9.0")

    def make() -> Path:
        products.reverse()  # their order does not matter
        make_crate(run, products, workflow, Path("crate.zip"))
        return Path("crate.zip")

    return make


def test_the_library_reads_what_made_the_results_and_what_they_are(pack: Pack) -> None:
    crate = ROCrate(pack())
    assert (crate.version, crate.mainEntity.id) == ("1.1", "Snakefile")
    assert "ComputationalWorkflow" in crate.mainEntity.type
    assert (crate.mainEntity.lang.name, crate.mainEntity.lang.version) == ("Snakemake", "9.0")
    assert crate.license.id == "https://spdx.org/licenses/Apache-2.0"
    assert crate.root_dataset["author"]["name"] == "The fewshot-diffusion contributors"
    assert crate.root_dataset["citation"]["author"][0]["name"] == "Alexandros Graikos"
    assert "Drawn by hand." in crate.description
    table, figure = crate.get(str(TABLE)), crate.get(str(FIGURE))
    assert (table["description"], table["encodingFormat"]) == ("About masks.csv", "text/csv")
    assert figure["license"].id == "https://spdx.org/licenses/CC-BY-4.0" and table.get("license") is None
    assert (figure["encodingFormat"], figure["contentSize"]) == ("image/png", str(len("masks.png")))


def test_every_described_file_is_there_and_nothing_that_is_not_the_workflow_s(pack: Pack) -> None:
    packed = pack()
    files = {entity.id: entity["sha256"] for entity in ROCrate(packed).get_by_type("File")}
    with ZipFile(packed) as archive:
        assert files == {name: hashlib.sha256(archive.read(name)).hexdigest() for name in files}
        others = {"config/a.yaml", "ro-crate-metadata.json"}  # the one in a folder, which is described as a whole
        assert set(archive.namelist()) == files.keys() | others
    assert {str(TABLE), str(FIGURE), "results/small/settings.json"} <= files.keys()


def test_the_same_content_is_the_same_bytes_of_the_day_of_release(pack: Pack, workflow: Path) -> None:
    assert ROCrate(pack()).root_dataset["datePublished"] == "1970-01-02", "not released: the newest product's"
    with (workflow / "CITATION.cff").open("a") as citation:
        citation.write("date-released: 2026-01-02\n")
    before, digest = pack().read_bytes(), workflow_digest(workflow)
    os.utime(TABLE)
    assert pack().read_bytes() == before
    assert ROCrate(Path("crate.zip")).root_dataset["datePublished"] == "2026-01-02"
    (workflow / "config" / "a.yaml").write_text("changed")
    assert workflow_digest(workflow) != digest
    assert pack().read_bytes() != before


@pytest.mark.parametrize("name", [str(TABLE), "workflow of ours/LICENSE"])
def test_what_is_missing_is_named(pack: Pack, name: str) -> None:
    Path(name).unlink()
    with pytest.raises(CorruptFileError, match=f"{name}: there is no such file"):
        pack()
    assert not Path("crate.zip").exists()


def test_captions_are_plain_text() -> None:
    template = 'Of ``{{ snakemake.wildcards.method }}``,\nfrom {{ snakemake.config["shots"] }} pairs.'
    assert caption_text(template, {"wildcards": {"method": "exact"}, "config": {"shots": 20}}) == (
        "Of `exact`, from 20 pairs."
    )
