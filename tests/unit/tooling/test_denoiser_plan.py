"""What is said of a denoiser before the first job: taps that it has not, weights that are not the configured ones."""

import json
from pathlib import Path
from typing import Any

import pytest
from diffusers import UNet2DModel
from torch import nn

from fewshot_diffusion.config.model import Config
from fewshot_diffusion.diffusion.denoiser import build_unet, unet_config
from fewshot_diffusion.diffusion.description import UNetDescription
from fewshot_diffusion.errors import ConfigError, WeightsError
from fewshot_diffusion.tooling.denoiser_plan import plan_denoiser, tap_problem
from support import smoke_config


def changed(**sections: dict[str, Any]) -> Config:
    raw = smoke_config().model_dump(mode="json")
    for name, values in sections.items():
        raw[name] |= values
    return Config.model_validate(raw)


@pytest.fixture(scope="module")
def unet() -> UNet2DModel:
    return build_unet(smoke_config().denoiser.architecture, 16)


def test_a_module_with_an_image_for_output_is_a_tap_and_no_other_name_is(unet: UNet2DModel) -> None:
    said = UNetDescription.model_validate(unet_config(unet))
    named = [name for name, module in unet.named_modules() if not isinstance(module, nn.ModuleList)]
    taps = [name for name in named if name.startswith(("mid_block", "up_blocks.", "down_blocks.", "conv_"))]
    assert not [problem for tap in taps if (problem := tap_problem(tap, said, "taps"))]
    for tap in (
        "up_blocks.2",
        "up_block.0",
        "mid",
        "mid_block.resnets.2",
        "up_blocks.0.resnets.2",
        "up_blocks",
        "",
        ".",
    ):
        assert tap not in named[1:]
        said_of_it = tap_problem(tap, said, "taps") or ""
        assert said_of_it.startswith(f"taps: the denoiser has no module {tap!r}; it has mid_block, up_blocks.0, up_b")


@pytest.mark.parametrize(
    ("section", "change", "key"),
    [
        ("attributes", {"head": {"taps": ["mid_block", "up_blocks.9"]}}, "attributes.head.taps"),
        ("attributes", {"steering": {"tap": "up_blocks.9"}}, "attributes.steering.tap"),
        ("masks", {"presets": {"label_100": {"taps": ["up_blocks.9"]}}}, "masks.presets.label_100.taps"),
        ("classes", {"filter": {"tap": "up_blocks.9"}}, "classes.filter.tap"),
    ],
)
def test_every_tap_is_looked_up_and_named_by_its_key(section: str, change: dict[str, Any], key: str) -> None:
    config = smoke_config()
    assert plan_denoiser(config, Path("results")) is None
    raw = config.model_dump(mode="json")[section]
    ((part, values),) = change.items()
    merged = {name: raw[part][name] | value if isinstance(value, dict) else value for name, value in values.items()}
    with pytest.raises(ConfigError, match=f"^{key}: the denoiser has no module 'up_blocks.9'"):
        plan_denoiser(changed(**{section: {part: raw[part] | merged}}), Path("results"))


@pytest.mark.parametrize("source", ["store", "folder"])
def test_other_weights_than_the_configured_are_refused_before_a_job(
    unet: UNet2DModel, tmp_path: Path, source: str
) -> None:
    unet.save_pretrained(tmp_path / "denoiser")
    config = changed(denoiser={"source": source, "folder": str(tmp_path / "denoiser")})
    found = plan_denoiser(config, tmp_path)
    assert found is not None and found.config == tmp_path / "denoiser/config.json"
    (found.config).write_text(json.dumps(unet_config(unet) | {"sample_size": 32}))
    with pytest.raises(WeightsError, match="sample_size: found 32"):
        plan_denoiser(config, tmp_path)
