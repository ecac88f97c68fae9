"""Heads that a pipeline learns, keeps and finds again: those of the rules, from the same code."""

import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from pydantic import ValidationError
from torch import Tensor

from ..attributes.directions import AttributeDirection, find_direction
from ..attributes.features import FEATURES
from ..attributes.heads import AttributeHead, train_head
from ..config.attributes import AttributeHeadConfig, attribute_name
from ..config.base import Section
from ..config.masks import MaskHeadConfig, MaskTapsConfig
from ..diffusion.denoiser import Denoiser
from ..errors import ConfigError
from ..masks.features import mask_features, noised_to
from ..masks.guidance import ExactGuide, ReadoutGuide
from ..masks.heads import MaskHead, fit_mask_head
from ..masks.pairs import Pairs
from ..storage.weights import load_module, save_module

HEADS, MASKS, STEERING = "heads", "masks", "steering"
Settings = TypeVar("Settings", bound=Section)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FittedHead:
    """A head of one denoiser.

    Attributes:
        name: Attribute that it knows, or ``masks``.
        mode: exact or readout: what it reads; steering: it is a direction.
        head: The head.
        report: How it was chosen and how well it fits the shots, cross-validated where it is of an attribute.
    """

    name: str
    mode: str
    head: AttributeHead | MaskHead | AttributeDirection
    report: dict[str, Any] = field(default_factory=dict)

    @property
    def taps(self) -> list[str]:
        """Modules that it reads."""
        return self.head.modules_tapped if isinstance(self.head, MaskHead) else self.head.taps

    @property
    def classes(self) -> list[str]:
        """Names of the class ids of masks; of an attribute there are none."""
        return self.head.classes if isinstance(self.head, MaskHead) else []

    @property
    def feature_timestep(self) -> int:
        """Timestep label of what it reads without noise; of readout its lowest level."""
        return self.head.timesteps[0]


def fit_attribute(
    denoiser: Denoiser, name: str, shots: tuple[Tensor, Tensor], mode: str, options: Mapping[str, Any]
) -> FittedHead:
    """Learn whether an image has an attribute.

    Args:
        denoiser: Frozen denoiser.
        name: The attribute.
        shots: Images, uint8 [N, 3, H, W], and whether each has it, bool [N].
        mode: exact, readout or steering.
        options: Settings of ``attributes.head`` beyond the usual ones; ``taps`` may be one, several, or "auto".

    Raises:
        ConfigError: If a setting is unknown or out of range, or the denoiser has no such module.
    """
    if mode == STEERING:
        return _fit_direction(denoiser, name, shots, options)
    images, labels = shots
    candidates = _candidates(denoiser, options.get("taps") or [_usual_tap(denoiser)])
    found = []
    for taps in candidates:
        settings = _settings(AttributeHeadConfig, {**_usual(denoiser, labels), **options, "taps": taps})
        features = FEATURES[mode](denoiser, images, labels, torch.arange(len(images)), settings)
        found.append((*train_head(features, settings, name), settings))
    head, report, settings = min(found, key=lambda fitted: fitted[1]["log_loss"])
    compared = {"compared": {" ".join(one.taps): fit for _, fit, one in found}} if len(found) > 1 else {}
    log.info("%s (%s) reads %s: accuracy %.3f.", name, mode, ", ".join(settings.taps), report["accuracy"])
    settled = settings.model_dump(mode="json")
    return FittedHead(name, mode, head, {"cross_validation": report, "settings": settled, **compared})


def _fit_direction(
    denoiser: Denoiser, name: str, shots: tuple[Tensor, Tensor], options: Mapping[str, Any]
) -> FittedHead:
    (taps,) = _candidates(denoiser, options.get("taps") or [_usual_tap(denoiser)])[:1]
    settings = _settings(AttributeHeadConfig, {**_usual(denoiser, shots[1]), **options, "taps": taps})
    found = find_direction(denoiser, *shots, settings, name)
    return FittedHead(name, STEERING, found, {"settings": settings.model_dump(mode="json")})


def fit_masks(denoiser: Denoiser, pairs: Pairs, mode: str, options: Mapping[str, Any]) -> FittedHead:
    """Learn which class each pixel is of; arguments as for ``fit_attribute``, settings those of ``masks.head``."""
    last = denoiser.schedule.num_train_timesteps / 1000
    decoder = [tap for tap in denoiser.usual_taps if tap.startswith("up_blocks")][2::-1]
    reads = {"taps": decoder, "feature_timestep": round(100 * last), "upsampling": "bilinear", "compared_at": "image"}
    named = {key: value for key, value in options.items() if key in reads}
    taps = _settings(MaskTapsConfig, {**reads, **named})
    recipe = {
        "updates": 800,
        "batch_size": 4,
        "learning_rate": 2e-3,
        "flip": True,
        "readout_timesteps": _levels(denoiser),
        "readout_draws": 2,
        "precision": _precision(denoiser),
    }
    settings = _settings(MaskHeadConfig, recipe | {key: value for key, value in options.items() if key not in reads})
    head, report = fit_mask_head(mask_features(denoiser, pairs, mode, taps, settings), taps.upsampling, settings)
    settled = {**settings.model_dump(mode="json"), **taps.model_dump(mode="json")}
    return FittedHead(MASKS, mode, head, {"fit": report, "settings": settled})


