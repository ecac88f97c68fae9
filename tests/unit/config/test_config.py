"""The configuration: every shipped file is valid, every mistake is named, the generated documents agree."""

import copy
import io
import json
import re
from functools import reduce
from itertools import pairwise
from pathlib import Path
from typing import Any

import jsonschema
import pandas as pd
import pytest
import yaml
from matplotlib.figure import Figure
from pydantic import ValidationError
from snakemake.utils import update_config

from fewshot_diffusion.config.checks import MAX_SHARDS
from fewshot_diffusion.config.data import DatasetConfig
from fewshot_diffusion.config.model import SPLIT_ORDER, Config, load_config
from fewshot_diffusion.config.moved import MOVED
from fewshot_diffusion.errors import ConfigError
from fewshot_diffusion.tooling.documentation import readme_text, schema_text, write_documents

CONFIG = Path(__file__).resolve().parents[3] / "config"
OVERLAYS = sorted(
    path
    for path in [*CONFIG.glob("*.yaml"), *CONFIG.glob("paper/*.yaml")]
    if path.stem not in ("config", "artefacts", "claims")
)
DEFAULT: dict[str, Any] = yaml.safe_load((CONFIG / "config.yaml").read_text())
ARTEFACTS: dict[str, Any] = yaml.safe_load((CONFIG / "artefacts.yaml").read_text())
EXPERIMENTS = ("attributes", "masks", "classes")
NETWORK = {"name": "resnet18", "epochs": 1, "seeds": [0], "controls": False}
FACES = {"kind": "celebahq", "celebahq": {"folder": "x", "attributes": {"Blond": "a", "Beard": "b"}}}
PAIRS = {"kind": "mask_folder", "mask_folder": {"path": "x", "classes": ["back", "hair"]}}


def default(**overlay: object) -> dict[str, Any]:
    """Return the default configuration with an overlay, as Snakemake merges them."""
    raw = copy.deepcopy(DEFAULT)
    update_config(raw, copy.deepcopy(ARTEFACTS))
    update_config(raw, copy.deepcopy(overlay))
    return raw


def changed(key: str, value: object) -> dict[str, Any]:
    """Return the default configuration with the value at a dotted key replaced."""
    raw = default()
    *above, last = [int(part) if part.isdigit() else part for part in key.split(".")]
    parent: Any = raw
    for part in above:
        parent = parent[part]
    parent[last] = value
    return raw


def refusal(raw: dict[str, Any]) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(raw)
    return str(caught.value)


# --- the shipped files ----------------------------------------------------------------------------------------------


def test_the_default_is_valid_for_the_model_and_for_the_schema() -> None:
    assert load_config(default()).data.name == "avatars64"
    jsonschema.validate(default(), json.loads((CONFIG / "schema.json").read_text()))


def test_one_key_sets_the_batch_of_every_frozen_network_and_unset_keys_are_not_written() -> None:
    """Parameters of rules, and what stored products say of themselves, have the words that they had."""
    plain, raised = load_config(default()), load_config(changed("compute.feature_batch", 256))
    own = load_config(changed("evaluation.feature_batch", 8) | {"compute": {"feature_batch": 256}})
    sections = (raised.attributes.head, raised.masks.head, raised.classes.filter, raised.classes.sampling)
    assert {section.feature_batch for section in (*sections, raised.evaluation)} == {256}
    assert (own.evaluation.feature_batch, own.masks.head.feature_batch) == (8, 256)
    written = plain.model_dump_json(exclude={"compute"})
    assert not [key for key in ("feature_batch", "micro_batch", "compile") if f'"{key}"' in written]


