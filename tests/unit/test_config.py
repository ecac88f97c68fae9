"""The configuration: every shipped file is valid, every mistake is named, the generated documents agree."""

import copy
import io
import json
import re
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from matplotlib.figure import Figure
from pydantic import ValidationError

import determinism
from fewshot_diffusion.config.checks import MAX_SHARDS
from fewshot_diffusion.config.evaluation import OutputsConfig
from fewshot_diffusion.config.model import Config, load_config
from fewshot_diffusion.config.sampling import SamplingConfig
from fewshot_diffusion.errors import ConfigError
from fewshot_diffusion.tooling.documentation import readme_text, schema_text

CONFIG = Path(__file__).resolve().parents[2] / "config"
OVERLAYS = sorted(path for path in CONFIG.glob("*.yaml") if path.name != "config.yaml")
KeyPath = tuple[str | int, ...]


def merged(base: Any, overlay: Any) -> Any:
    """Merge as Snakemake does: mappings recursively, everything else is replaced."""
    if not (isinstance(base, Mapping) and isinstance(overlay, Mapping)):
        return overlay
    return {**base, **{key: merged(base.get(key), value) for key, value in overlay.items()}}


def default() -> dict[str, Any]:
    return yaml.safe_load((CONFIG / "config.yaml").read_text())  # type: ignore[no-any-return]


def changed(path: KeyPath, value: Any) -> dict[str, Any]:
    """Return the default configuration with one value set."""
    raw = default()
    parent: Any = raw
    for key in path[:-1]:
        parent = parent[key]
    parent[path[-1]] = value
    return raw


def without(*path: str) -> dict[str, Any]:
    raw = default()
    parent = raw
    for key in path[:-1]:
        parent = parent[key]
    del parent[path[-1]]
    return raw


def refusal(raw: dict[str, Any]) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(raw)
    return str(caught.value)


# --- the shipped files ----------------------------------------------------------------------------------------------


def test_the_default_is_valid() -> None:
    assert load_config(default()).data.name == "avatars64"


@pytest.mark.parametrize("path", OVERLAYS, ids=lambda path: path.stem)
def test_every_overlay_is_valid(path: Path) -> None:
    raw = yaml.safe_load(path.read_text())
    config = load_config(merged(default(), raw))
    if path.stem != "train":  # which is about the default's own results
        assert config.data.name != "avatars64", "an overlay with the default's name would overwrite its results"


def test_the_ways_of_the_determinism_sweep_are_valid() -> None:
    smoke = merged(default(), yaml.safe_load((CONFIG / "smoke.yaml").read_text()))
    for shards in {way.shards for way in determinism.WAYS}:
        assert load_config(merged(smoke, determinism.overlay(shards))).sampling.shards_per_target == shards


def test_the_shipped_overlays_are_found() -> None:
    assert {"smoke", "celebahq"} <= {path.stem for path in OVERLAYS}


def test_result_names_of_overlays_differ() -> None:
    """Tables and figures of two configurations lie in one folder."""
    overlays = [yaml.safe_load(path.read_text()) for path in OVERLAYS]
    everything = [default(), *(merged(default(), raw) for raw in overlays if "data" in raw)]
    product = re.compile("_table$|_figure$|^sheet_prefix$")
    for key in filter(product.search, OutputsConfig.model_fields):
        names = [raw["outputs"][key] for raw in everything]
        assert len(set(names)) == len(names), key


POSTER = {
    "Male": {"ours": 15.34, "diffae": 11.52, "d2c": 13.44, "ddim_i": 29.03, "nvae": 41.07},
    "Female": {"ours": 9.94, "diffae": 7.29, "d2c": 9.51, "ddim_i": 15.17, "nvae": 16.57},
    "Blond": {"ours": 13.07, "diffae": 16.1, "d2c": 17.61, "ddim_i": 29.09, "nvae": 31.24},
    "Non-Blond": {"ours": 10.97, "diffae": 8.48, "d2c": 8.94, "ddim_i": 19.76, "nvae": 16.73},
}


def test_the_posters_numbers() -> None:
    frame = pd.read_csv(CONFIG / "published.csv")
    poster = frame[(frame["item"] == "table1") & (frame["source"] == "poster")]
    assert set(poster["data_set"]) == {"celeba-64"}
    assert set(poster["metric"]) == {"fid"}
    found = {row: dict(zip(part["method"], part["value"], strict=True)) for row, part in poster.groupby("row")}
    assert found == POSTER


