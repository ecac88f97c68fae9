"""What samples are to show: several heads at once, each with its value and weight, as one likelihood.

log p(y_1, y_2, ... | x) = sum over heads of weight * log p(y_k | x), as if they were independent given the image.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor

from ..attributes.directions import AttributeDirection, directed
from ..attributes.guidance import wanted_log_prob
from ..attributes.heads import AttributeHead
from ..config.base import learned_as
from ..diffusion.denoiser import Denoiser
from ..diffusion.guidance import READS_ESTIMATE, Guidance, LogLikelihood, Predictor, ReadoutGuidance
from ..errors import ConfigError
from ..masks.heads import MaskHead, mask_log_likelihood
from .heads import MASKS, STEERING, FittedHead

MODES = ("exact", "readout", STEERING)
"""What a head learns for, and how it steers: the first that is there. One of exact steers in mode direct, too."""

Wanted = str | Mapping[str, bool | float]
"""An attribute, or several and whether each is wanted: true, false, or the share of a batch that shall have it."""


@dataclass(frozen=True)
class Term:
    """What one head asks for.

    Attributes:
        fitted: The head.
        mode: exact, direct, readout or steering: how it steers.
        weight: Multiplies its log-likelihood, or its direction, beside the scale of all.
        value: Whether the attribute is wanted; a fraction: the share of the batch that shall have it.
        masks: Wanted masks, class ids uint8 [M, H, W]: sample i shows mask i modulo M.
    """

    fitted: FittedHead
    mode: str
    weight: float = 1.0
    value: bool | float = True
    masks: Tensor | None = None

    def log_prob(self, maps: Sequence[Tensor], timestep: int, first: int) -> Tensor:
        """Return log p(y | activations) of each sample, nats, [B]; ``first`` is the position of the batch."""
        head = self.fitted.head
        if isinstance(head, AttributeHead):
            return wanted_log_prob(head, maps, timestep, self.value)
        assert isinstance(head, MaskHead)
        assert self.masks is not None
        shown = (torch.arange(len(maps[0])) + first) % len(self.masks)
        return mask_log_likelihood(head(maps, timestep), self.masks[shown].to(maps[0].device))


def terms_of(
    heads: Mapping[str, Mapping[str, FittedHead]],
    wanted: Wanted | None,
    mode: str | None,
    weights: Mapping[str, float] = MappingProxyType({}),
    masks: Tensor | None = None,
) -> list[Term]:
    """Return what is wanted of which head.

    Args:
        heads: Name -> mode -> head.
        wanted: An attribute, or several and whether each is wanted, or in which share of a batch.
        mode: exact, direct (by the heads of exact), readout or steering; None: the first of MODES that all have.
        weights: Name -> what multiplies its log-likelihood.
        masks: Wanted masks, class ids uint8 [M, H, W].

    Raises:
        ConfigError: If a head or its mode was not fitted, or a weight is of none of them.
    """
    values: dict[str, bool | float] = {wanted: True} if isinstance(wanted, str) else dict(wanted or {})
    for name, value in values.items():
        if isinstance(value, float) and not 0 <= value <= 1:
            raise ConfigError(f"{name}: found {value}, expected true, false, or a share of 0.0 to 1.0.")
    names = [*values, *([MASKS] if masks is not None else [])]
    for name in names:
        _require_head(heads, name)
    if unknown := sorted(set(weights) - set(names)):
        raise ConfigError(f"weights: found {unknown[0]!r}, expected what is wanted: {', '.join(names) or 'nothing'}.")
    if not names:
        return []
    mode = _shared_mode({name: heads[name] for name in names}, mode)
    of_masks = {MASKS: masks}
    return [
        Term(heads[name][learned_as(mode)], mode, weights.get(name, 1.0), values.get(name, True), of_masks.get(name))
        for name in names
    ]


def _require_head(heads: Mapping[str, Mapping[str, FittedHead]], name: str) -> None:
    if name not in heads:
        how = "fit_masks(images, masks, classes)" if name == MASKS else f"fit({name!r}, images, labels)"
        known = ", ".join(sorted(heads)) or "none"
        raise ConfigError(f"{name}: found no head of this name (there are: {known}). Call {how} first.")


def _shared_mode(heads: Mapping[str, Mapping[str, FittedHead]], mode: str | None) -> str:
    shared = [one for one in MODES if all(one in modes for modes in heads.values())]
    if mode is None and shared:
        return shared[0]
    if mode is None or learned_as(mode) not in shared:
        fitted = "; ".join(f"{name} in {' and '.join(modes)}" for name, modes in heads.items())
        wanted = learned_as(mode or "exact")
        raise ConfigError(f"mode: found {mode}, but fitted are {fitted}. Fit what lacks it with mode={wanted!r}.")
    return mode


def usual_scale(terms: Sequence[Term]) -> float:
    """Return the scale that is used where none is given."""
    if terms and terms[0].fitted.mode == STEERING:
        return 3.0  # seen to act on one attribute of one denoiser: a start, not a choice
    return 400.0 if terms and all(term.masks is not None for term in terms) else 10.0


def direction_of(denoiser: Denoiser, terms: Sequence[Term], scale: float) -> Predictor:
    """Return the predictor of samples that are pushed along the directions of attributes.

    Raises:
        ConfigError: If a share is wanted, which needs probabilities.
    """
    directions: dict[AttributeDirection, float] = {}
    for term in terms:
        head = term.fitted.head.to(denoiser.device)
        if not isinstance(head, AttributeDirection) or isinstance(term.value, float):
            raise ConfigError(f"{term.fitted.name}: steering knows true and false; of a share, use exact or readout.")
        directions[head] = scale * term.weight * (1 if term.value else -1)
    return directed(denoiser, directions)


def guidance_of(denoiser: Denoiser, terms: Sequence[Term], first: int) -> Guidance:
    """Return the guidance of a batch towards all that is wanted.

    Args:
        denoiser: Frozen denoiser.
        terms: At least one; they steer in one mode.
        first: Position of the batch's first sample among all.

    Raises:
        ConfigError: If heads cannot be joined: they read at different timesteps.
    """
    for term in terms:
        term.fitted.head.to(denoiser.device)
    taps = list(dict.fromkeys(tap for term in terms for tap in term.fitted.taps))
    likelihood = _joint(terms, taps, first)
    mode = terms[0].mode
    if mode not in READS_ESTIMATE:
        return ReadoutGuidance(denoiser, likelihood, taps)
    labels = {term.fitted.name: term.fitted.feature_timestep for term in terms}
    if len(set(labels.values())) > 1:
        raise ConfigError(f"feature_timestep: found {labels}, expected one; fit these heads with the same.")
    return READS_ESTIMATE[mode](denoiser, likelihood, taps, terms[0].fitted.feature_timestep)


def _joint(terms: Sequence[Term], taps: Sequence[str], first: int) -> LogLikelihood:
    def log_likelihood(maps: Sequence[Tensor], timestep: int) -> Tensor:
        of = dict(zip(taps, maps, strict=True))
        parts = [t.weight * t.log_prob([of[tap] for tap in t.fitted.taps], timestep, first) for t in terms]
        return torch.stack(parts).sum(0)

    return log_likelihood


def known_mode(mode: str, modes: Sequence[str]) -> str:
    """Return a mode; raise ``ConfigError`` if it is none of these."""
    if mode not in modes:
        raise ConfigError(f"mode: found {mode!r}, expected {' or '.join(modes)}.")
    return mode


def as_values(wanted: Wanted) -> dict[str, bool]:
    """Return attribute -> the value that is asked about; of a share, that of those that have the attribute."""
    values: dict[str, bool | float] = {wanted: True} if isinstance(wanted, str) else dict(wanted)
    return {name: isinstance(value, float) or value for name, value in values.items()}