@pytest.mark.parametrize("path", OVERLAYS, ids=lambda path: path.stem)
def test_every_overlay_is_valid(path: Path) -> None:
    config = load_config(default(**yaml.safe_load(path.read_text())))
    if path.stem != "train":  # which is about the default's own results
        assert config.data.name != "avatars64", "an overlay with the default's name would overwrite its results"


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
    table2 = frame[frame["item"] == "table2"].set_index("row")["value"]
    assert len(table2) == 24
    assert table2["resnet18;mixup_cutmix=no;generated_ratio=0"] == 52.24
    assert table2["resnext50;mixup_cutmix=yes;generated_ratio=3"] == 67.05


@pytest.mark.parametrize(("name", "text"), [("schema.json", schema_text), ("README.md", readme_text)])
def test_generated_documents_have_not_drifted(tmp_path: Path, name: str, text: Any) -> None:
    assert (CONFIG / name).read_text() == text(), f"config/{name} is stale: run `make docs`"
    write_documents(tmp_path)
    assert (tmp_path / name).read_text() == text()


def test_every_section_and_key_is_documented() -> None:
    assert set(json.loads(schema_text())["properties"]) == set(Config.model_fields)
    for heading in ("data.image_folder", "attributes.targets[].guidance_scale", "masks.presets", "classes.filter"):
        assert f"\n## {heading}\n" in readme_text()
    assert "| `eta` | float, >= 0, <= 1 | required |" in readme_text()


# --- mistakes within a section --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "key",
    ["smapling", "data.image_sizes", "data.splits.trian", "data.avatars.colour", "denoiser.training.learning_rates",
        "attributes.targets.0.colour", "attributes.targets.1.guidance_scale.exakt", "attributes.splits.judge",
        "sampling.eat", "evaluation.extractors.0.sha", "report.fid_tabel", "masks.presets.label_100.tap",
        "classes.filter.treshold"],
)  # fmt: skip
def test_a_mistyped_key_is_named(key: str) -> None:
    assert f"\n  {key}: there is no such key" in refusal(changed(key, 1))


@pytest.mark.parametrize(
    ("key", "said"), [("data.splits.trian", "; did you mean train?"), ("data.epochs", ", config/README.md lists all")]
)
def test_a_key_that_is_alike_is_suggested(key: str, said: str) -> None:
    assert f"\n  {key}: there is no such key{said} (found 1)" in refusal(changed(key, 1))


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("data.image_size", 60, "multiple of 8"),
        ("data.image_size", "big", "integer"),
        ("data.name", "../up", "pattern"),
        (
            "data.kind",
            "faces",
            "'avatars', 'celebahq', 'celebamask', 'mask_folder', 'parquet', 'image_folder' or 'folder'",
        ),
        ("denoiser.source", "dvc", "'train', 'store', 'folder', 'checkpoint' or 'latent'"),
        ("denoiser.architecture.block_out_channels", [32], "at least 2"),
        ("attributes.head.l2", [], "at least 1"),
        ("attributes.head.l2", [float("inf")], "finite number"),
        ("attributes.targets", [], "at least 1"),
        ("attributes.targets.0.guidance_scale.exact", float("inf"), "finite number"),
        ("attributes.methods", ["exact", "guessed"], "'direct', 'clean_image', 'clean_image_direct' or 'steering'"),
        ("masks.methods", ["exakt"], "'clean_image_direct', 'controlnet', 'diffae' or 'd2c'"),
        ("masks.source", "folder", "'train' or 'store'"),
        ("classes.architectures.0.name", "resnet99", "'resnet18', 'wide_resnet50_2' or 'resnext50_32x4d'"),
        ("sampling.eta", float("nan"), "finite number"),
        ("sampling.precision", "float16", "'auto', 'float32' or 'bfloat16'"),
        ("evaluation.extractors", [], "at least 1"),
        ("report.kind", "published", "'reproduced' or 'scaled-down'"),
    ],
)
def test_a_value_that_cannot_be_is_named_with_those_that_can(key: str, value: Any, expected: str) -> None:
    line = next(line for line in refusal(changed(key, value)).splitlines() if line.startswith(f"  {key}"))
    assert expected in line
    shown = value if not isinstance(value, list) or len(value) != 1 or key.endswith("channels") else value[0]
    assert repr(shown) in line or "'guessed'" in line


