"""The workflow as users run it: checks and dry runs of every configuration, and a whole run on tiny images.

Everything happens in copies of the tree, so that no run here touches results, metadata or locks of the real one.
"""

import base64
import html
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image
from rocrate.rocrate import ROCrate

from fewshot_diffusion.config.denoiser import ArchitectureConfig
from fewshot_diffusion.data.image_set import load_image_set
from fewshot_diffusion.metrics.measures import DISTANCES, NEIGHBOURS
from fewshot_diffusion.storage.files import sha256
from fewshot_diffusion.storage.tables import read_csv
from fewshot_diffusion.storage.weights import WEIGHTS_FILE
from fewshot_diffusion.tooling.benchmarks import planned_steps
from fewshot_diffusion.tooling.ownership import WEIGHTS
from support import ROOT, SMOKE, TARGETS, copy_products, copy_tree, overlay, planned_jobs, smoke_config, snakemake

OVERLAYS = sorted(
    {path.name for path in (ROOT / "config").glob("*.yaml")} - {"config.yaml", "artefacts.yaml", "claims.yaml"}
)
RESULTS = "results/smoke"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return copy_tree(tmp_path / "tree")


def put_weights(tree: Path, *folders: str, **changes: object) -> None:
    """Put what a plan reads where a configuration expects a user's own weights, or those of the store."""
    default = yaml.safe_load((ROOT / "config/config.yaml").read_text())
    said = ArchitectureConfig(**default["denoiser"]["architecture"]).model_dump() | {"sample_size": 64} | changes
    for folder in folders:
        (tree / folder).mkdir(parents=True, exist_ok=True)
        (tree / folder / WEIGHTS_FILE).touch()
        (tree / folder / "config.json").write_text(json.dumps(said))


def put_stored_weights(tree: Path) -> None:
    names = [name for stored in WEIGHTS.values() for name in stored]
    parts = {
        "baselines": ("diffae", "d2c", "hierarchical_vae"),
        "masks/segmenters": ("judge", "tuning_judge"),
        "masks/controlnets": ("20", "200", "2000"),
    }
    put_weights(tree, *(f"results/avatars64/{name}/{part}" for name in names for part in parts.get(name, (".",))))


# --- without running a job ------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_default_is_planned(tree: Path) -> None:
    put_stored_weights(tree)
    done = snakemake(tree, "-n")
    assert done.status == 0, done.text
    jobs = planned_jobs(done.text)
    assert jobs["evaluate_attributes"] == 4
    assert jobs["make_attributes_table"] == jobs["make_masks_table"] == jobs["make_classes_table"] == 1
    assert not {"train_denoiser", "train_segmenter", "train_controlnet", "train_generator"} & set(jobs)


@pytest.mark.slow
def test_missing_weights_are_named(tree: Path) -> None:
    done = snakemake(tree, "-n")
    assert done.status != 0
    assert "results/avatars64/denoiser: weights are missing. None are stored under this name" in done.text


@pytest.mark.slow
def test_labels_of_one_s_own_are_taken_and_a_mistake_in_them_has_the_last_word(tree: Path) -> None:
    shots, drawn = "results/smoke/images/shots.parquet", "results/smoke/attributes/shots/Blond.csv"
    assert snakemake(tree, "--cores", "1", *SMOKE, "--", shots).status == 0
    ids = load_image_set(tree / shots).ids.tolist()[:2]
    chosen = overlay(tree, "own.yaml", attributes={"shots_file": {"Blond": "my.csv"}})
    (tree / "my.csv").write_text(f"id,label\n{ids[0]},yes\n{ids[1]},maybe\n")
    done = snakemake(tree, "--cores", "1", *SMOKE, chosen, "--", drawn)
    last = done.text.strip().splitlines()[-2:]
    assert last[0] == f"{drawn} was not made; log: logs/smoke/draw_attribute_shots/Blond.log"
    assert last[1] == "error: my.csv, line 3, column 'label': found 'maybe', expected 0 or 1."
    assert "positive_shots" not in done.text.split("Error in rule")[1]
    (tree / "my.csv").write_text(f"id,label\n{ids[0]},yes\n{ids[1]},no\n")
    assert snakemake(tree, "--cores", "1", *SMOKE, chosen, "--", drawn).status == 0
    assert (tree / drawn).read_text() == f"id,label\n{ids[0]},True\n{ids[1]},False\n"


