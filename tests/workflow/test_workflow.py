"""The workflow as users run it: checks and dry runs of every configuration, and a whole run on tiny images.

Everything happens in copies of the tree, so that no run here touches results, metadata or locks of the real one.
"""

import base64
import html
import json
import re
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import determinism
from fewshot_diffusion.storage.tables import read_csv
from fewshot_diffusion.tooling.benchmarks import planned_steps
from support import BIN, ROOT, SMOKE, copy_products, copy_tree, overlay, planned_jobs, smoke_config, snakemake

OVERLAYS = sorted(path.name for path in (ROOT / "config").glob("*.yaml") if path.name != "config.yaml")
MODES = ("exact", "readout")
METHODS = {"naive", "unguided", "ddim_i", "ours_exact", "ours_readout"}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return copy_tree(tmp_path / "tree")


# --- without running a job ------------------------------------------------------------------------------------------


def test_snakemake_finds_nothing_to_complain_about(tree: Path) -> None:
    done = snakemake(tree, "--lint")
    assert done.status == 0, done.text


def test_rules_are_formatted() -> None:
    done = subprocess.run(
        [str(BIN / "snakefmt"), "--check", "Snakefile", "workflow/rules"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_default_is_planned(tree: Path) -> None:
    weights = ROOT / "weights" / "avatars64"
    arguments = ["-n"]
    if (weights / "diffusion_pytorch_model.safetensors").is_file():
        shutil.copytree(weights, tree / "weights" / "avatars64", dirs_exist_ok=True)
    else:  # a fresh clone, before `make restore`
        arguments += ["--configfile", overlay(tree, "train.yaml", denoiser={"source": "train"})]
    done = snakemake(tree, *arguments)
    assert done.status == 0, done.text
    jobs = planned_jobs(done.text)
    assert jobs["evaluate"] == 4
    assert jobs["sample_guided"] == 8
    assert jobs["make_tables"] == 1
    assert ("install_denoiser" in jobs) != ("train_denoiser" in jobs)


def test_missing_weights_are_named(tree: Path) -> None:
    """Also where the committed tables, of another data set, are all that was asked for."""
    for name in ("tables", "figures"):
        shutil.copytree(ROOT / "results" / name, tree / "results" / name)
    absent = {"name": "absent"}
    done = snakemake(tree, "-n", "--configfile", overlay(tree, "absent.yaml", data=absent, denoiser={"source": "dvc"}))
    assert done.status != 0
    assert "weights/absent/diffusion_pytorch_model.safetensors" in done.text


PLANS = {  # configuration files -> a target, and jobs that it must plan
    ("smoke.yaml",): ("all", {"train_denoiser": 1, "evaluate": 2}),
    ("train.yaml",): ("segmentation", {"train_denoiser": 1, "train_segmenter": 1, "train_controlnet": 3}),
    ("celebahq.yaml",): ("all", {"train_denoiser": 1, "evaluate": 4}),
    ("celebahq.yaml", "celebahq64.yaml"): ("all", {"train_denoiser": 1, "evaluate": 4}),
    ("celebamask.yaml",): ("segmentation", {"train_segmenter": 1, "train_controlnet": 1, "evaluate_masks": 9}),
    ("tinyimagenet20.yaml",): ("table2", {"train_denoiser": 1, "train_cell": 27}),
}


def test_every_overlay_has_a_plan() -> None:
    assert {name for names in PLANS for name in names} == set(OVERLAYS)


@pytest.mark.parametrize("names", PLANS, ids=" ".join)
def test_every_overlay_is_planned(tree: Path, names: tuple[str, ...]) -> None:
    """Data folders are needed when jobs run, not before; a denoiser of one's own must be there."""
    own = tree / "results" / "celebahq64" / "denoiser"
    if names == ("celebamask.yaml",):
        own.mkdir(parents=True)
        for file in ("config.json", "diffusion_pytorch_model.safetensors", "provenance.json"):
            (own / file).touch()
    target, expected = PLANS[names]
    done = snakemake(tree, "-n", target, "--configfile", *(f"config/{name}" for name in names))
    assert done.status == 0, done.text
    jobs = planned_jobs(done.text)
    assert {rule: jobs.get(rule) for rule in expected} == expected
    assert "score_sweep" not in jobs


@pytest.mark.parametrize(
    ("target", "rule"),
    [
        ("sweep", "score_sweep"),
        ("table1", "make_tables"),
        ("segmentation", "make_segmentation_table"),
        ("mask_sweep", "score_mask_sweep"),
        ("table2", "make_augmentation_table"),
        ("table2_first_architecture", "train_cell"),
    ],
)
def test_named_targets_are_planned(tree: Path, target: str, rule: str) -> None:
    done = snakemake(tree, "-n", target, *SMOKE)
    assert done.status == 0, done.text
    assert rule in planned_jobs(done.text)


@pytest.mark.parametrize(
    ("section", "value", "said"),
    [
        ("sampling", {"eat": 0.5}, ["sampling.eat"]),
        ("sampling", {"eta": 1.5}, ["sampling.eta", "less than or equal to 1", "found 1.5"]),
        ("tuning", {"first_seed": 3}, ["tuning.first_seed", "expected at least"]),
        ("jugde", {"epochs": 1}, ["jugde"]),
    ],
)
def test_a_mistake_stops_with_its_key_and_no_traceback(
    tree: Path, section: str, value: dict[str, object], said: list[str]
) -> None:
    done = snakemake(tree, "-n", *SMOKE, overlay(tree, "wrong.yaml", **{section: value}))
    assert done.status != 0
    for words in said:
        assert words in done.text
    assert "Traceback" not in done.text
    assert not (tree / "results").exists()


def benchmark_folders() -> dict[str, str]:
    """Return rule -> the folder or file, below that of the data set, where its benchmarks go."""
    text = "\n".join(path.read_text() for path in sorted((ROOT / "workflow" / "rules").glob("*.smk")))
    parts = re.split(r"^ *(?:use rule \w+ as|rule) (\w+)(?: with)?:$", text, flags=re.MULTILINE)
    rules = zip(parts[1::2], parts[2::2], strict=True)
    found = {rule: re.search(r'"benchmarks/\{\w+\}/(\w+)', body) for rule, body in rules}
    return {rule: folder[1] for rule, folder in found.items() if folder}


def test_an_estimate_counts_every_planned_job_that_has_a_benchmark(tree: Path) -> None:
    """`make estimate` reads what Snakemake prints for people."""
    done = snakemake(tree, "-n", "--nolock", *determinism.TARGETS, *SMOKE)
    assert done.status == 0, done.text
    expected: Counter[str] = Counter()
    for rule, jobs in planned_jobs(done.text).items():
        expected[benchmark_folders().get(rule, "")] += jobs
    del expected[""]  # jobs that have none
    assert len(expected) > 20
    steps = planned_steps(done.text)
    assert Counter(step.split("/")[0] for step in steps) == expected
    assert {"train_denoiser", "sample/unguided", "sample/exact", "train_cell/resnet18", "make_split"} <= set(steps)


def test_the_ways_are_what_is_promised() -> None:
    """Each asks for everything, and differs from the first in one thing."""
    first, *others = determinism.WAYS
    assert len({way.name for way in determinism.WAYS}) == 13
    for way in determinism.WAYS:
        assert sorted(target for command in way.commands for target in command) == sorted(determinism.TARGETS)
    changes = [
        {key: value for key, value in vars(way).items() if key != "name" and value != getattr(first, key)}
        for way in others
    ]
    assert (first.cores, first.shards, first.variables) == (2, 1, {})
    assert {"cores": 1} in changes
    assert [{"shards": shards} for shards in (2, 3, 5, 8)] == [change for change in changes if "shards" in change]
    assert {"commands": tuple((target,) for target in reversed(determinism.TARGETS))} in changes
    assert {"folder": "an other tree", "start_in": "an other tree"} in changes
    assert {"start_in": "."} in changes
    for variables in ({"LC_ALL": "C"}, {"TZ": "Asia/Tokyo"}, {"PYTHONHASHSEED": "0"}, {"PYTHONHASHSEED": "7"}):
        assert {"variables": variables} in changes


# --- whole runs -----------------------------------------------------------------------------------------------------


@contextmanager
def restored(folder: Path) -> Iterator[Path]:
    """Undo every edit of the Python files in a folder."""
    before = {path: path.read_bytes() for path in folder.rglob("*.py")}
    yield folder
    for path, content in before.items():
        path.write_bytes(content)


def comment(path: Path) -> None:
    with path.open("a") as file:
        file.write("\n# a comment\n")


def check_tables(tree: Path) -> None:
    table = read_csv(tree / "results" / "tables" / "smoke_fid.csv")
    assert list(table.columns) == [
        "data_set",
        "attribute",
        "method",
        "metric",
        "value",
        "ci_low",
        "ci_high",
        "floor",
        "n",
        "seeds",
        "judge_accuracy",
        "forwards_per_sample",
        "seconds_per_sample",
        "published",
        "kind",
    ]
    assert set(table["attribute"]) == {"Blond", "No beard"}
    assert set(table["metric"]) == {"fd_efficientnet_lite0", "kd_efficientnet_lite0"}, "only Inception's may be FID"
    assert set(table["method"]) == METHODS
    assert set(table["kind"]) == {"scaled-down"}
    assert set(table["data_set"]) == {"smoke"}
    assert len(table) == 2 * 2 * len(METHODS)
    full = table[table["method"] != "ddim_i"]
    assert (full["n"] == 4).all()
    assert full[["value", "floor", "judge_accuracy"]].notna().all(axis=None)
    guided = table[table["method"].str.startswith("ours")]
    assert (guided["forwards_per_sample"] > 2).all(), "guidance costs more than the two steps' forward passes"
    assert (table.loc[table["method"] == "unguided", "forwards_per_sample"] == 2).all()
    accuracy = read_csv(tree / "results" / "tables" / "smoke_accuracy.csv")
    assert set(accuracy["method"]) == {"real", *METHODS}
    assert accuracy["judge_accuracy"].dropna().between(0, 1).all()


def check_figures(tree: Path) -> None:
    figures = tree / "results" / "figures"
    names = {"smoke_attributes.png", "smoke_attributes.pdf"} | {
        f"smoke_sheet_{method}.png" for method in ("unguided", "exact", "readout")
    }
    assert {path.name for path in figures.glob("smoke_*")} == names
    for path in figures.glob("smoke_*.png"):
        with Image.open(path) as image:
            assert image.convert("L").getextrema()[0] < 200, f"{path.name} is blank"


def check_nothing_is_left_to_do(tree: Path) -> None:
    again = snakemake(tree, "--cores", "2", *SMOKE)
    assert again.status == 0
    assert "Nothing to be done" in again.text, again.text


def check_edits_reach_what_depends_on_them(tree: Path) -> None:
    library = tree / "workflow" / "scripts" / "fewshot_diffusion"
    with restored(library):
        comment(library / "sweep.py")
        assert "Nothing to be done" in snakemake(tree, "-n", *SMOKE).text
        comment(library / "figures.py")
        stale = planned_jobs(snakemake(tree, "-n", *SMOKE).text)
        drawing = {"draw_attributes_figure": 1, "draw_unguided_sheet": 1, "draw_guided_sheet": 2}
        assert {rule: jobs for rule, jobs in stale.items() if rule != "all"} == drawing
    with restored(library):
        comment(library / "rejection.py")
        rules = set(planned_jobs(snakemake(tree, "-n", *SMOKE).text))
        assert {"reject", "evaluate", "make_tables"} <= rules
        assert not rules & {"make_split", "train_denoiser", "sample_unguided", "sample_guided", "describe_guided"}


def check_sweep_of_one_class(tree: Path) -> None:
    done = snakemake(tree, "--cores", "2", "results/smoke/sweep/readout/Blond.csv", *SMOKE)
    assert done.status == 0, done.text
    rows = read_csv(tree / "results" / "smoke" / "sweep" / "readout" / "Blond.csv")
    assert rows["guidance_scale"].tolist() == [1, 3]
    assert rows["chosen"].sum() == 1
    assert set(rows["seeds"]) == {"100000-100003"}


@pytest.mark.slow
def test_a_whole_run(smoke_run: Callable[[], Path]) -> None:
    """One test of many steps: they share a run, and a later step finds what an earlier one left."""
    tree = smoke_run()
    check_tables(tree)
    check_figures(tree)
    assert not [path for path in (tree / "results").rglob(".*") if path.is_file()], "temporary files"
    assert not list((tree / "results").rglob("*.pt")), "nothing that can execute"
    check_nothing_is_left_to_do(tree)
    check_edits_reach_what_depends_on_them(tree)
    check_sweep_of_one_class(tree)


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-9] ^= 4
    path.write_bytes(data)


@pytest.mark.slow
def test_a_damaged_shard_is_not_used_in_silence(smoke_run: Callable[[], Path], tree: Path) -> None:
    copy_products(smoke_run(), tree)
    shard = tree / "results/smoke/samples/exact/Blond/1-of-1.safetensors"
    description = tree / "results/smoke/descriptions/samples/exact/Blond.safetensors"
    flip_a_bit(shard)
    description.unlink()
    done = snakemake(tree, "--cores", "2", *SMOKE)
    assert done.status != 0
    assert "results/smoke/samples/exact/Blond/1-of-1.safetensors: has digest" in done.text
    assert not description.exists()


def captions() -> dict[str, str]:
    """Return every table and figure -> what its caption says of it, with the numbers of the configuration."""
    config = smoke_config()
    outputs, shots = config.outputs, config.segmentation.shots
    tables = {
        outputs.fid_table: f"from {config.evaluation.samples} images each.* {config.evaluation.bootstrap} bootstrap",
        outputs.accuracy_table: f"trained on {config.data.splits.judge} labelled real images",
        outputs.segmentation_table: f"Samples that follow wanted masks, from {shots} image-mask pairs",
        outputs.augmentation_table: f"smoke: .* trained on {config.classification.train_per_class} real images of each",
        outputs.acceptance_table: f"a probability of at least {config.classification.rejection.threshold}",
        outputs.calibration_table: "Reliability of the rejection filter's head",
    }
    figures = {
        outputs.attributes_figure: "Columns: real images, then unguided and guided samples",
        outputs.segmentation_figure: f"First row: the wanted masks.* {shots} image-mask pairs",
        f"{outputs.segmentation_figure}_shots": f"chosen at {shots} pairs and kept for all",
        outputs.augmentation_figure: "the ratio of generated to real training images",
        **{f"{outputs.sheet_prefix}_{method}": f"Contact sheet, {method}:" for method in ("unguided", *MODES)},
    }
    return {f"results/tables/{name}.csv": said for name, said in tables.items()} | {
        f"results/figures/{name}.png": said for name, said in figures.items()
    }


def text_of(body: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]+>", "", body)).split())


def variable(report: str, name: str) -> Any:
    """Return one of the values that a report's page shows."""
    found = re.search(rf'<script id="[\w-]+">\s+var {name} = (.+);\n', report)
    assert found, name
    return json.loads(found[1])


def check_report(tree: Path, *configfiles: str) -> None:
    done = snakemake(tree, "--report", "report.html", *SMOKE, *configfiles, "--", *determinism.TARGETS)
    assert done.status == 0, done.text
    report = (tree / "report.html").read_text()
    about, results = (variable(report, name) for name in ("workflow_desc", "results"))
    made = [*tree.glob("results/tables/*.csv"), *tree.glob("results/figures/*.png")]
    assert results.keys() == captions().keys() == {str(path.relative_to(tree)) for path in made}
    for name, said in captions().items():
        assert re.search(said, text_of(results[name]["caption"])), f"{name}: {results[name]['caption']}"
        assert base64.b64decode(results[name]["data_uri"].partition("base64,")[2]) == (tree / name).read_bytes(), name
    config = smoke_config()
    assert f"{config.data.image_size} x {config.data.image_size} pixels" in text_of(about)
    assert f"heads from {config.head.positive_shots} + {config.head.negative_shots} labelled images" in text_of(about)
    assert f"DDIM with {config.sampling.num_inference_steps} steps" in text_of(about)


@pytest.mark.slow
def test_two_ways_give_the_same_products_and_the_report_holds_what_they_show() -> None:
    """Every target; all thirteen ways are `make determinism`."""
    variables = {"PYTHONHASHSEED": "7", "LC_ALL": "C", "TZ": "Asia/Tokyo"}
    other = determinism.Way("all else changed", 1, 3, (("table2",), ("all", "segmentation")), "a b", ".", variables)
    with tempfile.TemporaryDirectory() as name:  # a short one: a socket lies in it
        trees = [determinism.run(way, Path(name) / str(i)) for i, way in enumerate([determinism.WAYS[0], other])]
        first, second = (dict(determinism.products(tree)) for tree in trees)
        check_report(trees[0], "ways.yaml")
    assert first == second
    assert len(first) > 150
