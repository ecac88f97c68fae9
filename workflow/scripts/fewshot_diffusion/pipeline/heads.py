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
from ..attributes.heads import AttributeHead, train_head
from ..config.attributes import AttributeHeadConfig, attribute_name
from ..config.base import Section
from ..config.masks import MaskHeadConfig, MaskTapsConfig
from ..diffusion.denoiser import Denoiser
from ..errors import ConfigError
from ..masks.features import mask_features, noised_to
from ..masks.guidance import ExactGuide, ReadoutGuide
from ..masks.heads import MaskHead
from ..masks.pairs import Pairs
from ..own.curve import Curve, learning_curve
from ..storage.weights import load_module, save_module
from .cached import TapFeatures, joint_taps, tap_features
from .cached_pairs import CachedPairs, mask_candidates

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
    candidates = tap_candidates(denoiser, options.get("taps") or [usual_tap(denoiser)])
    settings = attribute_settings(denoiser, shots[1], {**options, "taps": joint_taps(candidates)})
    ids = torch.arange(len(shots[0]))
    return fit_cached(name, mode, tap_features(denoiser, mode, (*shots, ids), settings), candidates, settings)


def fit_cached(
    name: str, mode: str, cached: TapFeatures, candidates: Sequence[Sequence[str]], settings: AttributeHeadConfig
) -> FittedHead:
    """Learn an attribute from cached activations, at whichever candidate predicts the shots best, cross-validated.

    Args:
        name: The attribute.
        mode: exact or readout.
        cached: Head inputs at the modules of all candidates.
        candidates: Modules that may be read, one or several together.
        settings: Of the head; its taps are those of the candidate.
    """
    found = []
    for taps in candidates:
        own = settings.model_copy(update={"taps": list(taps)})
        found.append((*train_head(cached.at(taps), own, name), own))
    head, report, settings = min(found, key=lambda fitted: fitted[1]["log_loss"])
    compared = {"compared": {" ".join(one.taps): fit for _, fit, one in found}} if len(found) > 1 else {}
    log.info("%s (%s) reads %s: accuracy %.3f.", name, mode, ", ".join(settings.taps), report["accuracy"])
    settled = settings.model_dump(mode="json")
    return FittedHead(name, mode, head, {"cross_validation": report, "settings": settled, **compared})


def curve_of(denoiser: Denoiser, fitted: FittedHead, shots: tuple[Tensor, Tensor]) -> Curve:
    """Return the learning curve of an attribute's head on the shots that it learned from.

    Raises:
        ConfigError: If the head is of masks or a direction.
    """
    if not isinstance(fitted.head, AttributeHead):
        raise ConfigError(f"{fitted.name}: found a {type(fitted.head).__name__}, expected a head of an attribute.")
    settings = AttributeHeadConfig.model_validate(fitted.report["settings"])
    cached = tap_features(denoiser, fitted.mode, (*shots, torch.arange(len(shots[0]))), settings)
    return learning_curve(cached.shots, fitted.report["cross_validation"]["l2"], settings)


def _fit_direction(
    denoiser: Denoiser, name: str, shots: tuple[Tensor, Tensor], options: Mapping[str, Any]
) -> FittedHead:
    (taps,) = tap_candidates(denoiser, options.get("taps") or [usual_tap(denoiser)])[:1]
    settings = attribute_settings(denoiser, shots[1], {**options, "taps": taps})
    found = find_direction(denoiser, *shots, settings, name)
    return FittedHead(name, STEERING, found, {"settings": settings.model_dump(mode="json")})


def fit_masks(denoiser: Denoiser, pairs: Pairs, mode: str, options: Mapping[str, Any]) -> FittedHead:
    """Learn which class each pixel is of; arguments as for ``fit_attribute``, settings those of ``masks.head``."""
    return fit_cached_masks(mode, *cache_pairs(denoiser, pairs, mode, options))


