"""The page of results and the README's overview, as Markdown: every number in them comes from a committed table."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd

from ..storage.tables import read_csv, read_source_csv
from .readme import attributes_section, classes_section, masks_section, to_markdown

HOME = "avatars64"
"""The data set whose tables the overview is about."""


def overview(results: Path, published: Path) -> str:
    """Return the README's first table: what the paper says of each experiment, what we measure, and whether it holds.

    Args:
        results: Folder that holds the data sets' tables.
        published: The paper's numbers.
    """
    paper = read_source_csv(published, "item", "data_set", "row", "method", "metric", "value")
    tables = results / HOME / "tables"
    rows = {
        "[attributes](docs/results.md#attributes): 50 + 50 labels": _attributes_row(tables, paper),
        "[masks](docs/results.md#masks): 20 image-mask pairs": _masks_row(tables),
        "[classes](docs/results.md#classes): classifiers on generated images": _classes_row(tables, paper),
    }
    columns = ["the paper says", "we measure (cartoons, scaled-down)", "does it hold", "command"]
    frame = pd.DataFrame.from_dict(rows, orient="index", columns=columns)
    return to_markdown(frame.rename_axis("experiment"))


def results_page(results: Path) -> str:
    """Return the page of results, whole."""
    return "\n\n".join([_HEAD, *(section(results) for section in _SECTIONS)]) + "\n"


def compare_rows(table: pd.DataFrame, metric: str, method: str, other: str) -> dict[str, int]:
    """Count the attributes on which a method's distance is below, above or level with another's.

    Level means that the 95 % intervals overlap.

    Returns:
        Counts of ``below``, ``level`` and ``above``.
    """
    ours = table[table["metric"] == metric].set_index(["method", "attribute"])
    left, right = ours.loc[method], ours.loc[other]
    below = int((left["ci_high"] < right["ci_low"]).sum())
    above = int((left["ci_low"] > right["ci_high"]).sum())
    return {"below": below, "level": len(left) - below - above, "above": above}


def _attributes_row(tables: Path, paper: pd.DataFrame) -> list[str]:
    table, judged = read_csv(tables / "attributes.csv"), read_csv(tables / "attributes_judge.csv")
    shares = judged.set_index(["method", "attribute"])["judge_accuracy"]
    rows = paper[(paper["item"] == "table1") & (paper["metric"] == "fid")]
    fid = rows.pivot_table(index="row", columns="method", values="value")
    better = int((fid["ours"] < fid["ddim_i"]).sum())
    counts = compare_rows(table, kernel_metric(table), "exact", "unguided")
    said = f"FID {_range(fid['ours'], '.1f')} on CelebA-64, below DDIM-I on {better} of {len(fid)} rows"
    found = (
        f"an independent judge finds the wanted class on {_range(100 * shares['exact'], '.0f')} % of the samples, "
        f"{_range(100 * shares['unguided'], '.0f')} % unguided; kernel distance, against unguided: "
        f"{_words(counts)}"
    )
    return [said, found, "steering: yes; distance: not with this denoiser", "`snakemake --cores 8 attributes`"]


def _masks_row(tables: Path) -> list[str]:
    table = read_csv(tables / "masks.csv")
    best = _main_rows(table).set_index("method")["miou"]
    found = (
        f"mIoU by an independent segmenter: unguided {best['unguided']:.2f}, exact {best['exact']:.2f}, readout "
        f"{best['readout']:.2f}, a clean-image network {best['clean_image']:.2f}, ControlNet {best['controlnet']:.2f}; "
        f"real images {table['miou_real'].iloc[0]:.2f}"
    )
    leads = best[["exact", "readout"]].max() > best["clean_image"]
    holds = f"samples follow masks: yes; better than the clean-image network: {'yes' if leads else 'no'}"
    return ["samples follow masks, baselines fail (pictures only)", found, holds, "`snakemake --cores 8 masks`"]


def _classes_row(tables: Path, paper: pd.DataFrame) -> list[str]:
    table = read_csv(tables / "classes.csv")
    ours = table[(table["kind"] != "published") & (table["architecture"] == "resnet18") & ~table["mixup_cutmix"]]
    top1 = 100 * ours.set_index(["control", "generated_ratio"])["top1_mean"]
    rows = paper[paper["item"] == "table2"]
    ratio = rows["row"].str.extract(r"(.*);generated_ratio=(\d)")
    wide = rows.assign(cell=ratio[0], ratio=ratio[1]).pivot_table(index="cell", columns="ratio", values="value")
    gain = (wide["3"] - wide["0"]).mean()
    real, most, matched = top1["none", 0], top1["none", 3], top1["matched_updates", 0]
    found = (
        f"ResNet-18, top-1: real images {real:.1f} %, with 3x generated {most:.1f} %, real images with as many updates "
        f"{matched:.1f} %"
    )
    holds = f"at equal epochs: {_yes(most > real)}; at equal updates: {_yes(most > matched)}"
    said = f"3x generated images add {gain:.1f} points on average"
    return [said, found, holds, "`snakemake --cores 8 classes`"]


def kernel_metric(table: pd.DataFrame) -> str:
    """Return the column name of the kernel distance in a table."""
    return next(str(name) for name in table["metric"].unique() if str(name).startswith("k"))


def _main_rows(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the main preset and number of pairs: those that the ControlNet row is of."""
    main = table[table["method"] == "controlnet"].iloc[0]
    rows: pd.DataFrame = table[(table["preset"] == main["preset"]) & table["shots"].isin([0, main["shots"]])]
    return rows