def test_the_posters_augmentation_numbers() -> None:
    frame = pd.read_csv(CONFIG / "published.csv")
    table2 = frame[frame["item"] == "table2"].set_index("row")["value"]
    assert len(table2) == 24
    assert table2["resnet18;mixup_cutmix=no;generated_ratio=0"] == 52.24
    assert table2["resnext50;mixup_cutmix=yes;generated_ratio=3"] == 67.05


@pytest.mark.parametrize(("name", "text"), [("schema.json", schema_text), ("README.md", readme_text)])
def test_generated_documents_have_not_drifted(name: str, text: Any) -> None:
    assert (CONFIG / name).read_text() == text(), f"config/{name} is stale: write the documents again"


def test_the_schema_names_every_section() -> None:
    schema = json.loads(schema_text())
    assert set(schema["properties"]) == set(Config.model_fields)


# --- mistakes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        ("smapling",),
        ("data", "image_sizes"),
        ("data", "splits", "trian"),
        ("denoiser", "training", "learning_rates"),
        ("targets", 0, "colour"),
        ("targets", 1, "guidance_scale", "exakt"),
        ("sampling", "eat"),
        ("evaluation", "extractors", 0, "sha"),
        ("outputs", "fid_tabel"),
    ],
    ids=lambda path: ".".join(map(str, path)),
)
def test_a_mistyped_key_is_named(path: KeyPath) -> None:
    message = refusal(changed(path, 1))
    assert ".".join(map(str, path)) + ":" in message
    assert "not permitted" in message


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        (("data", "image_size"), 0, "greater than or equal to 8"),
        (("data", "image_size"), 60, "multiple of 8"),
        (("data", "image_size"), "big", "integer"),
        (("data", "splits", "train"), 0, "greater than 0"),
        (("data", "name"), "../up", "pattern"),
        (("data", "kind"), "faces", "'avatars', 'celebahq', 'folder' or 'image_folder'"),
        (("denoiser", "source"), "web", "'train', 'dvc' or 'folder'"),
        (("denoiser", "training", "decay_from"), 1.5, "less than or equal to 1"),
        (("denoiser", "training", "ema_decay"), 1, "less than 1"),
        (("denoiser", "training", "learning_rate"), -1e-3, "greater than 0"),
        (("denoiser", "architecture", "block_out_channels"), [32], "at least 2"),
        (("head", "feature_timestep"), 1000, "less than 1000"),
        (("head", "l2"), [], "at least 1"),
        (("head", "pool_size"), 9, "less than or equal to 8"),
        (("sampling", "eta"), -0.1, "greater than or equal to 0"),
        (("sampling", "eta"), float("nan"), "finite number"),
        (("sampling", "num_inference_steps"), 1001, "less than or equal to 1000"),
        (("sampling", "precision"), "float16", "'auto', 'float32' or 'bfloat16'"),
        (("head", "l2"), [float("inf")], "finite number"),
        (("targets", 0, "guidance_scale", "exact"), float("inf"), "finite number"),
        (("tuning", "tolerance"), 2, "less than or equal to 1"),
        (("evaluation", "bootstrap"), 3, "greater than or equal to 20"),
        (("evaluation", "extractors"), [], "at least 1"),
        (("targets",), [], "at least 1"),
        (("outputs", "kind"), "published", "'reproduced' or 'scaled-down'"),
    ],
    ids=str,
)
def test_a_value_out_of_range_is_named_with_the_range(path: KeyPath, value: Any, expected: str) -> None:
    message = refusal(changed(path, value))
    assert ".".join(map(str, path)) in message
    assert expected in message
    assert f"found {value[0]!r}" in message if path[-1] == "l2" and value else f"found {value!r}" in message


def test_every_mistake_is_reported_at_once() -> None:
    raw = changed(("sampling", "eta"), 2)
    raw["head"]["flip"] = "perhaps"
    message = refusal(raw)
    assert "sampling.eta" in message
    assert "head.flip" in message


@pytest.mark.parametrize("section", sorted(Config.model_fields))
def test_a_missing_section_is_named(section: str) -> None:
    message = refusal(without(section))
    assert f"{section}: Field required" in message


