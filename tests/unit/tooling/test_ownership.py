"""Shipped weights: used where they are here, and where no other split holds the images that they were trained on."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from snakemake.utils import update_config

from fewshot_diffusion.config.model import Config, load_config
from fewshot_diffusion.errors import ConfigError, WeightsError
from fewshot_diffusion.tooling.ownership import require_shipped_splits, require_weights
from support import ROOT

SHIPPED = ROOT / "config" / "config.yaml"


def changed(overlay: dict[str, Any]) -> Config:
    merged = yaml.safe_load(SHIPPED.read_text())
    update_config(merged, overlay)
    return load_config(merged)


@pytest.mark.parametrize(
    "overlay",
    [
        {"data": {"splits": {"reference": 3999}}, "masks": None, "classes": None},
        {
            **{key: {"source": "train"} for key in ("denoiser", "baselines")},
            **{"data": {"splits": {"train": 100}}, "masks": None, "classes": None},
        },
        {"classes": {"splits": {"class_test": 10}}},
    ],
)
def test_images_behind_those_of_the_shipped_weights_may_move(overlay: dict[str, Any]) -> None:
    config = changed(overlay)
    require_shipped_splits(config, SHIPPED)
    assert config.splits != changed({}).splits


def test_the_default_itself_is_no_change() -> None:
    config = changed({})
    require_shipped_splits(config, SHIPPED)
    assert config.denoiser.source == "store", "else nothing was compared"


@pytest.mark.parametrize(
    ("overlay", "said"),
    [
        ({"data": {"splits": {"train": 19999}}}, r"denoiser\.source: .*images 0 to 19999 \(train\).* 0 to 19998"),
        (
            {"denoiser": {"source": "train"}, "data": {"splits": {"train": 100}}, "masks": None, "classes": None},
            r"baselines\.source: .*images 0 to 19999 \(train\).* 0 to 99",
        ),
        ({"attributes": None}, r"masks\.source: .*21000 to 26999 \(judge\).*judge is 20000 to 25999"),
        ({"data": {"splits": {"controls": 999}}}, r"masks\.source: .*\(pairs\).*set masks\.source to train"),
        ({"masks": None}, r"classes\.source: .*\(class_train\)"),
    ],
)
def test_images_before_them_may_not(overlay: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        require_shipped_splits(changed(overlay), SHIPPED)


@pytest.mark.parametrize(("source", "masks"), [("store", None), ("train", SimpleNamespace(source="store"))])
def test_weights_of_the_store_that_are_not_here_stop_the_run(
    source: str, masks: SimpleNamespace | None, tmp_path: Path
) -> None:
    config = SimpleNamespace(denoiser=SimpleNamespace(source=source), masks=masks, classes=None)
    with pytest.raises(WeightsError, match=r"missing\. None are stored under this name: set (denoiser|masks)\.source"):
        require_weights(config, tmp_path)
    (tmp_path / "masks").mkdir()
    for pointer in ("denoiser.dvc", "masks/segmenters.dvc"):
        (tmp_path / pointer).touch()
    with pytest.raises(WeightsError, match=r"missing\. Run `make restore`, or set (denoiser|masks)\.source to train"):
        require_weights(config, tmp_path)
    for name in ("denoiser", "masks/segmenters", "masks/controlnets"):
        (tmp_path / name).mkdir()
    require_weights(config, tmp_path)


@pytest.mark.parametrize("experiment", ["attributes", "masks"])
def test_weights_of_baselines_are_wanted_by_whichever_experiment_names_them(experiment: str, tmp_path: Path) -> None:
    sections: dict[str, Any] = {"attributes": None, "masks": None}
    sections[experiment] = SimpleNamespace(baselines=["d2c"])
    config = SimpleNamespace(denoiser=None, classes=None, baselines=SimpleNamespace(source="store"), **sections)
    with pytest.raises(WeightsError, match=r"baselines/d2c: weights are missing.* set baselines\.source to train"):
        require_weights(config, tmp_path)
    (tmp_path / "baselines" / "d2c").mkdir(parents=True)
    require_weights(config, tmp_path)