def _attributes_part(results: Path) -> str:
    table = read_csv(results / HOME / "tables/attributes.csv")
    judged = read_csv(results / HOME / "tables/attributes_judge.csv")
    faces = [read_csv(results / f"celebahq32/tables/{name}.csv") for name in ("attributes", "attributes_judge")]
    counts = compare_rows(table, kernel_metric(table), "exact", "unguided")
    return "\n\n".join(
        [
            "## Attributes",
            "![Rows: the wanted class. Columns: real, unguided, guided](../results/avatars64/figures/attributes.png)",
            _ATTRIBUTES,
            attributes_section(table, judged),
            f"Kernel distance of `exact` against `unguided`, rows: {_words(counts)} (level: the intervals overlap). "
            + _ATTRIBUTES_LIMITS,
            "### Real faces, 32 x 32",
            attributes_section(*faces),
            _FACES,
        ]
    )


def _masks_part(results: Path) -> str:
    table = read_csv(results / HOME / "tables/masks.csv")
    faces = read_csv(results / "celebamask64/tables/masks.csv")
    return "\n\n".join(
        [
            "## Masks",
            "![Rows: masks, real images, samples](../results/avatars64/figures/masks.png)",
            masks_section(table),
            "![mIoU against the number of image-mask pairs](../results/avatars64/figures/masks_shots.png)",
            _MASKS,
            "### Real faces, 64 x 64, 19 parts",
            masks_section(faces),
            _FACE_MASKS,
        ]
    )


def _classes_part(results: Path) -> str:
    tables = results / HOME / "tables"
    return "\n\n".join(
        [
            "## Classes",
            "![Accuracy against the ratio of generated images](../results/avatars64/figures/classes.png)",
            classes_section(read_csv(tables / "classes.csv"), read_csv(tables / "classes_acceptance.csv")),
            _CLASSES,
        ]
    )


def _range(values: "pd.Series[float]", spec: str) -> str:
    low, high = format(values.min(), spec), format(values.max(), spec)
    return low if low == high else f"{low} to {high}"


def _words(counts: dict[str, int]) -> str:
    return ", ".join(f"{number} {name}" for name, number in counts.items())


def _yes(holds: bool) -> str:
    return "yes" if holds else "no"


_HEAD = """\
# Results

This page is written by `make docs` from the committed tables. *Scaled-down* means: smaller data, denoisers and sample sets than
the paper's, other features than FID's. Intervals are 95 %, over samples: one denoiser, one draw of the labels. The paper's own
numbers stand in [`config/published.csv`](../config/published.csv) and below ours in the tables."""

_ATTRIBUTES = """\
The frame is blue where an independent judge finds the wanted class, orange where it does not. `naive` is real images of all
classes, `unguided` the denoiser alone, `ddim_i` a classifier of the same 100 labels in image space that rejects unguided samples.
`exact` is the paper's estimator; `readout` reads the class off the pass that predicts the noise. `floor` is the distance of as
many held-out real images of the class. The judge's share of `real` images is a ceiling. Frechet distances fall with n: compare
only equal n."""

_ATTRIBUTES_LIMITS = """\
The denoiser is small: its own distance to real images dominates every generated row, so the distances say little about
conditioning. EfficientNet's features are also harsh on grain that nobody sees on flat colours. What steering does shows in
the judge's shares. How lambda was chosen, by another judge on other seeds: `tables/attributes_sweep.csv`."""

_FACES = """\
The paper's own rows on few pixels and with a denoiser that saw little: compare the methods with each other, not with the
paper. The photographs are non-commercial research data; only numbers leave them."""

_MASKS = """\
mIoU is the agreement of the wanted mask with the one that an independent segmenter, trained on other images, finds on the sample.
Diversity is the mean distance between features of two samples of one mask. `label_500` shares the released feature label,
upsampling, eta and interval, with fewer steps and another training of the head; `label_100` differs in label, upsampling,
sampling and lambda, which was chosen with other masks, seeds and another segmenter (`tables/masks_sweep.csv`).

**The paper's picture does not repeat here.** Samples follow the masks, but a network that saw the same pairs as clean images
(`clean_image`) guides better than the head on denoiser activations, and the ControlNet does not fail. There the head's own score
rises with lambda while the independent one falls: the samples please the head alone. The judge and the guide of `clean_image` are
networks of one architecture, not of one training, which may flatter it."""

_FACE_MASKS = """\
A small measurement: few masks, a denoiser whose faces are visibly distorted, and segmenters that hardly know the small parts."""

_CLASSES = """\
Rows are the classifier and its training; columns how many generated images stand beside each real one. At equal epochs generated
images help by far more than two standard deviations; real images alone with as many updates do better still, and the filter
changes little. At this scale updates are short, not images, and a gain at equal epochs says little without the control. The wide
networks got few epochs."""

_SECTIONS: tuple[Callable[[Path], str], ...] = (_attributes_part, _masks_part, _classes_part)
