"""Activations of image-mask pairs at several modules, computed in one pass; heads of masks, cross-validated on them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..config.masks import MaskHeadConfig, MaskTapsConfig
from ..diffusion.denoiser import Denoiser
from ..masks.features import MaskFeatures
from ..masks.heads import MaskHead, fit_mask_head
from ..masks.metrics import confusion, miou
from ..seeds import generator

FOLDS = 3
COMPARED = 4
"""Heads that are only compared have one in so many of the updates."""


@dataclass(frozen=True)
class CachedPairs:
    """Cached activations of pairs.

    Attributes:
        features: At all modules that may be read; row r is of pair r modulo ``number``.
        number: Of pairs, N; the first N rows are the pairs as they are.
        taps: Label and upsampling of every head.
        settings: Recipe of every head.
    """

    features: MaskFeatures
    number: int
    taps: MaskTapsConfig
    settings: MaskHeadConfig

    @property
    def learned(self) -> int:
        """Pairs that a head learns from in every fold, at least."""
        return self.number - -(-self.number // min(FOLDS, self.number))

    def fit(self, taps: Sequence[str]) -> tuple[MaskHead, dict[str, float]]:
        """Learn from all pairs."""
        return fit_mask_head(self._at(taps), self.taps.upsampling, self.settings)

    def miou_at(self, taps: Sequence[str]) -> float:
        """Return the cross-validated mean IoU of heads that read some modules, trained shortly."""
        return miou(self.confusions(taps, self.number))

    def confusions(self, taps: Sequence[str], number: int) -> Tensor:
        """Return what heads that learned from other pairs find in each pair, int64 [N, K, K].

        Args:
            taps: Modules that they read.
            number: Of pairs that each learns from, at most; fewer are part of more.
        """
        features, classes = self._at(taps), len(self.features.classes)
        order = torch.randperm(self.number, generator=generator("pairs to folds", 0))
        found = torch.empty(self.number, classes, classes, dtype=torch.int64)
        short = self.settings.model_copy(update={"updates": max(1, self.settings.updates // COMPARED)})
        for fold in range(folds := min(FOLDS, self.number)):
            tested = order[fold::folds]
            learned = order[~torch.isin(order, tested)][:number]
            head, _ = fit_mask_head(self._rows(features, learned), self.taps.upsampling, short)
            found[tested] = confusion(features.masks[tested], _segmented(head, features, tested), classes)
        return found

    def _at(self, taps: Sequence[str]) -> MaskFeatures:
        position = {tap.module: i for i, tap in enumerate(self.features.taps)}
        chosen = [position[tap] for tap in taps]
        maps = [self.features.maps[i] for i in chosen]
        return replace(self.features, maps=maps, taps=[self.features.taps[i] for i in chosen])

    def _rows(self, features: MaskFeatures, pairs: Tensor) -> MaskFeatures:
        rows = torch.isin(torch.arange(len(features.masks)) % self.number, pairs).nonzero().flatten()
        return replace(features, maps=[part[:, rows] for part in features.maps], masks=features.masks[rows])


def mask_candidates(denoiser: Denoiser) -> list[list[str]]:
    """Return the modules among which is chosen: three neighbours of the decoder, the usual ones first, or all of it."""
    decoder = [tap for tap in denoiser.usual_taps if tap.startswith("up_blocks")]
    windows = [decoder[start : start + 3][::-1] for start in range(max(1, len(decoder) - 2))]
    return [*windows, *([decoder[::-1]] if len(decoder) > 3 else [])]


def _segmented(head: MaskHead, features: MaskFeatures, pairs: Tensor) -> Tensor:
    """Return what a head finds in pairs at the lowest noise level, uint8 [len(pairs), H, W]."""
    with torch.no_grad():
        logits: Tensor = head([part[0, pairs] for part in features.maps], features.timesteps[0])
    return logits.argmax(1).to(torch.uint8)
