"""Drawn images have positions: shipped weights are only used where no other split holds what they were trained on."""

from typing import Any

import pytest
import yaml
from snakemake.utils import update_config

from fewshot_diffusion.config.model import Config, load_config
from fewshot_diffusion.errors import ConfigError
from fewshot_diffusion.tooling.ownership import require_shipped_splits
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
        {"denoiser": {"source": "train"}, "data": {"splits": {"train": 100}}, "masks": None, "classes": None},
        {"classes": {"splits": {"class_test": 10}}},
    ],
)
def test_images_behind_those_of_the_shipped_weights_may_move(overlay: dict[str, Any]) -> None:
    config = changed(overlay)
    require_shipped_splits(config, SHIPPED)
    assert config.splits != changed({}).splits


def test_the_default_itself_is_no_change() -> None:
    require_shipped_splits(changed({}), SHIPPED)


@pytest.mark.parametrize(
    ("overlay", "said"),
    [
        ({"data": {"splits": {"train": 19999}}}, r"denoiser\.source: .*images 0 to 19999 \(train\).* 0 to 19998"),
        ({"attributes": None}, r"masks\.source: .*21000 to 26999 \(judge\).*judge is 20000 to 25999"),
        ({"data": {"splits": {"controls": 999}}}, r"masks\.source: .*\(pairs\).*set masks\.source to train"),
        ({"masks": None}, r"classes\.source: .*\(class_train\)"),
    ],
)
def test_images_before_them_may_not(overlay: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        require_shipped_splits(changed(overlay), SHIPPED)