@pytest.mark.parametrize(
    ("key", "method", "scales", "sweep"),
    [
        ("attributes.methods", "direct", "attributes.targets.0.guidance_scale", "attributes_sweep"),
        ("attributes.methods", "clean_image", "attributes.targets.0.guidance_scale", "attributes_sweep"),
        ("masks.methods", "direct", "masks.presets.label_100.guidance_scale", "masks_sweep"),
        ("masks.methods", "clean_image_direct", "masks.presets.label_100.guidance_scale", "masks_sweep"),
    ],
)
def test_a_method_without_a_scale_is_refused(key: str, method: str, scales: str, sweep: str) -> None:
    raw, (section, methods) = changed(f"{scales}.{method}", None), key.split(".")
    raw[section][methods] = ["unguided", method]
    said = refusal(raw)
    expected = f"{scales}.{method}: found null, expected a number, since methods lists {method}; any serves `snakemake"
    assert f"\n  {expected} {sweep}`" in said


def test_a_scale_that_is_not_given_changes_no_identity() -> None:
    config = load_config(default())
    scales = [target.guidance_scale for target in config.attributes.targets]
    scales.append(config.masks.presets["released"].guidance_scale)
    assert not [found for found in scales if "direct" in found.model_dump_json()]
    assert "direct" in type(scales[0])(exact=1, readout=1, direct=3).model_dump_json()


def test_every_mistake_is_reported_at_once() -> None:
    raw = default(sampling={"eta": 2}, attributes={"head": {"flip": "perhaps"}})
    keys = [line.split(": ")[0].strip() for line in refusal(raw).splitlines()[1:]]
    assert keys == ["sampling.eta", "attributes.head.flip"]


@pytest.mark.parametrize(
    ("key", "written"), [("", "''"), ("a: b", "'a: b'"), ("a\nb", r"'a\nb'"), ("a.b", "'a.b'"), ("a-b_1", "a-b_1")]
)
def test_a_key_that_is_no_plain_word_is_quoted(key: str, written: str) -> None:
    assert f"\n  sampling.{written}: there is no such key" in refusal(default(sampling={key: 1}))


@pytest.mark.parametrize("key", MOVED)
def test_a_key_of_an_earlier_configuration_says_where_it_is_now(key: str) -> None:
    place: Any = {"x": 1}
    for part in reversed(key.split(".")):
        place = {part: place}
    assert refusal(default(**place)) == f"The configuration is not valid:\n  {key}: moved to {MOVED[key]}"
    *above, last = MOVED[key].split(";")[0].split(".")
    model: Any = Config
    for name in above:
        kinds = [model.model_fields[name].annotation, *getattr(model.model_fields[name].annotation, "__args__", ())]
        model = next(kind for kind in kinds if hasattr(kind, "model_fields"))
    assert last in model.model_fields


