"""Few-shot conditional generation from unconditional diffusion models.

Guidance by denoiser representations after Graikos, Yellapragada and Samaras,
"Conditional Generation from Unconditional Diffusion Models using Denoiser
Representations", BMVC 2023.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"
__all__ = ["FewShotPipeline"]

_PLACES = {"FewShotPipeline": "pipeline"}


def __getattr__(name: str) -> Any:
    """Import what is public when it is asked for: torch and diffusers take seconds, which no plan needs."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_PLACES[name]}", __name__), name)