def test_a_target_of_an_unknown_attribute() -> None:
    message = refusal(changed(("targets", 2, "attribute"), "Glasses"))
    assert "targets.2.attribute: 'Glasses'" in message
    assert "expected one of Blond, Beard" in message


def test_two_targets_of_one_name() -> None:
    message = refusal(changed(("targets", 1, "name"), "Blond"))
    assert "targets" in message
    assert "expected each once" in message


def test_a_missing_source_section() -> None:
    message = refusal(changed(("data", "kind"), "celebahq"))
    assert "data" in message
    assert "expected a section data.celebahq" in message


def test_source_folder_without_a_folder() -> None:
    message = refusal(changed(("denoiser", "source"), "folder"))
    assert "denoiser" in message
    assert "expected the path of a weights folder" in message


def test_inception_without_its_file() -> None:
    message = refusal(changed(("evaluation", "extractors"), [{"kind": "inception"}]))
    assert "  evaluation.extractors.0.weights, evaluation.extractors.0.sha256: " in message


@pytest.mark.parametrize("first_seed", [0, 1199])
def test_tuning_seeds_that_overlap_the_reported_ones(first_seed: int) -> None:
    raw = changed(("tuning", "first_seed"), first_seed)
    raw["sampling"] |= {"unit_size": 50, "units_unguided": 24, "units_per_target": 4, "first_seed": 0}
    message = refusal(raw)
    assert f"tuning.first_seed: {first_seed} overlaps" in message
    assert "at least 1200" in message
    raw["tuning"]["first_seed"] = 1200
    load_config(raw)


def test_scales_that_would_share_a_file_name() -> None:
    message = refusal(changed(("tuning", "guidance_scales"), [3, 3.0000001]))
    assert "guidance_scales" in message
    assert "expected each once" in message


def test_more_images_evaluated_than_drawn() -> None:
    raw = changed(("evaluation", "samples"), 201)
    raw["sampling"] |= {"unit_size": 50, "units_per_target": 4}
    message = refusal(raw)
    assert "evaluation.samples: 201" in message
    assert "draws 200" in message
    assert "units_per_target" in message
    raw["evaluation"]["samples"] = 200
    load_config(raw)


def test_problems_of_several_sections_are_reported_at_once() -> None:
    raw = changed(("sampling", "shards_unguided"), 25)
    raw["evaluation"]["samples"] = 10**6
    raw["targets"][1]["attribute"] = "Glasses"
    keys = [line.split(": ")[0] for line in refusal(raw).splitlines()[1:]]
    assert keys == ["  targets.1.attribute", "  evaluation.samples", "  sampling.shards_unguided"]


@pytest.mark.parametrize(
    ("key", "written"), [("", "''"), ("a: b", "'a: b'"), ("a\nb", r"'a\nb'"), ("a.b", "'a.b'"), ("a-b_1", "a-b_1")]
)
def test_a_key_that_is_no_plain_word_is_quoted(key: str, written: str) -> None:
    assert f"\n  sampling.{written}: Extra inputs" in refusal(changed(("sampling", key), 1))


@pytest.mark.parametrize(
    ("shards", "units"), [("shards_per_target", "units_per_target"), ("shards_unguided", "units_unguided")]
)
def test_a_sampling_job_has_a_unit(shards: str, units: str) -> None:
    raw = changed(("sampling", units), 7)
    raw["sampling"][shards] = 8
    assert f"  sampling.{shards}: found 8, expected 1..7: the jobs share sampling.{units}" in refusal(raw)
    raw["sampling"][shards] = 7
    load_config(raw)


def test_a_generating_job_has_a_class() -> None:
    raw = changed(("classification", "sampling", "shards"), 61)  # 1,200 images, 20 of each class
    message = refusal(raw)
    assert "  classification.sampling.shards: found 61, expected 1..60: " in message
    assert "data.splits.class_train (1200)" in message
    raw["classification"]["sampling"]["shards"] = 60
    load_config(raw)


def test_jobs_are_no_more_than_snakemake_plans() -> None:
    """Without classes, too: the rules that share them are read all the same."""
    raw = changed(("tuning", "first_seed"), 10**9)
    raw["sampling"] |= {key: 10**5 for key in ("units_per_target", "units_unguided")}
    raw["data"]["avatars"]["classes"] = []
    places = [
        ("sampling.shards_per_target", raw["sampling"], "shards_per_target"),
        ("sampling.shards_unguided", raw["sampling"], "shards_unguided"),
        ("classification.sampling.shards", raw["classification"]["sampling"], "shards"),
    ]
    for key, section, name in places:
        for shards in (MAX_SHARDS + 1, 10**9):
            section[name] = shards
            assert f"  {key}: found {shards}, expected 1..{MAX_SHARDS}: Snakemake plans every job" in refusal(raw)
        section[name] = MAX_SHARDS
        load_config(raw)