# --- what a section, or two, must agree on --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("overlay", "said"),
    [
        ({"data": {"kind": "celebahq"}}, "data.kind: found 'celebahq', expected a section data.celebahq, which"),
        ({"data": {"name": "tables"}}, "data.name: found 'tables', which is the folder of all data sets' tables"),
        ({"data": {"name": "figures"}}, "data.name: found 'figures', which is the folder of all data sets' figures"),
        ({"data": {"mask_folder": {"path": "x", "classes": ["a", "b"], "attributes": {"Man": "Male"}}}},
            "data.mask_folder.attributes: found some, expected ids_file and attribute_file"),
        ({"data": {"splits": {"train": 0}}, "denoiser": {"source": "train"}},
            "data.splits.train: found 0, expected images, since denoiser.source is train"),
        ({"data": {"splits": {"judge": 0}}}, "data.splits.judge: found 0, expected images"),
        ({"data": {"splits": {"tuning_judge": 0}}}, "data.splits.tuning_judge: found 0, expected images"),
        ({"data": {"splits": {"controls": 0}}, "masks": None}, "data.splits.controls: found 0, expected images"),
        ({"data": {**PAIRS, "splits": {"reference_of_all": True}}},
            "data.splits.reference_of_all: found true, expected false with an experiment masks"),
        ({"data": {"splits": {"reference": 0}}, "attributes": None}, "data.splits.reference: found 0"),
        ({"denoiser": {"source": "folder"}}, "denoiser.folder: denoiser.source is 'folder', expected the path of a"),
        ({"evaluation": {"samples": 7, "nearest_k": 5}},
            "evaluation.samples: found 7, expected at least 8, 3 more than nearest_k"),
        ({"evaluation": {"extractors": [{"kind": "inception"}]}},
            "evaluation.extractors.0.weights, evaluation.extractors.0.sha256: the inception extractor needs both"),
        ({"data": FACES, "evaluation": {"extractors": [{"kind": "semantic"}]}, "masks": None, "classes": None},
            "evaluation.extractors.0.kind: found semantic, expected another with data.kind celebahq: its network"),
        ({"evaluation": {"extractors": [{"kind": "semantic", "weights": "a"}]}},
            "evaluation.extractors.0.weights, evaluation.extractors.0.sha256: found a file for semantic, expected no"),
        ({"attributes": {"methods": ["exact", "exact"]}}, "attributes.methods: found ['exact', 'exact']"),
        ({"attributes": {"sweep": {"guidance_scales": [3, 3.0000001]}}}, "attributes.sweep.guidance_scales: found "),
        ({"attributes": {"sets": {"units_per_target": 4}}, "evaluation": {"samples": 201}},
            "evaluation.samples: 201 images are judged but sampling draws 200; raise"),
        ({"attributes": {"sweep": {"first_seed": 1199}}},
            "attributes.sweep.first_seed: 1199 overlaps the reported seeds; expected at least 1200"),
        ({"attributes": {"sets": {"shards_per_target": 5}}},
            "attributes.sets.shards_per_target: found 5, expected 1..4: the jobs share the work units"),
        ({"attributes": {"sets": {"shards_unguided": 25}}}, "attributes.sets.shards_unguided: found 25, expected 1.."),
        ({"attributes": {"methods": ["unguided", "diffae"]}, "baselines": None},
            "baselines.diffae: found null, expected a recipe, since attributes.methods has diffae"),
        ({"attributes": {"methods": ["unguided", "d2c"]}, "baselines": {"candidate_units": 3}},
            "baselines.candidate_units: found 3, expected at least 4: a classifier chooses"),
        ({"masks": {"methods": ["unguided", "diffae"], "presets": {"label_100": {"guidance_scale": {"diffae": None}}}}},
            "masks.presets.label_100.guidance_scale.diffae: found null, expected a number, since methods lists diffae"),
        ({"masks": {"methods": ["d2c"], "presets": {"label_100": {"guidance_scale": {"d2c": 1}}}}, "baselines": None,
            "attributes": {"methods": ["unguided"]}},
            "baselines.d2c: found null, expected a recipe, since masks.methods has d2c"),
        ({"masks": {"methods": ["unguided", "hierarchical_vae"]}}, "masks.methods.1: Input should be 'unguided',"),
        ({"baselines": {"training": {"timestep_power": 2}}}, "baselines.training.timestep_power: expected 1"),
        ({"masks": {"preset": "typo"}}, "masks.preset: found 'typo', expected one of released, label_500, label_100"),
        ({"masks": {"methods": ["exact", "exact"]}}, "masks.methods: found ['exact', 'exact'], expected"),
        ({"masks": {"controlnet": {"random_flip": True}}}, "masks.controlnet.random_flip: found true, expected false"),
        ({"masks": {"sweep": {"first_seed": 100001}}},
            "masks.sweep.first_seed: found 100001, expected a multiple of sweep.masks (24)"),
        ({"masks": {"sweep": {"first_seed": 72}}},
            "masks.sweep.first_seed: 72 overlaps the reported seeds; expected at least 80"),
        ({"sampling": {"first_seed": 7}}, "sampling.first_seed: 7 shows mask 7 first; expected a multiple of masks"),
        ({"masks": {"masks": 1001}}, "masks.masks: 1001 are asked for, the split controls has 1000 images"),
        ({"masks": {"sweep": {"masks": 4167}}}, "masks.sweep.masks: 4167 are asked for, the split reference has 4000"),
        ({"masks": {"controlnet_curve": [2001]}}, "masks.shots: 2001 are asked for, the split pairs has 2000"),
        ({"masks": {"head": {"flip_pairs": [[1, 9]]}}}, "masks.head.flip_pairs: found class id 9, expected 0..6"),
        ({"data": FACES}, "masks: found a section, expected null: data.kind celebahq has no masks"),
        ({"data": {"avatars": {"parts": None}}}, "data.avatars.parts: Input should be a valid dictionary"),
        ({"data": PAIRS}, "classes: found a section, expected null: data.kind mask_folder has no classes"),
        ({"data": {"avatars": {"classes": []}}}, "classes: found a section, expected null: data.kind avatars has no"),
        ({"classes": {"sampling": {"shards": 61}}},
            "classes.sampling.shards: found 61, expected 1..60: the jobs share the classes; more than"),
        ({"classes": {"architectures": [{**NETWORK, "updates": 9}]}},
            "classes.architectures.0.epochs, classes.architectures.0.updates: found both, expected one of them"),
        ({"classes": {"architectures": [{**NETWORK, "epochs": None}]}},
            "classes.architectures.0.epochs, classes.architectures.0.updates: found neither, expected one of them"),
        ({"classes": {"generated_ratios": [1, 3]}}, "classes.generated_ratios: found [1, 3], expected 0 and at"),
        ({"classes": {"generated_ratios": [0]}}, "classes.generated_ratios: found [0], expected 0 and at"),
        ({"classes": {"generated_ratios": [0, 1, 1]}}, "classes.generated_ratios: found [0, 1, 1], expected each once"),
        ({"classes": {"train_per_class": 1, "generated_ratios": [0, 1]}},
            "classes.filter.max_attempts: allows 8 samples of a class, expected at least sampling.unit_size (20)"),
    ],
    ids=lambda value: value.split(":")[0] if isinstance(value, str) else "",
)  # fmt: skip
def test_what_must_agree(overlay: dict[str, Any], said: str) -> None:
    assert f"\n  {said}" in refusal(default(**overlay))


