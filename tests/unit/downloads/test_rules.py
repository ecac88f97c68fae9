"""The rules: planned without a connection, run once, not again for another mirror, and again for another digest."""

import hashlib
import io
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from fewshot_diffusion.config.downloads import DownloadsConfig
from fewshot_diffusion.config.model import load_config
from fewshot_diffusion.data.feasibility import require_files
from fewshot_diffusion.errors import ConfigError
from support import ROOT, SMOKE, copy_tree, overlay, planned_jobs, snakemake

ARTEFACTS = yaml.safe_load((ROOT / "config/artefacts.yaml").read_text())["downloads"]["artefacts"]
AUDIT = """import sys
def note(event, arguments):
    if event == "socket.getaddrinfo" or (event == "socket.connect" and isinstance(arguments[1], tuple)):
        open("connections.txt", "a").write(f"{event} {arguments}\\n")
sys.addaudithook(note)
"""


def test_the_public_artefacts_are_valid_and_planned_by_name() -> None:
    found = DownloadsConfig(artefacts=ARTEFACTS, wanted=list(ARTEFACTS))
    assert "downloads/ddpm_segmentation_masks/datasets.csv" in found.files()
    assert len(set(found.files())) == len(ARTEFACTS) + 1
    assert {one.sha256 or one.md5 for one in found.chosen.values()} > {None}


@pytest.mark.parametrize(
    ("path", "name", "product"),
    [
        ("downloads/inception/pt_inception-2015-12-05-6726825d.pth", "inception", None),
        ("./downloads/ddpm_segmentation_masks/datasets/ffhq_34/real", "ddpm_segmentation_masks", "datasets.csv"),
        ("downloads/ddpm_segmentation_masks/datasets.tar.gz", "ddpm_segmentation_masks", "datasets.tar.gz"),
        ("downloads/inception/another.pth", None, None),
        ("downloads/inception/../inception/pt_inception-2015-12-05-6726825d.pth", None, None),
        ("downloads/nobody/file.zip", None, None),
        ("elsewhere/inception/pt_inception-2015-12-05-6726825d.pth", None, None),
    ],
)
def test_an_artefact_provides_its_file_and_what_it_unpacks_to(path: str, name: str | None, product: str | None) -> None:
    found = DownloadsConfig(artefacts=ARTEFACTS, wanted=["inception"])
    assert found.provides(Path(path)) == name
    assert found.product_of(Path(path)) == (name and f"downloads/{name}/{product or Path(path).name}")
    assert found.naming([Path(path)]).wanted == list(dict.fromkeys(["inception", *filter(None, [name])]))


def test_an_artefact_that_the_configuration_names_is_wanted_by_its_digest() -> None:
    raw = yaml.safe_load((ROOT / "config/config.yaml").read_text())
    raw["downloads"]["artefacts"] = ARTEFACTS
    file, digest = f"downloads/inception/{ARTEFACTS['inception']['file']}", ARTEFACTS["inception"]["sha256"]
    raw["evaluation"]["extractors"] = [{"kind": "inception", "weights": file, "sha256": digest}]
    config = load_config(raw)
    assert (config.downloads.wanted, config.extractor_files) == (["inception"], [file])
    require_files(config)
    raw["evaluation"]["extractors"][0]["sha256"] = "0" * 64
    with pytest.raises(ConfigError, match=rf"extractors.0.sha256: found 0+, expected {digest}, as downloads.artefacts"):
        load_config(raw)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"urls": ["http://example.org/x"]}, r"http:// from this machine alone"),
        ({"urls": ["ftp://example.org/x"]}, r"expected https://host/path, hf://"),
        ({"urls": ["https://me:secret@example.org/x"]}, r"expected https://host/path"),
        ({"urls": ["hf://google/model/x.bin"]}, r"hf://owner/name@revision/path"),
        ({"urls": ["gdrive://a/b"]}, r"gdrive://id"),
        ({"urls": []}, r"at least 1 item"),
        ({"file": "../x"}, r"String should match pattern"),
        ({"sha256": "abc"}, r"String should match pattern"),
        ({"extract": {"folder": "x"}}, r"ckpt.pth is no archive; expected a .zip"),
    ],
)
def test_an_artefact_that_could_not_be_fetched_is_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        DownloadsConfig(artefacts={"x": ARTEFACTS["ddim_celeba64"] | change})


@pytest.mark.parametrize(("wanted", "said"), [(["y"], "found y, expected names of"), (["x", "x"], "each name once")])
def test_what_is_wanted_is_known_and_named_once(wanted: list[str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        DownloadsConfig(artefacts={"x": ARTEFACTS["inception"]}, wanted=wanted)


@pytest.mark.slow
def test_planning_all_of_them_opens_no_connection(tmp_path: Path) -> None:
    tree = copy_tree(tmp_path / "tree")
    (tmp_path / "site").mkdir()
    (tmp_path / "site/sitecustomize.py").write_text(AUDIT)
    names = overlay(tree, "all.yaml", downloads={"wanted": list(ARTEFACTS)})
    done = snakemake(tree, "-n", "downloads", "--configfile", *SMOKE[1:], names, PYTHONPATH=str(tmp_path / "site"))
    assert planned_jobs(done.text) == {"download": len(ARTEFACTS), "extract": 1, "downloads": 1}, done.text
    assert not (tree / "connections.txt").exists(), (tree / "connections.txt").read_text()


@pytest.mark.slow
def test_a_run_from_address_to_files(tmp_path: Path, server: Any) -> None:
    tree, buffer = copy_tree(tmp_path / "tree"), io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("set/1.txt", "one")
    server.content = buffer.getvalue()
    thing: dict[str, Any] = {"file": "set.zip", "licence": "MIT", "access": "Ours.", "extract": {"folder": "set"}}

    def run(*words: str, **change: Any) -> str:
        config = {"wanted": ["thing"], "artefacts": {"thing": thing | change}}
        mine = overlay(tree, "mine.yaml", downloads=config)
        return snakemake(tree, *words, "downloads", "--configfile", *SMOKE[1:], mine, no_proxy="*").text

    text = run("--cores", "1", urls=[f"{server.url}/status/404", f"{server.url}/file"])
    assert (tree / "downloads/thing/set/set/1.txt").read_text() == "one", text
    digest = hashlib.sha256(b"one").hexdigest()
    assert (tree / "downloads/thing/set.csv").read_text() == f"name,bytes,sha256\nset/1.txt,3,{digest}\n"
    assert hashlib.sha256(server.content).hexdigest() in (tree / "config/downloads/thing.json").read_text()
    assert "Nothing to be done" in run("-n", urls=["https://far.invalid/x"])
    assert planned_jobs(run("-n", urls=["https://far.invalid/x"], sha256="a" * 64))["download"] == 1
    asked = len(server.asked)
    run("--cores", "1", "--forceall", urls=["https://far.invalid/x"])
    assert (tree / "downloads/thing/set.zip").read_bytes() == server.content, "what came once is kept"
    assert len(server.asked) == asked