TABLES = [key for key in OutputsConfig.model_fields if key.endswith("_table")]


@pytest.mark.parametrize(("one", "other"), list(pairwise([*TABLES, TABLES[0]])))
def test_two_tables_of_one_name(one: str, other: str) -> None:
    raw = changed(("outputs", one), "same")
    raw["outputs"][other] = "same"
    first, second = sorted((one, other), key=list(OutputsConfig.model_fields).index)
    assert f"  outputs.{first}, outputs.{second}: found 'same', expected two files: " in refusal(raw)


@pytest.mark.parametrize(
    ("names", "file"),
    [
        ({"attributes_figure": "x", "segmentation_figure": "x"}, "x"),
        ({"attributes_figure": "x", "augmentation_figure": "x"}, "x"),
        ({"segmentation_figure": "x", "augmentation_figure": "x"}, "x"),
        ({"attributes_figure": "x_shots", "segmentation_figure": "x"}, "x_shots"),
        ({"segmentation_figure": "x", "augmentation_figure": "x_shots"}, "x_shots"),
        (
            {"segmentation_figure": "x", "sheet_prefix": "x_shots", "augmentation_figure": "x_shots_exact"},
            "x_shots_exact",
        ),
        ({"attributes_figure": "x_unguided", "sheet_prefix": "x"}, "x_unguided"),
        ({"segmentation_figure": "x_readout", "sheet_prefix": "x"}, "x_readout"),
    ],
    ids=str,
)
def test_two_figures_of_one_file(names: dict[str, str], file: str) -> None:
    message = refusal(merged(default(), {"outputs": names}))
    assert f"both write results/figures/{file}.png" in message
    named = message.splitlines()[1].strip().split(": ")[0].split(", ")
    assert len(named) == 2
    assert set(named) <= {f"outputs.{key}" for key in names}


@pytest.mark.parametrize("name", ["tables", "figures"])
def test_a_data_set_may_not_be_called_like_the_folder_of_what_is_committed(name: str) -> None:
    assert f"data.name: found {name!r}" in refusal(changed(("data", "name"), name))


def test_a_table_may_be_called_like_a_figure() -> None:
    names = {"segmentation_table": "x", "segmentation_figure": "x", "fid_table": "x_shots", "sheet_prefix": "x"}
    assert load_config(merged(default(), {"outputs": names})).outputs.fid_table == "x_shots"


@pytest.mark.parametrize("bad", ["{data}", "a{", "}", "\0"])
@pytest.mark.parametrize(
    "path",
    [
        ("targets", 1, "label"),
        ("head", "taps", 0),
        ("outputs", "published"),
        ("outputs", "stands_for"),
        ("denoiser", "folder"),
        ("data", "avatars", "options", "scale"),
        ("data", "avatars", "classes", 1),
        ("data", "avatars", "attributes", "Beard", "beardVariant", 0),
        ("segmentation", "presets", "paper", "taps", 2),
        ("classification", "rejection", "tap"),
    ],
    ids=lambda path: ".".join(map(str, path)),
)
def test_braces_are_refused_wherever_a_text_reaches_a_rule(path: KeyPath, bad: str) -> None:
    key = ".".join(map(str, path))
    assert f"\n  {key}: found {f'x{bad}'!r}, expected no {{, }} " in refusal(changed(path, f"x{bad}"))


@pytest.mark.parametrize("kind", ["celebahq", "folder", "image_folder"])
def test_braces_in_paths_of_data_are_refused(kind: str) -> None:
    key, more = {
        "celebahq": ("folder", {"attributes": {"Blond": "x", "Beard": "y"}}),
        "folder": ("path", {"classes": ["a", "b"], "ids_file": "i", "attribute_file": "a"}),
        "image_folder": ("path", {}),
    }[kind]
    source = {key: "a{b}", "attributes": {"Blond": "x", "Beard": "y"}} | more
    raw = merged(default(), {"data": {kind: source}})
    assert f"\n  data.{kind}.{key}: found 'a{{b}}', expected no {{, }} " in refusal(raw)