@pytest.mark.parametrize(
    "overlay",
    [
        {"evaluation": {"samples": 200}, "attributes": {"sweep": {"first_seed": 1200}}},
        {"attributes": {"sets": {"shards_per_target": 4, "shards_unguided": 24}}},
        {"masks": {"sweep": {"first_seed": 96}, "masks": 40, "controlnet_curve": [2000]}},
        {"masks": {"head": {"flip_pairs": [[1, 6]]}}, "classes": {"sampling": {"shards": 60}}},
        {"data": FACES, "masks": None, "classes": None},
        {"data": {"avatars": {"parts": {}, "classes": []}}, "masks": None, "classes": None},
        {"data": PAIRS, "attributes": None, "classes": None},
        {"data": {"splits": {"tuning_judge": 0, "controls": 0, "reference": 0}}, "attributes": None, "masks": None},
    ],
)
def test_what_just_agrees(overlay: dict[str, Any]) -> None:
    assert load_config(default(**overlay)).splits


def test_targets_have_names_and_attributes_of_the_data_set() -> None:
    message = refusal(changed("attributes.targets.2.attribute", "Glasses"))
    assert "\n  attributes.targets.2.attribute: 'Glasses' is not an attribute of the data set; expected " in message
    assert "attributes.targets: found ['Blond', 'Blond'," in refusal(changed("attributes.targets.1.name", "Blond"))


