"""Saving figures: every format, atomically, without dates, in fonts that have the labels' characters."""

import logging
import re
import warnings
from collections.abc import Sequence
from pathlib import Path

from matplotlib import font_manager
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.text import Text

from .storage.files import atomic_path

log = logging.getLogger(__name__)


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
                figure.savefig(temporary, dpi=200, metadata=metadata)
    missing = {int(found[1]) for each in caught if (found := re.match(r"Glyph (\d+) ", str(each.message)))}
    for each in caught:
        if not str(each.message).startswith(("Glyph ", "Matplotlib currently does not support")):
            warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)
    return missing
