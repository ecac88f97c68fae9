"""What is committed under results/ agrees with the configuration and with the README."""

from pathlib import Path

import pytest
import yaml
from snakemake.utils import update_config

from fewshot_diffusion.attributes.evaluation import ACCURACY_COLUMNS, TABLE_COLUMNS
from fewshot_diffusion.classes.table import TABLE_COLUMNS as CLASS_COLUMNS
from fewshot_diffusion.config.model import Config, load_config
from fewshot_diffusion.masks.evaluation import MASK_COLUMNS
from fewshot_diffusion.storage.tables import read_csv
from fewshot_diffusion.tooling.readme import replace_section, results_section
from fewshot_diffusion.tooling.sections import augmentation_section, mask_section

ROOT = Path(__file__).parents[2]
TABLES = ROOT / "results" / "tables"
SETS = {
    "results": ("config/config.yaml", "celeba_fid.csv", "attribute_accuracy.csv", "guidance_sweep.csv"),
    "faces": ("config/celebahq.yaml", "celebahq32_fid.csv", "celebahq32_accuracy.csv", "celebahq32_sweep.csv"),
}


@pytest.mark.parametrize("section", SETS)
def test_the_readme_shows_the_committed_tables(section: str) -> None:
    _, table, accuracy, _ = SETS[section]
    content = results_section(read_csv(TABLES / table), read_csv(TABLES / accuracy))
    readme = (ROOT / "README.md").read_text()
    assert replace_section(readme, section, content) == readme, "run `make docs`"


@pytest.mark.parametrize("section", SETS)
def test_guidance_scales_are_those_that_the_sweep_chose(section: str) -> None:
    config, _, _, sweep = SETS[section]
    chosen = read_csv(TABLES / sweep).query("chosen").set_index(["attribute", "mode"])["guidance_scale"]
    targets = yaml.safe_load((ROOT / config).read_text())["targets"]
    configured = {(t["label"], mode): scale for t in targets for mode, scale in t["guidance_scale"].items()}
    assert configured == chosen.to_dict()


@pytest.mark.parametrize("section", SETS)
def test_tables_hold_every_row_with_floor_interval_and_cost(section: str) -> None:
    config, table, accuracy, _ = SETS[section]
    frame, shares = read_csv(TABLES / table), read_csv(TABLES / accuracy)
    assert list(frame.columns) == TABLE_COLUMNS
    assert list(shares.columns) == ACCURACY_COLUMNS
    measured = frame[frame["kind"] != "published"]
    labels = {target["label"] for target in yaml.safe_load((ROOT / config).read_text())["targets"]}
    methods = {"naive", "unguided", "ddim_i", "ours_exact", "ours_readout"}
    for _, rows in measured.groupby("metric"):
        assert set(zip(rows["attribute"], rows["method"], strict=True)) == {(a, m) for a in labels for m in methods}
    assert (measured["ci_low"] <= measured["value"]).all()
    assert (measured["value"] <= measured["ci_high"]).all()
    assert measured[["floor", "n", "judge_accuracy", "forwards_per_sample"]].notna().all(axis=None)
    assert (frame["kind"] == "published").any()


MASK_METHODS = ("unguided", "clean_image", "ours_exact", "ours_readout")
MASKS = {
    "masks": ("config/config.yaml", "segmentation.csv", "mask_guidance_sweep.csv"),
    "face_masks": ("config/celebamask.yaml", "celebamask64_segmentation.csv", "celebamask64_mask_sweep.csv"),
}


def masks_config(overlay: str) -> Config:
    merged = yaml.safe_load((ROOT / "config/config.yaml").read_text())
    update_config(merged, yaml.safe_load((ROOT / overlay).read_text()))
    return load_config(merged)


