"""What is committed under results/ agrees with the configuration, with the README and with docs/results.md."""

import io
from pathlib import Path

import pandas as pd
import pytest
import yaml
from snakemake.utils import update_config

from fewshot_diffusion.config.claims import load_claims
from fewshot_diffusion.config.model import Config, load_config
from fewshot_diffusion.storage.tables import read_csv
from fewshot_diffusion.tooling.claim_rows import claim_table
from fewshot_diffusion.tooling.data_sets import data_sets
from fewshot_diffusion.tooling.readme import replace_section
from fewshot_diffusion.tooling.results_page import costs, overview, results_page
from support import ROOT

RESULTS = ROOT / "results"
ATTRIBUTES = {"avatars64": "config.yaml", "celebahq32": "celebahq.yaml"}
MASKS = {"avatars64": "config.yaml", "celebamask64": "celebamask.yaml", "avatars64_latent": "latent.yaml"}


def table(data_set: str, name: str) -> pd.DataFrame:
    path = RESULTS / data_set / "tables" / f"{name}.csv"
    if not path.exists():
        pytest.skip(f"{path.relative_to(ROOT)} was not computed yet")
    return read_csv(path)


def config_of(overlay: str) -> Config:
    merged = yaml.safe_load((ROOT / "config/config.yaml").read_text())
    update_config(merged, yaml.safe_load((ROOT / "config" / overlay).read_text()))
    return load_config(merged)


def first_seed(seeds: pd.Series) -> int:
    return int(seeds.str.extract(r"^(\d+)")[0].astype(int).min())


def last_seed(seeds: pd.Series) -> int:
    return int(seeds.str.extract(r"-(\d+)")[0].astype(int).max())


def test_readme_and_page_show_the_committed_tables() -> None:
    table("avatars64", "classes")
    readme = (ROOT / "README.md").read_text()
    shown = replace_section(readme, "overview", overview(RESULTS, ROOT / "config/published.csv"))
    listed = data_sets(RESULTS, ROOT / "config", ROOT / "config/paper.yaml")
    shown = replace_section(shown, "data-sets", listed)
    shown = replace_section(shown, "costs", costs(RESULTS / "benchmarks.csv", ROOT / "workflow/rules"))
    assert shown == readme, "run `make docs`"
    assert (ROOT / "docs/results.md").read_text() == results_page(RESULTS), "run `make docs`"


def test_every_claim_stands_in_the_table_as_its_cell_says() -> None:
    committed = read_csv(RESULTS / "tables/claims.csv")
    claims = load_claims(ROOT / "config/claims.yaml")
    fresh = claim_table(claims, RESULTS, ROOT / "config/published.csv")
    again = pd.read_csv(io.StringIO(fresh.to_csv(index=False, float_format="%.6g")))
    pd.testing.assert_frame_equal(committed, again, check_dtype=False)
    for row in committed[committed["file"].notna()].to_dict("records"):
        where, column = row["cell"].split("; ")
        frame = read_csv(ROOT / row["file"])
        frame = frame[frame["kind"] != "published"] if "kind" in frame else frame
        for condition in where.split(", "):
            name, wanted = condition.split(" ", 1)
            cells = frame[name].map(lambda cell: f"{cell:g}" if isinstance(cell, float) else str(cell))
            frame = frame[cells == wanted]
        assert frame[column].tolist() == [row["ours"]], row


def test_runs_of_the_demo_and_of_tests_are_not_listed(tmp_path: Path) -> None:
    """`make test` after `make demo`, the README's two commands, finds the README as it was."""
    for name in ("mine", "mine-demo", "smoke_1"):
        (tmp_path / name / "tables").mkdir(parents=True)
        pd.DataFrame({"n": [7], "kind": ["scaled-down"]}).to_csv(tmp_path / name / "tables/masks.csv")
    listed = data_sets(tmp_path, ROOT / "config", ROOT / "config/paper.yaml")
    assert [line for line in listed.splitlines() if "scaled-down" in line] == ["| mine |  | n = 7 |  | scaled-down |"]


def test_the_table_that_the_paper_s_commands_name_is_the_default_s() -> None:
    table("avatars64", "attributes")
    both = [RESULTS / "tables/celeba_fid.csv", RESULTS / "avatars64/tables/attributes.csv"]
    assert both[0].read_bytes() == both[1].read_bytes()