def cache_pairs(
    denoiser: Denoiser, pairs: Pairs, mode: str, options: Mapping[str, Any]
) -> tuple[CachedPairs, list[list[str]]]:
    """Return the activations of pairs at all modules that may be read, and the candidates among these."""
    last = denoiser.schedule.num_train_timesteps / 1000
    usual, label = mask_candidates(denoiser)[0], round(100 * last)
    reads = {"taps": usual, "feature_timestep": label, "upsampling": "bilinear", "compared_at": "image"}
    named = {key: value for key, value in options.items() if key in reads}
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
    candidates = mask_candidates(denoiser) if named.get("taps") == "auto" else None
    taps = _settings(MaskTapsConfig, {**reads, **named, **({"taps": joint_taps(candidates)} if candidates else {})})
    cached = CachedPairs(mask_features(denoiser, pairs, mode, taps, settings), len(pairs), taps, settings)
    return cached, candidates or [taps.taps]


def fit_cached_masks(mode: str, cached: CachedPairs, candidates: Sequence[Sequence[str]]) -> FittedHead:
    """Learn masks from cached activations, at the candidate that finds other pairs' masks best, cross-validated."""
    found = {tuple(taps): cached.miou_at(taps) for taps in candidates} if len(candidates) > 1 else {}
    best = max(found, key=lambda taps: found[taps]) if found else tuple(candidates[0])
    head, report = cached.fit(best)
    compared = {"compared": {" ".join(taps): {"miou": value} for taps, value in found.items()}} if found else {}
    taps = cached.taps.model_copy(update={"taps": list(best)})
    settled = {**cached.settings.model_dump(mode="json"), **taps.model_dump(mode="json")}
    return FittedHead(MASKS, mode, head, {"fit": report, "settings": settled, **compared})


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
        save_head(one, folder / HEADS / name, denoiser)
    for path in (folder / HEADS).glob("*"):
        if path.is_dir() and path.name not in names:
            shutil.rmtree(path)


def save_head(fitted: FittedHead, folder: Path, denoiser: str) -> None:
    """Write one head to a folder of its own; ``denoiser`` is the digest of what it learned from."""
    about = {"denoiser": denoiser, "mode": fitted.mode, "name": fitted.name, "report": fitted.report}
    save_module(fitted.head, fitted.head.config, folder, about)


def load_heads(folder: Path, denoiser: str) -> list[FittedHead]:
    """Read the heads of a pipeline's folder.

    Raises:
        WeightsError: If one learned from another denoiser.
    """
    return [load_fitted(path.parent, denoiser) for path in sorted((folder / HEADS).glob("*/config.json"))]


def load_fitted(folder: Path, denoiser: str) -> FittedHead:
    """Read one head.

    Raises:
        WeightsError: If it learned from another denoiser.
    """
    head, about = load_module(_head, folder, {"denoiser": denoiser})
    return FittedHead(about["name"], about["mode"], head, about["report"])


def _head(config: dict[str, Any]) -> AttributeHead | MaskHead | AttributeDirection:
    if "shape" in config:
        return AttributeDirection(**config)
    return AttributeHead(**config) if "attribute" in config else MaskHead(**config)


def usual_tap(denoiser: Denoiser) -> str:
    """Return the module that is read where none is named."""
    return "up_blocks.1" if "up_blocks.1" in denoiser.usual_taps else "mid_block"


def attribute_settings(denoiser: Denoiser, labels: Tensor, options: Mapping[str, Any]) -> AttributeHeadConfig:
    """Return the settings of config/config.yaml, timesteps in parts of the denoiser's own, changed by options.

    Raises:
        ConfigError: If an option is unknown or out of range.
    """
    positive, negative = int(labels.sum()), int((~labels).sum())
    usual = {
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
    return _settings(AttributeHeadConfig, {**usual, **options})


def _levels(denoiser: Denoiser) -> list[int]:
    return [round(share * denoiser.schedule.num_train_timesteps / 1000) for share in range(50, 1000, 150)]


def _precision(denoiser: Denoiser) -> str:
    return str(denoiser.runtime.dtype).removeprefix("torch.")


def tap_candidates(denoiser: Denoiser, taps: Any) -> list[list[str]]:
    """Return the modules among which is chosen: of "auto", each usual one; else those that are named, together."""
    if taps == "auto":
        return [[tap] for tap in denoiser.usual_taps]
    return [[taps] if isinstance(taps, str) else list(taps)]


def _settings(kind: type[Settings], values: Mapping[str, Any]) -> Settings:
    try:
        return kind.model_validate(dict(values))
    except ValidationError as error:
        said = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()[:3])
        raise ConfigError(f"fit: {said}.") from error
