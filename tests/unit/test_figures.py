"""Saved figures: no dates, closed, and labels in any script."""

import logging
import warnings
from pathlib import Path

import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import font_manager
from matplotlib import pyplot as plt

from fewshot_diffusion.figures import fonts_with, save_figure

LABELS = ["猫", "قطة", "🙂", "बिल्ली", "Katze $x$"]


def font(path: Path, family: str, characters: str) -> str:
    """Make a font in which these characters are squares."""
    characters = "".join(sorted(set(characters)))
    pen = TTGlyphPen(None)
    pen.moveTo((0, 0))
    for corner in ((0, 700), (700, 700), (700, 0)):
        pen.lineTo(corner)
    pen.closePath()
    names = [".notdef", *(f"u{ord(character):X}" for character in characters)]
    builder = FontBuilder(1000)
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap(dict(zip(map(ord, characters), names[1:], strict=True)))
    builder.setupGlyf(dict.fromkeys(names, pen.glyph()))
    builder.setupHorizontalMetrics(dict.fromkeys(names, (800, 0)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": family, "styleName": "Regular"})
    builder.setupOS2(sTypoAscender=800)
    builder.setupPost()
    builder.save(path)
    return str(path)


def saved(folder: Path, labels: list[str]) -> bytes:
    figure, axes = plt.subplots(figsize=(2, 1))
    axes.barh(labels, range(len(labels)))
    save_figure(figure, [folder / "f.png", folder / "f.pdf"])
    return (folder / "f.png").read_bytes()


def test_a_saved_figure_is_closed_and_has_no_date(tmp_path: Path) -> None:
    before = plt.get_fignums()
    assert saved(tmp_path / "a", ["x"]) == saved(tmp_path / "b", ["x"])
    assert plt.get_fignums() == before
    assert (tmp_path / "a/f.pdf").read_bytes() == (tmp_path / "b/f.pdf").read_bytes()
    assert b"CreationDate" not in (tmp_path / "a/f.pdf").read_bytes()


def test_labels_are_drawn_with_a_font_that_has_them_or_the_log_says_so_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    installed = [str(tmp_path / "no font.ttf")]
    (tmp_path / "no font.ttf").write_bytes(b"no font")
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: installed)
    monkeypatch.setattr(font_manager.fontManager, "ttflist", list(font_manager.fontManager.ttflist))
    with warnings.catch_warnings(), caplog.at_level(logging.WARNING):
        warnings.simplefilter("error")
        boxes = saved(tmp_path, LABELS)
        (said,) = [record.message for record in caplog.records]
        assert said.startswith("No installed font has ") and "猫 (U+732B)" in said and "🙂 (U+1F642)" in said
        caplog.clear()
        installed += [font(tmp_path / "cat.ttf", "Cat", "猫"), font(tmp_path / "all.ttf", "All", "".join(LABELS[:4]))]
        assert saved(tmp_path, LABELS) != boxes
    assert not caplog.records
    assert fonts_with({ord("猫"), ord("🙂")}) == ["All"]