@pytest.mark.parametrize("data_set", ATTRIBUTES)
def test_attribute_scales_are_those_that_the_sweep_chose_on_other_seeds(data_set: str) -> None:
    settings = config_of(ATTRIBUTES[data_set]).attributes
    assert settings is not None
    sweep, rows = table(data_set, "attributes_sweep"), table(data_set, "attributes")
    chosen = sweep.query("chosen").set_index(["attribute", "mode"])["guidance_scale"].to_dict()
    configured = {
        (target.label, mode): scale
        for target in settings.targets
        for mode, scale in target.guidance_scale.model_dump().items()
        if mode in settings.modes or (mode == "distribution" and target.share)
    }
    assert configured == chosen
    ours = rows[(rows["kind"] != "published") & rows["method"].isin(settings.modes)]
    assert last_seed(ours["seeds"]) < first_seed(sweep["seeds"])


@pytest.mark.parametrize("data_set", ATTRIBUTES)
def test_attribute_tables_hold_every_row_with_floor_and_interval(data_set: str) -> None:
    settings, frame = config_of(ATTRIBUTES[data_set]).attributes, table(data_set, "attributes")
    assert settings is not None
    measured = frame[frame["kind"] != "published"]
    expected = {(target.label, method) for target in settings.targets for method in settings.methods}
    for _, rows in measured.groupby("metric"):
        assert set(zip(rows["attribute"], rows["method"], strict=True)) == expected
    assert ((measured["ci_low"] <= measured["value"]) & (measured["value"] <= measured["ci_high"])).all()
    assert measured[["floor", "n", "judge_accuracy"]].notna().all(axis=None)
    assert (frame["kind"] == "published").any()


@pytest.mark.parametrize("data_set", MASKS)
def test_mask_scales_are_those_that_the_sweep_chose_on_other_seeds(data_set: str) -> None:
    masks, sweep, rows = config_of(MASKS[data_set]).masks, table(data_set, "masks_sweep"), table(data_set, "masks")
    assert masks is not None
    best = sweep.groupby("method")["tuning_miou"].transform("max")
    chosen = sweep[sweep["tuning_miou"] >= best - masks.sweep.tolerance].groupby("method")["guidance_scale"].min()
    scales = masks.presets[masks.preset].guidance_scale.model_dump(include=set(masks.guided))
    assert scales == chosen.to_dict()
    assert sweep.query("chosen").set_index("method")["guidance_scale"].to_dict() == chosen.to_dict()
    assert last_seed(rows["seeds"]) < first_seed(sweep["seeds"])


@pytest.mark.parametrize("data_set", MASKS)
def test_mask_tables_hold_every_method(data_set: str) -> None:
    masks, frame = config_of(MASKS[data_set]).masks, table(data_set, "masks")
    assert masks is not None
    main = frame[frame["shots"].isin([0, masks.shots]) & (frame["preset"] == masks.preset)]
    assert set(main["method"]) == set(masks.methods)
    assert (frame["n"] == masks.masks * masks.seeds_per_mask).all()


def test_the_table_of_classes_holds_every_cell() -> None:
    classes = config_of("config.yaml").classes
    assert classes is not None
    rows, acceptance = table("avatars64", "classes"), table("avatars64", "classes_acceptance")
    ours = rows[rows["kind"] != "published"]
    plain = {
        (r.name, mixed, k) for r in classes.architectures for k in classes.generated_ratios for mixed in (True, False)
    }
    cells = ours[ours["control"] == "none"]
    assert set(zip(cells["architecture"], cells["mixup_cutmix"], cells["generated_ratio"], strict=True)) == plain
    controlled = {recipe.name for recipe in classes.architectures if recipe.controls}
    assert set(ours.loc[ours["control"] != "none", "architecture"]) == controlled
    seeds = {recipe.name: " ".join(map(str, recipe.seeds)) for recipe in classes.architectures}
    assert (ours["seeds"].astype(str) == ours["architecture"].map(seeds)).all()
    assert (acceptance["n_accepted"][:-1] >= classes.train_per_class * classes.max_ratio).all()
    assert acceptance["threshold"].unique().tolist() == [classes.filter.threshold]
