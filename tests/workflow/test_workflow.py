"""The workflow as users run it: checks and dry runs of every configuration, and a whole run on tiny images.

Everything happens in copies of the tree, so that no run here touches results, metadata or locks of the real one.
"""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image

import determinism
from fewshot_diffusion.csv_files import read_csv
from support import BIN, ROOT, SMOKE, copy_products, copy_tree, overlay, planned_jobs, snakemake

OVERLAYS = sorted(path.name for path in (ROOT / "config").glob("*.yaml") if path.name != "config.yaml")
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


def check_report(tree: Path) -> None:
    done = snakemake(tree, "--report", "report.html", *SMOKE)
    assert done.status == 0, done.text
    report = (tree / "report.html").read_text()
    assert "smoke_fid.csv" in report
    assert "smoke_attributes.png" in report


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
    check_report(tree)
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


@pytest.mark.slow
def test_two_ways_give_the_same_products(capsys: pytest.CaptureFixture[str]) -> None:
    """Every target; all thirteen ways are `make determinism`."""
    plain = determinism.WAYS[0]
    variables = {"PYTHONHASHSEED": "7", "LC_ALL": "C", "TZ": "Asia/Tokyo"}
    other = determinism.Way("all else changed", 1, 3, (("table2",), ("all", "segmentation")), "a b", ".", variables)
    with capsys.disabled():
        table = determinism.compare([plain, other])
    assert table["equal"].all()
    assert table["sha256"].nunique() == 1
    assert (table["products"] > 150).all()
