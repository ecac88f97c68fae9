"""Captions of every figure: none is cut, and none lies on another one or on an image, however long it is."""

from collections.abc import Iterator
from itertools import combinations

import pandas as pd
import pytest
import torch
from matplotlib import pyplot as plt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from class_helpers import filters_table
from fewshot_diffusion.attributes.figures import Strip, attributes_figure, sheet_figure
from fewshot_diffusion.classes.figures import classes_figure
from fewshot_diffusion.classes.filters_figure import filters_figure
from fewshot_diffusion.figures import fitted
from fewshot_diffusion.masks.figures import masks_figure, shots_figure
from fewshot_diffusion.tooling.strip import Block, strip_figure

LABEL = "Wears-a-hat, no glasses, at the seaside!"  # as long as the configuration allows
WEAK = "judge right on 62.5 % of real images only"
SEGMENTER = "segmenter's own mIoU on real images 0.35 only"
IMAGES = torch.zeros(6, 3, 16, 16, dtype=torch.uint8)
MASKS = IMAGES[:, 0]


def attributes(rows: int, strips: int, columns: int) -> Figure:
    strip = Strip("ours, readout", IMAGES[:columns], torch.ones(columns, dtype=torch.bool))
    return attributes_figure([(f"{LABEL}\nn = 6 to 200\n{WEAK}", [strip] * strips)] * rows)


def masks(number: int) -> Figure:
    rows = [(f"clean_image\nsample {k} of each mask, n = 1000", IMAGES[:number]) for k in (1, 2)]
    return masks_figure(MASKS[:number], rows, SEGMENTER)


def shots() -> Figure:
    rows = [{"method": method, "shots": k} for method in ("unguided", "clean_image") for k in (1, 5, 10, 20, 2000)]
    values = {"preset": "p", "n": 1000, "miou": 0.3, "ci_low": 0.2, "ci_high": 0.4, "miou_real": 0.35}
    return shots_figure(pd.DataFrame(rows).assign(**values), "p")


def classes() -> Figure:
    cells = [
        {"architecture": name, "mixup_cutmix": mixed, "generated_ratio": ratio, "control": "none", "n_test": 10000}
        for name in ("wide_resnet50_2", "resnext50_32x4d", "resnet18")
        for mixed in (True, False)
        for ratio in (0, 1, 2, 3)
    ]
    table = pd.DataFrame(cells).assign(kind="scaled-down", seeds="0", top1_mean=0.5, top1_sd=0.1)
    shares = dict.fromkeys(["judge_accuracy_accepted", "judge_accuracy_rejected", "judge_accuracy_real"], 0.625)
    acceptance = pd.DataFrame([{"class": "all", "n_drawn": 100000, "acceptance_rate": 1, **shares}])
    bins = {"confidence_low": [0.0], "confidence_high": [0.5], "n": [10], "confidence": [0.2], "accuracy": [0.3]}
    return classes_figure(table, acceptance, pd.DataFrame(bins))


FIGURES = {
    "attributes, one row": lambda: attributes(1, 1, 3),
    "attributes, many rows": lambda: attributes(8, 4, 5),
    "masks, one": lambda: masks(1),
    "masks, many": lambda: masks(6),
    "shots": shots,
    "classes": classes,
    "filters": lambda: filters_figure(filters_table()),
    "strip": lambda: strip_figure([Block(f"{LABEL}, the same seeds", ("unguided", "clean_image"), (IMAGES, IMAGES))]),
    "strip, few": lambda: strip_figure([Block(LABEL, ("mask", "readout"), (IMAGES[:2], IMAGES[:2]))] * 3),
    "sheet": lambda: sheet_figure([(f"readout, {LABEL}: the first 6 of 200; {WEAK}", IMAGES)] * 8, 16),
    "sheet, narrow": lambda: sheet_figure([(f"readout, {LABEL}: the first 6 of 200; {WEAK}", IMAGES)] * 2, 4),
}


def shown(figure: Figure) -> Iterator[tuple[str, Bbox]]:
    """Yield what each caption says, and where it lies; captions of a legend lie in the legend."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    for text in figure.findobj(Text):
        if isinstance(text, Text) and text.get_visible() and text.get_text().strip():
            yield text.get_text(), text.get_window_extent(canvas.get_renderer())


@pytest.mark.slow
@pytest.mark.parametrize("name", FIGURES)
def test_no_caption_is_cut_or_covered(name: str) -> None:
    figure = FIGURES[name]()
    captions = list(shown(figure))
    whole = figure.bbox.padded(1)
    assert captions
    for text, box in captions:
        assert whole.x0 <= box.x0 and whole.y0 <= box.y0 and box.x1 <= whole.x1 and box.y1 <= whole.y1, text
        for axes in figure.axes:
            if axes.images:
                assert not Bbox.intersection(box.padded(-1), axes.get_window_extent()), f"{text!r} on an image"
    for (one, first), (other, second) in combinations(captions, 2):
        assert not Bbox.intersection(first.padded(-1), second.padded(-1)), f"{one!r} on {other!r}"
    plt.close(figure)


@pytest.mark.parametrize("text", [LABEL, "a" * 60, "図" * 40, "short", "", "two\nlines"])
def test_a_fitted_caption_has_all_its_letters(text: str) -> None:
    assert "".join(fitted(text, 1.0, 8).split()) == "".join(text.split())