PLANS = {  # configuration files -> a target, and jobs that it must plan
    ("smoke.yaml",): (
        "all",
        {"train_denoiser": 1, "evaluate_attributes": 2, "sample_clean_image": 2},
    ),
    ("train.yaml",): ("all", {"train_denoiser": 1, "train_segmenter": 1, "train_controlnet": 3, "train_generator": 1}),
    ("demo.yaml",): ("attributes", {"adopt_denoiser": 1, "evaluate_attributes": 2}),
    ("refined.yaml",): ("attributes", {"train_judge": 1, "evaluate_attributes": 4}),
    ("few.yaml",): ("classes", {"adopt_denoiser": 1, "train_generator": 1, "train_cell": 10}),
    ("celebahq.yaml",): ("all", {"train_denoiser": 1, "evaluate_attributes": 4}),
    ("celebahq.yaml", "celebahq64.yaml"): ("all", {"train_denoiser": 1, "evaluate_attributes": 4}),
    ("celebamask.yaml",): ("all", {"train_segmenter": 1, "train_controlnet": 1}),
    ("latent.yaml",): ("masks", {"adopt_latent_denoiser": 1, "train_segmenter": 1, "train_controlnet": 1}),
    ("tinyimagenet20.yaml",): ("all", {"train_denoiser": 1, "train_cell": 10}),
    ("train.yaml", "gpu.yaml"): ("all", {"train_denoiser": 1, "train_controlnet": 3, "train_generator": 1}),
    ("celebahq.yaml", "celebahq64.yaml", "gpu.yaml"): ("all", {"train_denoiser": 1, "evaluate_attributes": 4}),
}

STORED_PIPELINE = "results/avatars64_latent/stable_diffusion"
OWN_DENOISERS = {
    ("demo.yaml",): "results/avatars64/denoiser",
    ("few.yaml",): "results/avatars64/denoiser",
    ("refined.yaml",): "results/avatars64_refined/denoiser",
    ("celebamask.yaml",): "results/celebahq64/denoiser",
}


def test_every_overlay_has_a_plan() -> None:
    own = {"folder.yaml", "own.yaml", "paper.yaml"}  # templates that tests of their own fill in; and test_paper.py's
    assert {name for names in PLANS for name in names} | own == set(OVERLAYS)


@pytest.mark.slow
@pytest.mark.parametrize("names", PLANS, ids=" ".join)
def test_every_overlay_is_planned(tree: Path, names: tuple[str, ...]) -> None:
    """A plan counts the images that are there; a denoiser of one's own must be there, too."""
    if any(name.startswith(("celeb", "tiny")) for name in names):
        if not (ROOT.parent / "shared/data").is_dir():
            pytest.skip("needs ../shared/data, non-commercial research data that is not in the repository")
        (tree.parent / "shared").symlink_to(ROOT.parent / "shared")
    if names in OWN_DENOISERS:
        put_weights(tree, OWN_DENOISERS[names])
    if names == ("latent.yaml",):  # its plan reads what the parts of a stored pipeline say of themselves
        (tree / STORED_PIPELINE).parent.mkdir(parents=True)
        (tree / STORED_PIPELINE).symlink_to(ROOT / STORED_PIPELINE)
    target, expected = PLANS[names]
    done = snakemake(tree, "-n", target, "--configfile", *(f"config/{name}" for name in names))
    assert done.status == 0, done.text
    jobs = planned_jobs(done.text)
    assert {rule: jobs.get(rule) for rule in expected} == expected
    assert not {"choose_attribute_scale", "choose_mask_scale"} & set(jobs), "sweeps are targets of their own"
    # `make estimate` reads what Snakemake prints for people: every planned job that has a benchmark.
    targets = {"all", "attributes", "masks", "classes", "celeba_fid"}  # these have none
    assert len(planned_steps(done.text)) == sum(jobs[rule] for rule in jobs.keys() - targets) > 15


