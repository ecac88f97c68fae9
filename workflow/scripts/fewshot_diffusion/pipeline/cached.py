"""Head inputs at several modules, computed in one pass: to choose among these, or to learn of fewer shots, is free."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..attributes.features import FEATURES, ShotFeatures
from ..config.attributes import AttributeHeadConfig
from ..diffusion.denoiser import Denoiser
from ..diffusion.features import pool


@dataclass(frozen=True)
class TapFeatures:
    """Cached head inputs of shots at several modules.

    Attributes:
        shots: Those of all modules, side by side.
        widths: Module -> how many inputs are its own, in their order.
    """

    shots: ShotFeatures
    widths: Mapping[str, int]

    def at(self, taps: Sequence[str]) -> ShotFeatures:
        """Return the head inputs at some of the modules, in the order in which they are named."""
        parts = dict(zip(self.widths, self.shots.inputs.split(list(self.widths.values()), dim=-1), strict=True))
        return replace(self.shots, inputs=torch.cat([parts[tap] for tap in taps], dim=-1))

    def of(self, ids: Tensor, labels: Tensor) -> "TapFeatures":
        """Return what belongs to some images, labelled anew.

        Args:
            ids: Of the images, int64 [N], each once.
            labels: Whether each has an attribute, bool [N].
        """
        order = ids.argsort()
        rows = torch.isin(self.shots.groups, ids)
        groups = self.shots.groups[rows]
        told = labels[order][torch.searchsorted(ids[order], groups)]
        return replace(self, shots=replace(self.shots, inputs=self.shots.inputs[:, rows], labels=told, groups=groups))


def joint_taps(candidates: Sequence[Sequence[str]]) -> list[str]:
    """Return every module that some candidate reads, once."""
    return list(dict.fromkeys(tap for taps in candidates for tap in taps))


def tap_features(
    denoiser: Denoiser, mode: str, shots: tuple[Tensor, Tensor, Tensor], settings: AttributeHeadConfig
) -> TapFeatures:
    """Compute head inputs at all of ``settings.taps``.

    Args:
        denoiser: Frozen denoiser.
        mode: exact or readout.
        shots: Images, uint8 [N, 3, H, W], whether each has the attribute, bool [N], and their ids, int64 [N].
        settings: Taps, pooling, labels and noise levels.
    """
    found = FEATURES[mode](denoiser, *shots, settings)
    with torch.no_grad():
        maps = denoiser.features(denoiser.encode(shots[0][:1]), settings.feature_timestep, settings.taps)
    widths = [pool([one], settings.pool_size).shape[1] for one in maps]
    return TapFeatures(found, dict(zip(settings.taps, widths, strict=True)))
