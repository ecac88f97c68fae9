"""Saving figures: every format, atomically, without dates, in fonts that have the characters; captions that fit."""

import logging
import re
import textwrap
import unicodedata
import warnings
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from matplotlib import font_manager
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.text import Text
from matplotlib.textpath import text_to_path
from PIL import Image

from .storage.files import atomic_path

log = logging.getLogger(__name__)

DPI = 200
CLOSE = ConstrainedLayoutEngine(w_pad=0.03, h_pad=0.03, wspace=0.01, hspace=0.01)
"""Room for every caption, little between the parts; pads in inches."""
_POINTS = 72  # in an inch


def save_figure(figure: Figure, paths: Sequence[Path]) -> None:
    """Write a figure in the format of each path's suffix, without dates, so that equal data give equal bytes.

    Characters that the figure's font lacks are drawn with an installed one that has them; where none has, the log says
    so once.
    """
    if missing := _save(figure, paths):
        fonts = fonts_with(missing)
        for text in figure.findobj(Text):
            text.set_fontfamily([*text.get_fontfamily(), *fonts])
        missing = _save(figure, paths)
    if missing:
        shown = ", ".join(f"{chr(code)} (U+{code:04X})" for code in sorted(missing))
        log.warning("No installed font has %s: install one that does, such as fonts-noto, to see them drawn.", shown)
    plt.close(figure)


def shrink_png(path: Path) -> None:
    """Write a PNG again, without the transparency that it does not use and as small as it gets; no pixel changes."""
    with Image.open(path) as image, atomic_path(path) as temporary:
        image.convert("RGB").save(temporary, "PNG", optimize=True)


def fonts_with(characters: set[int]) -> list[str]:
    """Return the families of as few installed fonts as have these characters together, as far as any has them."""
    having: dict[str, set[int]] = {}
    for path in sorted(font_manager.findSystemFonts()):
        try:
            font = font_manager.get_font(path)
        except (RuntimeError, OSError):  # of a kind that cannot be drawn
            continue
        if font.scalable and (has := characters & font.get_charmap().keys()):
            font_manager.fontManager.addfont(path)
            having.setdefault(font.family_name, set()).update(has)
    chosen, left = list[str](), set(characters)
    while having and (best := max(having, key=lambda name: len(having[name] & left))) and having[best] & left:
        chosen.append(best)
        left -= having[best]
    return chosen


def _save(figure: Figure, paths: Sequence[Path]) -> set[int]:
    """Write the files; return the characters that could not be drawn."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for path in paths:
            metadata = {"CreationDate": None} if path.suffix == ".pdf" else {"Software": None}
            with atomic_path(path) as temporary:
                figure.savefig(temporary, dpi=DPI, metadata=metadata)
    missing = {int(found[1]) for each in caught if (found := re.match(r"Glyph (\d+) ", str(each.message)))}
    for each in caught:
        if not str(each.message).startswith(("Glyph ", "Matplotlib currently does not support")):
            warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)
    return missing


def fitted(text: str, inches: float, size: float) -> str:
    """Break a caption into lines that are no longer than ``inches`` when drawn at a font size of ``size`` points."""
    return "\n".join(_broken(line, inches * _POINTS, size) for line in text.split("\n"))


@cache
def _broken(line: str, points: float, size: float) -> str:
    whole, lines = _length(line, size), [line]
    if whole <= points:
        return line
    for width in range(min(len(line), int(1.5 * len(line) * points / whole)), 0, -1):
        lines = textwrap.wrap(line, width)
        if all(_length(part, size) <= points for part in lines):
            break
    return "\n".join(lines)


def _length(line: str, size: float) -> float:
    """Return the length of a line, points; characters of another font are taken for as wide as they get."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of characters that the font lacks, when the figure is saved
        length, _, _ = text_to_path.get_text_width_height_descent(line, FontProperties(size=size), ismath=False)
    return length + size * sum(unicodedata.east_asian_width(character) in "WF" for character in line) / 2