@pytest.mark.slow
def test_jobs_take_turns_on_the_one_gpu_of_its_profile(tree: Path) -> None:
    """Two at a time find a lock."""
    take = "mkdir gpu.lock && sleep 1 && rmdir gpu.lock && touch {output:q}"
    (tree / "turns").write_text(
        "rule all:\n    input: expand('on_gpu.{n}', n=range(3))\n"
        f"rule on_gpu:\n    output: 'on_gpu.{{n}}'\n    resources: gpu=1\n    shell: '{take}'\n"
    )
    command = ("--snakefile", "turns", "--cores", "6", "--forceall")
    done = snakemake(tree, *command, "--profile", "profiles/gpu")
    assert done.status == 0, done.text
    assert snakemake(tree, *command).status != 0, "by default no job waits for another"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("targets", "tables"),
    [
        (("attributes", "masks_sweep"), {"make_attributes_table", "choose_mask_scale"}),
        (("masks", "attributes_sweep"), {"make_masks_table", "choose_attribute_scale"}),
        (("classes", "results/tables/celeba_fid.csv"), {"make_classes_table", "make_attributes_table"}),
        (("attributes_labels",), {"make_attributes_labels_table"}),
        (("crate",), {"make_attributes_table", "make_masks_table", "make_classes_table"}),
        (("classes_filters",), {"make_classes_filters_table"}),
    ],
)
def test_named_targets_are_planned(tree: Path, targets: tuple[str, ...], tables: set[str]) -> None:
    done = snakemake(tree, "-n", *targets, *SMOKE)
    assert done.status == 0, done.text
    names = ("attributes", "attributes_labels", "masks", "classes", "classes_filters")
    made = {f"make_{name}_table" for name in names}
    assert (made | {"choose_attribute_scale", "choose_mask_scale"}) & planned_jobs(done.text).keys() == tables


@pytest.mark.slow
def test_mistakes_stop_with_their_keys_and_no_traceback(tree: Path) -> None:
    wrong = overlay(tree, "wrong.yaml", sampling={"eat": 0.5, "eta": 1.5}, jugde={"epochs": 1})
    done = snakemake(tree, "-n", *SMOKE, wrong)
    assert done.status != 0
    expected = ["sampling.eat: ", "sampling.eta: ", "less than or equal to 1 (found 1.5)", "jugde: "]
    assert not [words for words in expected if words not in done.text]
    assert "Traceback" not in done.text
    assert not (tree / RESULTS).exists()


@pytest.mark.slow
def test_it_runs_from_anywhere(tree: Path, tmp_path: Path) -> None:
    """The results go where Snakemake works, and are the same; the environment is not activated."""
    split = "results/smoke/images/pairs.parquet"
    places = [tmp_path / name for name in ("by its file", "by a folder")]
    given = ["--snakefile", str(tree / "Snakefile")], ["--directory", str(places[1])]
    for place, start, words in zip(places, (places[0], tree), given, strict=True):
        place.mkdir()
        done = snakemake(start, "--cores", "1", split, *words, "--configfile", str(tree / "config/smoke.yaml"))
        assert done.status == 0, done.text
    assert (places[0] / split).read_bytes() == (places[1] / split).read_bytes()
    assert not (tree / "results").exists()
    pointer = tree / "results/avatars64/denoiser.dvc"
    pointer.parent.mkdir(parents=True)
    pointer.touch()
    done = snakemake(places[0], "-n", *given[0])
    assert f"Run `make restore` in {tree}, add `--directory {tree}`" in done.text


# --- whole runs -----------------------------------------------------------------------------------------------------


def check_tables_and_figures(tree: Path) -> None:
    table = read_csv(tree / RESULTS / "tables/attributes.csv")
    config = smoke_config()
    assert config.attributes is not None
    assert set(table["attribute"]) == {target.label for target in config.attributes.targets}
    extractors = [extractor.name for extractor in config.evaluation.extractors]
    metrics = {metric.column(name) for metric in (*DISTANCES, *NEIGHBOURS) for name in extractors}
    assert set(table["metric"]) == metrics and len(extractors) == 3, "only Inception's may be FID"
    assert set(table["method"]) == set(config.attributes.methods)
    assert (read_csv(tree / RESULTS / "tables/semantic.csv")["n"] == config.splits["controls"]).all()
    assert (tree / RESULTS / "tables/attributes.csv").read_bytes() == (
        tree / "results/tables/celeba_fid.csv"
    ).read_bytes()
    for path in (tree / RESULTS / "figures").glob("*.png"):
        with Image.open(path) as image:
            assert image.convert("L").getextrema()[0] < 200, f"{path.name} is blank"
    assert not [path for path in (tree / "results").rglob(".*") if path.is_file()], "temporary files"
    assert not list((tree / "results").rglob("*.pt")), "nothing that can execute"


