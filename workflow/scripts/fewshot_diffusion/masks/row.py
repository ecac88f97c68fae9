"""Which row of the mask table a file belongs to: what it says of itself, and what its readers expect."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class GuideKey:
    """Which guide steers: it serves every lambda.

    Attributes:
        method: Name of the method, as in the configuration.
        preset: Name of the preset.
        shots: Image-mask pairs that the method learned from; 0 if from none.
    """

    method: str
    preset: str
    shots: int

    @property
    def key(self) -> dict[str, Any]:
        """What the guide's files say of themselves."""
        return {"method": self.method, "preset": self.preset, "shots": self.shots}


@dataclass(frozen=True)
class MaskRow(GuideKey):
    """A row of the mask table.

    Attributes:
        method: Name of the method, as in the configuration.
        preset: Name of the preset.
        shots: Image-mask pairs that the method learned from; 0 if from none.
        guidance_scale: lambda on the mean pixel log-likelihood; 0 of methods that follow no gradient.
    """

    guidance_scale: float