def test_a_label_may_hold_one_dollar_but_nothing_that_figures_would_read_as_a_formula() -> None:
    for label in (r"$\foo$", "$$", "US$ or A$", "a$b$c$d"):
        message = refusal(changed("attributes.targets.3.label", label))
        assert f"\n  attributes.targets.3.label: found {label!r}, expected at most one $" in message
    config = load_config(changed("attributes.targets.3.label", r"$\foo"))
    assert config.attributes
    figure = Figure()
    figure.text(0, 0, config.attributes.targets[3].label)
    figure.savefig(io.BytesIO(), format="png")


def test_jobs_are_no_more_than_snakemake_plans() -> None:
    many = {"units_per_target": 10**5, "units_unguided": 10**5}
    raw = default(attributes={"sweep": {"first_seed": 10**9}, "sets": many}, classes={"splits": {"class_train": 10**6}})
    for section, name in ((raw["attributes"]["sets"], "shards_per_target"),
        (raw["attributes"]["sets"], "shards_unguided"), (raw["classes"]["sampling"], "shards")):  # fmt: skip
        section[name] = MAX_SHARDS + 1
        message = refusal(raw)
        assert f".{name}: found {MAX_SHARDS + 1}, expected 1..{MAX_SHARDS}: Snakemake plans every job" in message
        section[name] = MAX_SHARDS
        load_config(raw)


# --- values that would fail in Snakemake ----------------------------------------------------------------------------


def test_braces_are_refused_in_keys_and_in_sections_that_are_not_read() -> None:
    raw = default(data={"image_folder": {"path": "a{b}"}, "avatars": {"options": {"x{y}": 1}}})
    message = refusal(raw)
    assert "\n  data.image_folder.path: found 'a{b}', expected no {, } " in message
    assert "\n  data.avatars.options.'x{y}': found 'x{y}', expected no {, } " in message


@pytest.mark.parametrize(
    ("key", "value", "place"),
    [
        ("data.avatars.options.scale", b"\xff", ""),
        ("data.avatars.options.scale", [1, {"a": "\ud800"}], ".1.a"),
        ("data.avatars.options.scale", yaml.safe_load("&here [*here]"), ".0"),
        ("report.stands_for.avatars64.0", "\ud800", ""),
        ("denoiser.folder", "\ud800", ""),
    ],
    ids=str,
)
def test_values_that_no_job_could_be_passed_are_named(key: str, value: object, place: str) -> None:
    """Bytes, half a character, and a list that holds itself: YAML has them all."""
    problem = refusal(changed(key, value)).splitlines()[1]
    assert problem.startswith(f"  {key}{place}: found ")
    assert problem.endswith(", expected what JSON can hold")


# --- what the configuration offers ----------------------------------------------------------------------------------


def test_splits_lie_one_behind_the_other_in_their_order() -> None:
    config = load_config(default())
    ranges = [config.split_range(name) for name in config.splits]
    assert list(config.splits) == list(SPLIT_ORDER)
    assert config.splits["shots"] == 1000
    assert ranges[0].start == 0
    assert all(one.stop == two.start for one, two in pairwise(ranges))
    assert [len(found) for found in ranges] == list(config.splits.values())


@pytest.mark.parametrize("left_out", EXPERIMENTS)
def test_an_experiment_that_is_null_has_no_splits(left_out: str) -> None:
    own = {"attributes": {"shots"}, "masks": {"pairs"}, "classes": {"class_train", "class_test"}}[left_out]
    config = load_config(default(**{left_out: None}))
    assert config.experiments == [name for name in EXPERIMENTS if name != left_out]
    assert set(config.splits) == set(SPLIT_ORDER) - own
    for split in own:
        with pytest.raises(ConfigError, match=rf"there is no split '{split}'; there are train, "):
            config.split_range(split)
    assert config.split_range(list(config.splits)[-1]).stop == sum(config.splits.values())


