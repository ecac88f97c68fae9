"""What every part of the page consists of: pictures as text, tables as text."""

import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image
from torch import Tensor

from ..images import encode_images

QUALITY = 85
"""Of WebP, 0..100: a page of a few megabytes. What differs from the stored pixels is hardly seen."""

NOTHING = "–"  # noqa: RUF001 - a cell that says nothing holds a dash

Json = dict[str, Any]
"""What the page's script reads: JSON-serialisable."""


class Pictures:
    """The images of one page, in order; each is coded once, however often it is shown.

    Attributes:
        coded: WebP of each, base64.
    """

    def __init__(self) -> None:
        self.coded: list[str] = []
        self._known: dict[bytes, int] = {}

    def add(self, images: Tensor, lossless: bool = False) -> list[int]:
        """Return the numbers of images, uint8 [N, 3, H, W]; ``lossless`` of masks, whose colours have a meaning."""
        return [self._number(data) for data in (encode_images(images) if lossless else _lossy(images))]

    def _number(self, data: bytes) -> int:
        if data not in self._known:
            self._known[data] = len(self.coded)
            self.coded.append(base64.b64encode(data).decode())
        return self._known[data]


def _lossy(images: Tensor) -> list[bytes]:
    return [_webp(image) for image in images.permute(0, 2, 3, 1).contiguous().numpy()]


def _webp(pixels: np.ndarray[Any, Any]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "WEBP", quality=QUALITY, method=4)
    return buffer.getvalue()


def table(columns: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]]) -> Json:
    """Return a table as the page shows it.

    Args:
        columns: Heads of all columns but the first, the methods'.
        rows: Method, and the text of its cells.
    """
    return {"columns": list(columns), "rows": [{"method": name, "cells": list(cells)} for name, cells in rows]}


def number(value: float | None, digits: int = 0, unit: str = "") -> str:
    """Return a number as text; a dash if there is none."""
    return NOTHING if value is None or pd.isna(value) else f"{value:,.{digits}f}{unit}"


def with_interval(row: "pd.Series[Any]", column: str, digits: int) -> str:
    """Return a value of a table with its 95 % interval: columns ``column``, ``ci_low`` and ``ci_high``."""
    value, low, high = (number(row[name], digits) for name in (column, "ci_low", "ci_high"))
    return value if NOTHING in (low, high) else f"{value} ({low} to {high})"


def percent(row: "pd.Series[Any]", column: str) -> str:
    """Return a share of a table, per cent, with its 95 % interval."""
    shares = 100 * row[[column, "ci_low", "ci_high"]].astype(float)
    return with_interval(shares, column, 1)