def check_edits_reach_what_depends_on_them(tree: Path) -> None:
    library = tree / "workflow" / "scripts" / "fewshot_diffusion"
    with (library / "errors.py").open("a") as file:
        file.write("\n# a comment\n")
    assert "Nothing to be done" in snakemake(tree, "-n", *SMOKE).text
    distances = library / "metrics" / "distances.py"
    before = distances.read_text()
    distances.write_text(before.replace("- 2 * overlap", "- 2.1 * overlap"))
    stale = {rule for rule, jobs in planned_jobs(snakemake(tree, "-n", *SMOKE).text).items() if rule != "all"}
    distances.write_text(before)
    assert "evaluate_attributes" in stale
    figures = {"draw_attributes_figure", "draw_attributes_cost_figure", "draw_sheet"}  # they say the n of the tables
    tables = {name for what in ("attributes", "distribution") for name in (f"evaluate_{what}", f"make_{what}_table")}
    assert stale <= {*tables, "evaluate_baselines", "celeba_fid", "attributes", *figures}, stale


@pytest.mark.slow
def test_a_whole_run(smoke_run: Callable[[], Path]) -> None:
    """One test of many steps: they share a run, and a later step finds what an earlier one left."""
    tree = smoke_run()
    check_tables_and_figures(tree)
    again = snakemake(tree, "--cores", "2", *SMOKE)
    assert again.status == 0
    assert "Nothing to be done" in again.text, again.text
    check_edits_reach_what_depends_on_them(tree)
    check_report(tree)
    check_crate(tree)


@pytest.mark.slow
def test_a_damaged_shard_is_not_used_in_silence(smoke_run: Callable[[], Path], tree: Path) -> None:
    copy_products(smoke_run(), tree)
    shard = f"{RESULTS}/attributes/samples/exact/Blond/1-of-1.parquet"
    data = bytearray((tree / shard).read_bytes())
    data[len(data) // 2] ^= 4
    (tree / shard).write_bytes(data)
    descriptions = tree / RESULTS / "attributes/descriptions"
    shutil.rmtree(descriptions)
    done = snakemake(tree, "--cores", "2", *SMOKE)
    assert done.status != 0
    assert f"error: {shard}" in done.text
    assert not (descriptions / "exact" / "Blond.safetensors").exists()


def text_of(body: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]+>", "", body)).split())


def variable(report: str, name: str) -> Any:
    """Return one of the values that a report's page shows."""
    found = re.search(rf'<script id="[\w-]+">\s+var {name} = (.+);\n', report)
    assert found, name
    return json.loads(found[1])


def check_report(tree: Path) -> None:
    """Every table and figure is in it, byte for byte, with a caption that names its data set or its numbers."""
    done = snakemake(tree, "--report", "report.html", *SMOKE, "--", *TARGETS)
    assert done.status == 0, done.text
    report = (tree / "report.html").read_text()
    about, results = (variable(report, name) for name in ("workflow_desc", "results"))
    made = [*tree.glob(f"{RESULTS}/tables/*.csv"), *tree.glob(f"{RESULTS}/figures/*.png")]
    assert {str(path.relative_to(tree)) for path in made if "sweep" not in path.name} <= results.keys()
    for name, shown in results.items():
        assert len(text_of(shown["caption"])) > 40, name
        assert "{{" not in shown["caption"], name
        assert base64.b64decode(shown["data_uri"].partition("base64,")[2]) == (tree / name).read_bytes(), name
    config = smoke_config()
    assert f"{config.data.image_size} x {config.data.image_size} pixels" in text_of(about)
    assert f"DDIM with {config.sampling.num_inference_steps} steps" in text_of(about)


def check_crate(tree: Path) -> None:
    """Every table and figure of the run is in it, byte for byte, as the report describes it; and the workflow runs."""
    done = snakemake(tree, "--cores", "1", *SMOKE, "--", "crate")
    assert done.status == 0, done.text
    packed = tree / RESULTS / "crate.zip"
    crate = ROCrate(packed)
    assert crate.mainEntity.id == "Snakefile"
    made = [*tree.glob(f"{RESULTS}/tables/*.csv"), *tree.glob(f"{RESULTS}/figures/*.p*")]
    for path in made:
        if not re.search("sweep|labels|filters", path.name):  # targets of their own
            entity = crate.get(str(path.relative_to(tree)))
            assert entity["sha256"] == sha256(path), path
            assert len(entity["description"]) > 40 and "{{" not in entity["description"], path
    unpacked = tree.with_name("unpacked")
    shutil.unpack_archive(packed, unpacked)
    again = snakemake(unpacked, "-n", *SMOKE, "--", f"{RESULTS}/tables/masks.csv")
    assert again.status == 0, again.text
