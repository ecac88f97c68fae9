"""What of the denoiser can be known to fail before the first job: its files, and the modules that heads read.

Without torch, since every snakemake call imports this.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ..diffusion.description import Description, UNetDescription, describe, require_fits
from ..errors import ConfigError
from ..latent.description import LatentDescription, describe_pipeline, require_serves

if TYPE_CHECKING:
    from ..config.model import Config

_INNER = re.compile(r"(resnets|attentions|upsamplers|downsamplers)\.(\d+)(\.\w+)*")
_MID_RESNETS = 2


def plan_denoiser(config: "Config", results: Path) -> Description | LatentDescription | None:
    """Return what the denoiser's files say of it; None of one that is trained, converted, or on the hub.

    Args:
        config: The whole configuration.
        results: Folder of the data set, where the store puts its denoiser.

    Raises:
        WeightsError: If the files cannot serve, or are not what the configuration says.
        ConfigError: If a head reads a module that the denoiser has not.
    """
    if config.denoiser.latent:
        return _plan_latent(config, results)
    settings, found = config.denoiser, None
    if settings.source not in ("train", "checkpoint"):
        found = describe(settings.folder or Path() if settings.source == "folder" else results / "denoiser")
        require_fits(found, settings, config.data.image_size)
    _require_taps(config, _unet(config, found))
    return found


def filters_problem(config: "Config", found: Description | None) -> str:
    """Return why the filters of ``classes.filters`` cannot be compared, if they cannot: a module that is not there.

    Args:
        config: The whole configuration, with an experiment classes.
        found: What ``plan_denoiser`` returned.
    """
    candidates = config.classes.filters.candidates if config.classes and config.classes.filters else []
    key, unet = "classes.filters.candidates", _unet(config, found)
    return "\n".join(problem for one in candidates if (problem := tap_problem(one.tap, unet, key)))


def _unet(config: "Config", found: Description | None) -> UNetDescription:
    if found:
        return found.unet
    settings = config.denoiser
    shape = settings.architecture.model_dump(mode="json")
    if settings.source == "checkpoint" and settings.checkpoint:
        shape = settings.checkpoint.model_dump(mode="json", include={"block_out_channels", "layers_per_block"})
    return UNetDescription.model_construct(**shape)


def _plan_latent(config: "Config", results: Path) -> LatentDescription | None:
    latent = config.denoiser.latent
    assert latent
    if latent.source in ("train", "hub"):
        if latent.source == "train" and latent.model:
            _require_taps(config, UNetDescription.model_construct(**latent.model.unet.model_dump(mode="json")))
        return None
    found = describe_pipeline(latent.folder or Path() if latent.source == "folder" else results / "stable_diffusion")
    require_serves(found, config.denoiser.schedule, config.data.image_size)
    widths, layers = found.unet.block_out_channels, found.unet.layers_per_block
    deepest = max(layers) if isinstance(layers, list) else layers
    _require_taps(config, UNetDescription.model_construct(block_out_channels=widths, layers_per_block=deepest))
    return found


def _require_taps(config: "Config", unet: UNetDescription) -> None:
    if problems := [problem for key, tap in _taps(config) if (problem := tap_problem(tap, unet, key))]:
        raise ConfigError("\n".join(problems))


def _taps(config: "Config") -> Iterator[tuple[str, str]]:
    if config.attributes:
        yield from (("attributes.head.taps", tap) for tap in config.attributes.head.taps)
        if tap := config.attributes.steering.tap:
            yield "attributes.steering.tap", tap
    if config.masks:
        for name, preset in config.masks.presets.items():
            yield from ((f"masks.presets.{name}.taps", tap) for tap in preset.taps)
    if config.classes:
        yield "classes.filter.tap", config.classes.filter.tap


def tap_problem(tap: str, unet: UNetDescription, key: str) -> str | None:
    """Return what to say of a tap that the network has not; what lies deep in a block is the job's to find."""
    levels = range(len(unet.block_out_channels))
    resnets = {"conv_in": 0, "mid_block": _MID_RESNETS, "conv_norm_out": 0, "conv_act": 0, "conv_out": 0}
    resnets |= {f"down_blocks.{level}": unet.layers_per_block for level in levels}
    resnets |= {f"up_blocks.{level}": unet.layers_per_block + 1 for level in levels}
    block = next((name for name in resnets if tap == name or tap.startswith(f"{name}.")), None)
    if block and (tap == block or _is_inner(tap.removeprefix(f"{block}."), resnets[block])):
        return None
    usual = ["mid_block", *(f"up_blocks.{level}" for level in levels), *(f"down_blocks.{level}" for level in levels)]
    return (
        f"{key}: the denoiser has no module {tap!r}; it has {', '.join(usual)}, and parts such as mid_block.resnets.0"
    )


def _is_inner(name: str, resnets: int) -> bool:
    found = _INNER.fullmatch(name)
    return bool(found and resnets and int(found[2]) < resnets)
