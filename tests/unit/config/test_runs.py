"""Several data sets in one call: each run is the rest of the configuration with its overlays."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from snakemake.utils import update_config

from fewshot_diffusion.config.runs import load_runs, merged
from fewshot_diffusion.errors import ConfigError
from support import ROOT

ARTEFACT = {"file": "x.bin", "urls": ["https://example.org/x"], "licence": "MIT", "access": "Ours."}


def raw(tmp_path: Path, **overlays: object) -> dict[str, Any]:
    """Return the default with runs, each of one overlay."""
    for name, overlay in overlays.items():
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(overlay))
    found: dict[str, Any] = yaml.safe_load((ROOT / "config/config.yaml").read_text())
    return found | {"runs": {name: [str(tmp_path / f"{name}.yaml")] for name in overlays}}


def test_overlays_are_merged_as_snakemake_merges_them() -> None:
    default, smoke = (yaml.safe_load((ROOT / f"config/{name}.yaml").read_text()) for name in ("config", "smoke"))
    expected = copy.deepcopy(default)
    update_config(expected, smoke)
    assert merged(default, smoke) == expected
    assert merged(default, smoke)["attributes"] is not smoke["attributes"]


def test_each_run_is_the_rest_with_its_overlays_and_all_want_what_one_wants(tmp_path: Path) -> None:
    wants = {"wanted": ["x"], "artefacts": {"x": ARTEFACT}}
    config, runs = load_runs(
        raw(tmp_path, one={"data": {"name": "a"}}, two={"data": {"name": "b"}, "downloads": wants})
    )
    assert [(run["data"]["name"], run["data"]["image_size"], "runs" in run) for run in runs.values()] == [
        ("a", 64, False),
        ("b", 64, False),
    ]
    assert list(config.downloads.chosen) == ["x"]
    assert load_runs(yaml.safe_load((ROOT / "config/config.yaml").read_text()))[1] == {}


@pytest.mark.parametrize(
    ("one", "two", "said"),
    [
        ({}, {}, "runs: found the data.name avatars64, avatars64, expected each once"),
        ({"data": {"nam": "a"}}, {}, r"runs.one: The configuration is not valid:\n  data.nam"),
        ({"runs": {"three": []}}, {}, "without runs of its own"),
        ("text", {}, "expected sections of a configuration"),
        (
            {"data": {"name": "a"}, "downloads": {"artefacts": {"x": ARTEFACT}}},
            {"downloads": {"artefacts": {"x": ARTEFACT | {"size": 3}}}},
            "runs.two: downloads.artefacts.x: another run means another file by it",
        ),
    ],
)
def test_runs_that_cannot_be_together(tmp_path: Path, one: object, two: object, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load_runs(raw(tmp_path, one=one, two=two))


def test_an_overlay_that_is_not_there_is_looked_for_beside_the_workflow(tmp_path: Path) -> None:
    found = raw(tmp_path) | {"runs": {"one": ["config/smoke.yaml"], "two": ["no.yaml"]}}
    with pytest.raises(ConfigError, match=r"runs.two: .*no.yaml cannot be read"):
        load_runs(found, ROOT)