@pytest.mark.parametrize("section", MASKS)
def test_mask_guidance_scales_are_those_that_the_sweep_chose(section: str) -> None:
    overlay, _, sweep = MASKS[section]
    frame, masks = read_csv(TABLES / sweep), masks_config(overlay).segmentation
    assert set(frame["guidance_scale"]) == set(masks.guidance_scales)
    best = frame.groupby("method")["tuning_miou"].transform("max")
    enough = frame[frame["tuning_miou"] >= best - masks.tolerance]
    chosen = enough.groupby("method")["guidance_scale"].min().to_dict()
    assert masks.presets[masks.preset].guidance_scale.model_dump() == chosen
    assert frame.query("chosen").set_index("method")["guidance_scale"].to_dict() == chosen


@pytest.mark.parametrize("section", MASKS)
def test_mask_tables_hold_every_method_and_their_seeds_were_never_tuned_on(section: str) -> None:
    overlay, table, sweep = MASKS[section]
    config = masks_config(overlay)
    frame, masks = read_csv(TABLES / table), config.segmentation
    assert list(frame.columns) == MASK_COLUMNS
    compared = {(preset, method) for preset in masks.presets for method in MASK_METHODS}
    compared |= {(masks.preset, "controlnet")}
    shots = frame[frame["shots"].isin([0, masks.shots])]
    assert set(zip(shots["preset"], shots["method"], strict=True)) == compared
    assert (frame["n"] == masks.masks * masks.seeds_per_mask).all()
    last = frame["seeds"].str.extract(r"-(\d+)")[0].astype(int).max()
    assert last < read_csv(TABLES / sweep)["seeds"].str.extract(r"^(\d+)")[0].astype(int).min()


@pytest.mark.parametrize("section", MASKS)
def test_the_readme_shows_the_committed_mask_tables(section: str) -> None:
    content = mask_section(read_csv(TABLES / MASKS[section][1]))
    readme = (ROOT / "README.md").read_text()
    assert replace_section(readme, section, content) == readme, "run `make docs`"


def test_the_classes_tables_hold_every_cell_and_stand_in_the_readme() -> None:
    classes = load_config(yaml.safe_load((ROOT / "config/config.yaml").read_text())).classification
    table, acceptance = read_csv(TABLES / "tiny_imagenet_accuracy.csv"), read_csv(TABLES / "acceptance.csv")
    assert list(table.columns) == CLASS_COLUMNS
    ours = table[table["kind"] != "published"]
    cells = set(zip(ours["architecture"], ours["mixup_cutmix"], ours["generated_ratio"], ours["control"], strict=True))
    controls = {"matched_updates": 0, "unfiltered": classes.max_ratio, "generated_only": classes.max_ratio}
    expected = {
        (r.name, mixed, k, "none")
        for r in classes.architectures
        for k in classes.generated_ratios
        for mixed in (True, False)
    }
    expected |= {(r.name, False, k, name) for r in classes.architectures if r.controls for name, k in controls.items()}
    assert cells == expected
    assert len(table[table["kind"] == "published"]) == 24
    seeds = {recipe.name: " ".join(map(str, recipe.seeds)) for recipe in classes.architectures}
    assert (ours["seeds"].astype(str) == ours["architecture"].map(seeds)).all()
    assert (acceptance["n_accepted"][:-1] >= classes.train_per_class * classes.max_ratio).all()
    assert acceptance["threshold"].unique().tolist() == [classes.rejection.threshold]
    readme = (ROOT / "README.md").read_text()
    assert replace_section(readme, "classes", augmentation_section(table, acceptance)) == readme, "run `make docs`"


def test_reported_seeds_were_never_tuned_on() -> None:
    for _, table, _, sweep in SETS.values():
        reported = read_csv(TABLES / table).query("method.str.startswith('ours') and kind != 'published'")["seeds"]
        tuned = read_csv(TABLES / sweep)["seeds"]
        assert reported.str.extract(r"-(\d+)")[0].astype(int).max() < tuned.str.extract(r"^(\d+)")[0].astype(int).min()