def test_braces_in_a_key_are_refused() -> None:
    raw = changed(("data", "avatars", "options", "x{y}"), 1)
    assert "\n  data.avatars.options.'x{y}': found 'x{y}', expected no {, } " in refusal(raw)


@pytest.mark.parametrize(
    ("path", "value", "place"),
    [
        (("data", "avatars", "options", "scale"), b"\xff", ""),
        (("data", "avatars", "options", "scale"), [1, {"a": "\ud800"}], ".1.a"),
        (("data", "avatars", "options", "scale"), yaml.safe_load("&here [*here]"), ".0"),
        (("outputs", "stands_for"), "\ud800", ""),
        (("denoiser", "folder"), "\ud800", ""),
    ],
    ids=str,
)
def test_values_that_no_job_could_be_passed_are_named(path: KeyPath, value: object, place: str) -> None:
    """Bytes, half a character, and a list that holds itself: YAML has them all."""
    problem = refusal(changed(path, value)).splitlines()[1]
    assert problem.startswith(f"  {'.'.join(map(str, path))}{place}: found ")
    assert problem.endswith(", expected what JSON can hold")


@pytest.mark.parametrize("label", [r"$\foo$", "$$", "US$ or A$", "a$b$c$d"])
def test_labels_that_figures_would_read_as_formulas(label: str) -> None:
    message = refusal(changed(("targets", 3, "label"), label))
    assert f"\n  targets.3.label: found {label!r}, expected at most one $" in message


def test_a_label_may_hold_one_dollar_and_figures_draw_it() -> None:
    config = load_config(changed(("targets", 3, "label"), r"$\foo"))
    figure = Figure()
    figure.text(0, 0, config.targets[3].label)
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png")
    assert drawn.getvalue()


# --- what the sections offer ----------------------------------------------------------------------------------------


def test_splits_lie_one_behind_the_other() -> None:
    data = load_config(default()).data
    ranges = [data.split_range(name) for name in data.splits.model_dump()]
    assert ranges[0].start == 0
    assert all(one.stop == two.start for one, two in pairwise(ranges))
    assert [len(r) for r in ranges] == list(data.splits.model_dump().values())


def test_an_unknown_split_is_named() -> None:
    with pytest.raises(ConfigError, match=r"no split 'test'; it has train, shots"):
        load_config(default()).data.split_range("test")


def test_the_configuration_is_frozen() -> None:
    config = load_config(default())
    with pytest.raises(ValidationError, match="frozen"):
        config.sampling.eta = 1.0


def test_sections_survive_json() -> None:
    """Rules pass sections to scripts as JSON."""
    config = load_config(default())
    for name in Config.model_fields:
        section = getattr(config, name)
        if name != "targets":
            assert type(section).model_validate_json(section.model_dump_json()) == section


def test_the_identity_of_a_sample_leaves_out_how_many_and_by_how_many_jobs() -> None:
    raw = default()["sampling"]
    identity = SamplingConfig.model_validate(raw).identity()
    for key in ("units_per_target", "units_unguided", "shards_per_target", "shards_unguided"):
        assert SamplingConfig.model_validate({**raw, key: 7}).identity() == identity
    for key, value in {"eta": 0.5, "unit_size": 7, "num_inference_steps": 3, "clip_sample": False}.items():
        assert SamplingConfig.model_validate({**raw, key: value}).identity() != identity, key


def test_load_config_changes_nothing_in_its_argument() -> None:
    raw = default()
    before = copy.deepcopy(raw)
    load_config(raw)
    assert raw == before


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"generated_ratios": [1, 3]}, "expected 0 and at least one more"),
        ({"generated_ratios": [0]}, "expected 0 and at least one more"),
        ({"generated_ratios": [0, 1, 1]}, "expected each once"),
        ({"train_per_class": 1, "generated_ratios": [0, 1]}, "allows 8 samples of a class, expected at least"),
    ],
)
def test_cells_that_cannot_be_filled_are_refused(value: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load_config(merged(default(), {"classification": value}))


def test_flip_pairs_must_be_classes_of_the_masks() -> None:
    with pytest.raises(ConfigError, match=r"flip_pairs: found class id 9, expected 0\.\.6"):
        load_config(merged(default(), {"segmentation": {"head": {"flip_pairs": [[1, 9]]}}}))
