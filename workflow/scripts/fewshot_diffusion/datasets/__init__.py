"""Data sets: one file per source, one common product (``ImageSet``)."""

from .base import ImageSet, load_image_set, save_image_set

__all__ = ["ImageSet", "load_image_set", "save_image_set"]