def test_no_experiment_at_all_is_valid_and_empty_splits_are_left_out() -> None:
    raw = default(data={"splits": {"judge": 0, "tuning_judge": 0}}, **dict.fromkeys(EXPERIMENTS))
    assert list(load_config(raw).splits) == ["train", "controls", "reference"]


def test_sampling_of_masks_is_that_of_the_preset() -> None:
    config = load_config(default())
    found, sweep = config.mask_sampling("label_500"), config.mask_sampling("label_500", sweep=True)
    assert (found.eta, found.timestep_spacing, found.guidance_interval) == (0.24, "leading", (0, 999))
    assert (found.unit_size, found.num_inference_steps) == (40, config.sampling.num_inference_steps)
    assert (sweep.eta, sweep.unit_size, sweep.first_seed) == (0.24, 24, 100008)
    with pytest.raises(ConfigError, match="masks: found null, expected a section"):
        load_config(default(masks=None)).mask_sampling("label_500")


def test_a_preset_changes_steps_clipping_and_the_training_of_its_heads_and_has_rows_of_some_methods() -> None:
    config = load_config(default())
    assert config.masks
    found, head = config.mask_sampling("released"), config.masks.head_of("released")
    assert (found.num_inference_steps, found.clip_sample, config.sampling.clip_sample) == (50, False, True)
    assert (head.updates, head.learning_rate, head.brightness) == (250, 5e-4, 0.2)
    assert head.model_copy(update={"updates": 800, "learning_rate": 2e-3, "brightness": 0.0}) == config.masks.head
    assert config.masks.head_of("label_500") == config.masks.head
    rows = [(method, shots) for method, preset, shots in config.masks.rows if preset == "released"]
    assert rows == [("unguided", 0), ("exact", 20), ("clean_image", 20)]
    readers = [reader for reader, preset in config.masks.noise_rows if preset == "released"]
    assert readers == ["exact"], "the clean-image network is one for all presets"


def test_guides_that_look_at_noise_are_those_that_draw_rows_of_a_preset() -> None:
    masks = {
        "methods": ["unguided", "direct"],
        "presets": {"label_500": {"methods": ["direct"], "guidance_scale": {"direct": 25}}},
    }
    config = load_config(default(masks=masks))
    assert config.masks
    assert config.masks.noise_rows == [("exact", "label_500"), ("exact", "label_100"), ("judge", "label_100")]


def test_a_refinement_has_a_seed_of_its_own_and_a_training_before_it() -> None:
    recipe = default()["denoiser"]["training"] | {"seed": 1}
    assert load_config(default(denoiser={"refinements": [recipe]})).denoiser.images_seen == 2 * recipe["num_images"]
    with pytest.raises(ConfigError, match=r"refinements: found seeds \[0, 1, 1\], of training and each"):
        load_config(default(denoiser={"refinements": [recipe, recipe]}))


def test_latents_are_not_clipped_by_a_preset() -> None:
    raw = default()
    update_config(raw, yaml.safe_load(Path("config/latent.yaml").read_text()))
    raw["masks"]["presets"]["label_100"]["clip_sample"] = True
    with pytest.raises(ConfigError, match=r"masks\.presets\.label_100\.clip_sample: found true, expected false"):
        load_config(raw)


def test_the_main_preset_has_every_method() -> None:
    raw = changed("masks.presets.label_100.methods", ["exact"])
    with pytest.raises(ConfigError, match=r"presets\.label_100\.methods: lacks unguided"):
        load_config(raw)


def test_a_job_is_passed_the_source_that_is_read_and_no_other() -> None:
    config = load_config(default(data=FACES, masks=None, classes=None))
    dataset = DatasetConfig.model_validate_json(config.data.dataset(["Blond"]).model_dump_json())
    assert config.data.celebahq is not None
    assert dataset.source == config.data.celebahq.model_copy(update={"attributes": {"Blond": "a"}})
    assert set(json.loads(dataset.model_dump_json())) == {"name", "image_size", "source"}
    assert config.data.attributes == ["Blond", "Beard"]