def probability(denoiser: Denoiser, fitted: FittedHead, images: Tensor, batch_size: int = 50) -> Tensor:
    """Return p(attribute | image), float32 [N], of images, uint8 [N, 3, H, W].

    A head of readout knows noised images only: it is shown them at its lowest level.

    Raises:
        ConfigError: If the head is not of an attribute.
    """
    head = fitted.head.to(denoiser.device)
    if not isinstance(head, AttributeHead):
        raise ConfigError(f"{fitted.name}: found a {type(head).__name__}, expected a head of an attribute.")
    found, timestep = [], fitted.feature_timestep
    for k, batch in enumerate(images.split(batch_size)):
        with torch.no_grad():
            x = denoiser.encode(batch)
            x = noised_to(denoiser, x, timestep, "own opinion", k) if fitted.mode == "readout" else x
            found.append(head(denoiser.features(x, timestep, head.taps), timestep).sigmoid().cpu())
    return torch.cat(found)


def segment(denoiser: Denoiser, fitted: FittedHead, images: Tensor) -> Tensor:
    """Return the class of every pixel, uint8 [N, H, W], of images, uint8 [N, 3, H, W]."""
    assert isinstance(fitted.head, MaskHead)
    guide = ReadoutGuide if fitted.mode == "readout" else ExactGuide
    return guide(denoiser, fitted.head.to(denoiser.device)).segment(images)


def save_heads(heads: Sequence[FittedHead], folder: Path, denoiser: str) -> None:
    """Write heads, each in a folder of its own; others that the folder has are removed.

    Args:
        heads: What to write.
        folder: Of the pipeline.
        denoiser: Digest of the denoiser.
    """
    names = {f"{attribute_name(one.name)}{'' if one.mode == 'exact' else f'.{one.mode}'}": one for one in heads}
    for name, one in names.items():
        about = {"denoiser": denoiser, "mode": one.mode, "name": one.name, "report": one.report}
        save_module(one.head, one.head.config, folder / HEADS / name, about)
    for path in (folder / HEADS).glob("*"):
        if path.is_dir() and path.name not in names:
            shutil.rmtree(path)


def load_heads(folder: Path, denoiser: str) -> list[FittedHead]:
    """Read the heads of a pipeline's folder.

    Raises:
        WeightsError: If one learned from another denoiser.
    """
    found = []
    for path in sorted((folder / HEADS).glob("*/config.json")):
        head, about = load_module(_head, path.parent, {"denoiser": denoiser})
        found.append(FittedHead(about["name"], about["mode"], head, about["report"]))
    return found


def _head(config: dict[str, Any]) -> AttributeHead | MaskHead | AttributeDirection:
    if "shape" in config:
        return AttributeDirection(**config)
    return AttributeHead(**config) if "attribute" in config else MaskHead(**config)


def _usual_tap(denoiser: Denoiser) -> str:
    return "up_blocks.1" if "up_blocks.1" in denoiser.usual_taps else "mid_block"


def _usual(denoiser: Denoiser, labels: Tensor) -> dict[str, Any]:
    """Return the settings of config/config.yaml, timesteps in parts of the denoiser's own."""
    positive, negative = int(labels.sum()), int((~labels).sum())
    return {
        "positive_shots": positive,
        "negative_shots": negative,
        "pool_size": 2,
        "feature_timestep": round(denoiser.schedule.num_train_timesteps / 10),
        "readout_timesteps": _levels(denoiser),
        "readout_draws": 2,
        "flip": True,
        "l2": [0.003, 0.03, 0.3],
        "folds": max(2, min(5, positive, negative)),
        "precision": _precision(denoiser),
    }


def _levels(denoiser: Denoiser) -> list[int]:
    return [round(share * denoiser.schedule.num_train_timesteps / 1000) for share in range(50, 1000, 150)]


def _precision(denoiser: Denoiser) -> str:
    return str(denoiser.runtime.dtype).removeprefix("torch.")


def _candidates(denoiser: Denoiser, taps: Any) -> list[list[str]]:
    if taps == "auto":
        return [[tap] for tap in denoiser.usual_taps]
    return [[taps] if isinstance(taps, str) else list(taps)]


def _settings(kind: type[Settings], values: Mapping[str, Any]) -> Settings:
    try:
        return kind.model_validate(dict(values))
    except ValidationError as error:
        said = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()[:3])
        raise ConfigError(f"fit: {said}.") from error
