"""What people call by hand: an unconditional pipeline of diffusers' that learns from a few labels and obeys them."""

from .pipeline import FewShotPipeline

__all__ = ["FewShotPipeline"]