@pytest.mark.parametrize(
    "key", ["data.celebahq.folder", "data.celebahq.held_out_ids", "denoiser.folder", "evaluation.extractors.0.weights"]
)
def test_a_tilde_is_the_home_folder(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setenv("HOME", "/away")
    raw = changed("data.celebahq", dict(FACES["celebahq"]))
    raw["evaluation"]["extractors"] = [{"kind": "inception", "weights": "w", "sha256": "0" * 64}]
    *above, last = key.split(".")
    parent = reduce(lambda node, part: node[int(part) if part.isdigit() else part], above, raw)
    parent[last] = "~/x"
    assert '"/away/x"' in load_config(raw).model_dump_json()
    parent[last] = "~nobody-here/x"
    assert "found ~nobody-here/x, whose home folder is unknown" in refusal(raw)


def test_local_files_have_keys() -> None:
    section = {"path": "set.zip", "classes": ["a", "b"], "ids_file": "ids.csv"}
    raw = default(data={"kind": "mask_folder", "mask_folder": section}, attributes=None, classes=None)
    found = {"data.mask_folder.path": Path("set.zip"), "data.mask_folder.ids_file": Path("ids.csv")}
    assert load_config(raw).data.files == found


FOLDER = {"kind": "folder", "folder": {"images": "photos", "labels": "labels.csv"}, "splits": "auto"}


def test_the_name_of_an_attribute_stands_for_a_row() -> None:
    raw = default(data=FOLDER, attributes={"targets": ["Rosy cheeks", "眼鏡"]}, masks=None, classes=None)
    config = load_config(raw)
    rows = [(target.name, target.attribute, target.value, target.label) for target in config.attributes.targets]
    assert rows[0] == ("Rosy-cheeks", "Rosy-cheeks", True, "Rosy cheeks")
    assert rows[1][2:] == (True, "眼鏡")
    assert re.fullmatch(r"[0-9a-f]{8}", rows[1][1])
    assert (config.judged_together, config.judged_alone) == ([], [row[1] for row in rows])


def test_automatic_splits_are_shares_of_images_that_are_there() -> None:
    config = load_config(default(data=FOLDER, attributes={"targets": ["a"]}, masks=None, classes=None))
    assert set(config.splits) == {"train", "shots", "judge", "tuning_judge", "controls", "reference"}
    assert sum(config.splits.values()) == pytest.approx(1)
    assert config.shares.most == {}
    assert "splits: found auto, expected numbers" in refusal(default(data={"splits": "auto"}))


def test_a_further_attribute_has_a_judge_of_its_own_and_changes_nothing_of_the_others() -> None:
    rules = {"data": {"avatars": {"attributes": {"Red": {"hairColor": ["a55728"]}}}}}
    targets = [*default()["attributes"]["targets"], "Red"]
    before, after = load_config(default()), load_config(default(**rules, attributes={"targets": targets}))
    assert (after.judged_together, after.judged_alone) == (["Blond", "Beard"], ["Red"])
    assert after.data.dataset(after.judged_together) == before.data.dataset(before.judged_together)
    assert after.data.dataset(["Red"]).source.attributes == {"Red": {"hairColor": ["a55728"]}}


def test_samples_are_as_many_as_the_distances_take() -> None:
    config = load_config(default(evaluation={"samples": 60}))
    assert (config.units_per_target, config.units_unguided) == (2, 12)


def test_the_configuration_is_frozen_and_changes_nothing_in_its_argument() -> None:
    raw = default()
    config = load_config(raw)
    assert raw == default()
    with pytest.raises(ValidationError, match="frozen"):
        config.sampling.eta = 1.0
