"""What the tables say, in words: every number and every verdict is computed, so that none outlives its table."""

from collections.abc import Iterable

import pandas as pd

from ..config.base import LEARNED_AS

STEERED = ("exact", "readout", "direct")
"""Methods that are guided by a head on denoiser activations; the first is the paper's."""


def compare(rows: pd.DataFrame, method: str, other: str) -> dict[str, int]:
    """Count the attributes on which a method is below, above or level with another.

    Level means that the 95 % intervals overlap.

    Args:
        rows: One row for each method and attribute, with ``ci_low`` and ``ci_high``.
        method: The method that is compared.
        other: What it is compared with.
    """
    bounds = rows.set_index(["method", "attribute"])[["ci_low", "ci_high"]]
    ours, theirs = bounds.loc[method], bounds.loc[other]
    below = int((ours["ci_high"] < theirs["ci_low"]).sum())
    above = int((ours["ci_low"] > theirs["ci_high"]).sum())
    return {"below": below, "level": len(ours) - below - above, "above": above}


def beside_unguided(rows: pd.DataFrame, method: str) -> dict[str, int]:
    """Count the attributes on which a method's distance is below, above or level with that of unguided samples.

    Level means that the 95 % interval of the difference holds 0: paired, where seeds are shared. Of a table without
    differences, the rows' own intervals are compared.

    Args:
        rows: One row for each method and attribute, with ``minus_unguided_low`` and ``..._high`` if measured.
        method: The method that is compared.
    """
    if "minus_unguided" not in rows:
        return compare(rows, method, "unguided")
    ours = rows[rows["method"] == method]
    below, above = int((ours["minus_unguided_high"] < 0).sum()), int((ours["minus_unguided_low"] > 0).sum())
    return {"below": below, "level": len(ours) - below - above, "above": above}


def in_words(counts: dict[str, int]) -> str:
    """Return counts of rows as ``below on 1 of 4 rows, level on 2, above on 1``; what never happens is left out."""
    found = [f"{name} on {number}" for name, number in counts.items() if number]
    return ", ".join([f"{found[0]} of {sum(counts.values())} rows", *found[1:]])


def spread(values: "pd.Series[float]", spec: str) -> str:
    """Return the range of some values: ``20 to 80``."""
    low, high = format(values.min(), spec), format(values.max(), spec)
    return low if low == high else f"{low} to {high}"


def kernel_rows(table: pd.DataFrame) -> pd.DataFrame:
    """Return our own rows of the first extractor's kernel distance, which is unbiased in the number of images."""
    return kernel_rows_by_extractor(table)[0]


def kernel_rows_by_extractor(table: pd.DataFrame) -> list[pd.DataFrame]:
    """Return our own rows of the kernel distance, of each extractor, in the table's order."""
    ours = table[table["kind"] != "published"]
    kernel = ours[ours["metric"].str.fullmatch("kid|kd(_.*)?")]
    return [rows for _, rows in kernel.groupby("metric", sort=False)]


def by_extractor(table: pd.DataFrame, method: str = STEERED[0]) -> str:
    """Say how a method's kernel distance stands beside unguided samples', by each extractor."""
    each = (
        f"`{rows['metric'].iloc[0]}` {in_words(beside_unguided(rows, method))}"
        for rows in kernel_rows_by_extractor(table)
    )
    return f"`{method}` beside `unguided`: {'; '.join(each)}."


def shares_reached(table: pd.DataFrame, points: int = 5) -> str:
    """Say on how many rows a wanted share is reached, and how its samples' distance stands beside unguided ones'."""
    rows = 100 * table.drop_duplicates(["attribute", "method"]).set_index(["method", "attribute"])["away"]
    off, kernel = rows.loc["distribution"], kernel_rows(table).groupby("reference", sort=False)
    counts = {str(name): compare(found, "distribution", "unguided") for name, found in kernel}
    beside = "; ".join(f"to `{name}` {in_words(count)}" for name, count in counts.items())
    return (
        f"The wanted share is reached within {points} points on {int((off <= points).sum())} of {len(off)} rows: away "
        f"by {spread(off, '.1f')} points, `unguided` by {spread(rows.loc['unguided'], '.1f')}. Kernel distance beside "
        f"`unguided`: {beside}."
    )


def latents_beside_unguided(table: pd.DataFrame, fair: float = 1.5) -> str:
    """Say how far generative baselines' unconditional samples lie, in distances of the unguided denoiser's."""
    kernel = kernel_rows(table).set_index("method")["value"]
    ratios = (kernel / kernel["unguided"]).drop("unguided")
    each = ", ".join(f"`{method}` {ratio:.2f}" for method, ratio in ratios.items())
    seen = table.dropna(subset="training_images").drop_duplicates("method").set_index("method")["training_images"]
    images = spread(seen.drop("unguided"), ",.0f")
    return (
        f"They saw {images} images each, the denoiser {seen['unguided']:,.0f}. Kernel distance of their samples "
        f"in units of `unguided`'s: {each}; at most {fair:g} for {int((ratios <= fair).sum())} of {len(ratios)}."
    )


def beside_naive(table: pd.DataFrame) -> str:
    """Say how the generated rows stand beside real images of all classes."""
    rows = kernel_rows(table).set_index(["method", "attribute"])["value"]
    generated = rows.drop(index="naive", level="method")
    above = int((generated > rows.loc["naive"].reindex(generated.index, level="attribute")).sum())
    return (
        f"{above} of {len(generated)} generated rows are farther from the class than real images of all classes "
        "(`naive`): a distance measures the denoiser's own quality together with the class. What steering alone does "
        "shows in the judge's shares."
    )


def offsets(table: pd.DataFrame, most: float = 3.0) -> str:
    """Say how the denoiser's own offset compares with what the right classes alone would gain, by each extractor.

    The offset is unguided - naive; the gain naive - floor. Where the offset is much larger, a table of distances to a
    class says more of the denoiser than of what steers it.

    Args:
        table: Rows of every method, ``naive`` and ``unguided`` among them.
        most: Up to which ratio a row counts.
    """
    said = []
    for rows in kernel_rows_by_extractor(table):
        by_method = rows.set_index(["method", "attribute"])
        naive, unguided = by_method.loc["naive"], by_method.loc["unguided"]
        gain = (naive["value"] - naive["floor"]).clip(lower=0)
        ratios = (unguided["value"] - naive["value"]) / gain.where(gain > 0)
        each = ", ".join(
            f"{attribute} {ratio:.1f}" if ratio == ratio else f"{attribute} nothing to gain"
            for attribute, ratio in ratios.items()
        )
        few = int((ratios <= most).sum())
        said.append(f"`{rows['metric'].iloc[0]}` {each} (at most {most:g} on {few} of {len(ratios)})")
    return (
        "Distance of `unguided` beyond that of `naive`, in units of what images of the right class alone would gain: "
        f"{'; '.join(said)}. Where it is large, distances say more of the denoiser than of what steers it."
    )


def main_rows(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the masks' main preset and number of pairs, those of the first ControlNet, by method."""
    main = table[table["method"] == "controlnet"].iloc[0]
    rows = table[(table["preset"] == main["preset"]) & table["shots"].isin([0, main["shots"]])]
    by_method: pd.DataFrame = rows.set_index("method")
    return by_method


def direct_methods(table: pd.DataFrame) -> str:
    """Say what the direct methods of a table are; nothing where it has none."""
    found = [method for method in LEARNED_AS if method in set(table["method"])]
    direct, learned = (
        " and ".join(f"`{name}`" for name in names) for names in (found, [LEARNED_AS[one] for one in found])
    )
    said = f"{direct}: the gradient of {learned} with respect to x0_hat alone, without the denoiser's Jacobian."
    return said if found else ""


def guiding_classifier(table: pd.DataFrame) -> str:
    """Say what guides by images in a table of attributes; nothing where nothing does."""
    found = " and ".join(f"`{name}`" for name in ("clean_image", "clean_image_direct") if name in set(table["method"]))
    said = f"{found}: guidance by the classifier of `ddim_i`, which learned from clean images; it reads x0_hat."
    return said if found else ""


def ahead_of(rows: pd.DataFrame, baseline: str, methods: Iterable[str] = STEERED) -> str:
    """Name the methods whose interval of mIoU lies above the baseline's, or say ``none``.

    Args:
        rows: One row for each method, as ``main_rows`` returns them.
        baseline: What they are compared with.
        methods: The methods that are compared.
    """
    low, high = rows["ci_low"].to_dict(), rows["ci_high"].to_dict()
    return ", ".join(f"`{method}`" for method in methods if method in low and low[method] > high[baseline]) or "none"


def order_of_guides(table: pd.DataFrame) -> str:
    """Say in which order the methods follow masks, and which are ahead of the baselines."""
    rows = main_rows(table)
    ranked = ", ".join(f"`{method}` ({value:.2f})" for method, value in rows["miou"].sort_values()[::-1].items())
    return (
        f"By mIoU, with the same pairs: {ranked}. Ahead of `unguided`, intervals apart: "
        f"{ahead_of(rows, 'unguided', rows.index.drop('unguided'))}; the paper's pictures show baselines that fail. Of "
        f"those that read the denoiser's features, ahead of `clean_image`: {ahead_of(rows, 'clean_image')}; of "
        f"`controlnet`: {ahead_of(rows, 'controlnet')}."
    )


def noise_places(table: pd.DataFrame, method: str = STEERED[0], other: str = "clean_image") -> dict[int, str]:
    """Return where a guide's own masks stand beside another's: noise level, -1 for real images -> in words.

    Args:
        table: What guides find, a row for each and noise level.
        method: The guide, by the preset of the other one.
        other: What it is compared with.
    """
    preset = table.loc[table["method"] == other, "preset"].iloc[0]
    rows = table[table["preset"] == preset].assign(level=table["timestep"].fillna(-1).astype(int))
    bounds = rows.set_index(["method", "level"])[["ci_low", "ci_high"]]
    ours, theirs = bounds.loc[method], bounds.loc[other]
    places = dict.fromkeys(ours.index, "level with")
    places |= dict.fromkeys(ours.index[ours["ci_low"] > theirs["ci_high"]], "ahead of")
    return places | dict.fromkeys(ours.index[ours["ci_high"] < theirs["ci_low"]], "behind")


def robustness(table: pd.DataFrame) -> str:
    """Say where the masks of ``exact`` are ahead of a clean-image network's: on real images, and by noise level."""
    places = noise_places(table)
    real = places.pop(-1)
    said = [
        f"{place} it at t = {', '.join(str(level) for level in places if places[level] == place)}"
        for place in dict.fromkeys(places.values())
    ]
    return (
        f"On real images `exact` is {real} `clean_image`, which learned from the same pairs; on the estimates "
        f"{', '.join(said)}. Level means that the intervals overlap."
    )


def own_opinion(sweep: pd.DataFrame) -> pd.DataFrame:
    """Return what stronger guidance changes in the opinion of what guides, and in that of an independent segmenter."""
    ordered = sweep.sort_values("guidance_scale").groupby("method", sort=False)
    low, high = ordered.first(), ordered.last()  # of each method's own candidates

    def ends(column: str, shape: str) -> "pd.Series[str]":
        return low[column].map(shape.format) + " to " + high[column].map(shape.format)

    columns = {
        "n": ordered["n"].min(),
        "lambda": ends("guidance_scale", "{:g}"),
        "mIoU by the guide itself": ends("own_miou", "{:.2f}"),
        "mIoU by an independent segmenter": ends("tuning_miou", "{:.2f}"),
    }
    return pd.DataFrame(columns).reindex(sweep["method"].unique()).rename_axis("guide")


def main_accuracy(table: pd.DataFrame) -> pd.DataFrame:
    """Return mean and standard deviation of top-1 of the first architecture without mixing, per cent.

    Returns:
        Frame by control and generated ratio, columns ``top1_mean`` and ``top1_sd``.
    """
    ours = table[table["kind"] != "published"]
    rows = ours[(ours["architecture"] == ours["architecture"].iloc[0]) & ~ours["mixup_cutmix"].astype(bool)]
    points: pd.DataFrame = 100 * rows.set_index(["control", "generated_ratio"])[["top1_mean", "top1_sd"]]
    return points


def has_equal_updates(table: pd.DataFrame) -> bool:
    """Whether the cells of Table 2 were trained for as many updates, give or take an epoch: they say no epochs."""
    return bool(table.loc[table["kind"] != "published", "epochs"].isna().all())


def what_generated_images_add(table: pd.DataFrame) -> str:
    """Say what the largest ratio of generated images adds, beside real images alone and beside the controls."""
    accuracy = main_accuracy(table)
    most = int(accuracy.index.get_level_values("generated_ratio").max())
    controls = {
        ("none", 0): f"real images alone for as many {'updates' if has_equal_updates(table) else 'epochs'}",
        ("matched_updates", 0): "real images alone for as many updates",
        ("unfiltered", most): "as many generated images without the filter",
    }
    said = [
        f"{_difference(accuracy, ('none', most), other)} {words}"
        for other, words in controls.items()
        if other in accuracy.index
    ]
    return f"With {most}x generated images, {table['architecture'].iloc[0]} is {', '.join(said)}."


def why_updates_matter(table: pd.DataFrame) -> str:
    """Draw the conclusion from the control of updates, where there is one and it is one."""
    accuracy = main_accuracy(table)["top1_mean"]
    most = accuracy.index.get_level_values("generated_ratio").max()
    if accuracy.get(("matched_updates", 0), -1) < accuracy["none", most]:
        return ""
    return "At this scale updates are short, not images: a gain at equal epochs says little without that control."


def length_of_training(table: pd.DataFrame) -> str:
    """Say how long each architecture was trained without controls: epochs, or updates where these are alike."""
    rows = table[(table["kind"] != "published") & (table["control"] == "none")]
    what = "updates" if has_equal_updates(table) else "epochs"
    found = rows.groupby("architecture", sort=False)[what]
    return f"{what.title()}: " + ", ".join(f"{name} {spread(values, '.0f')}" for name, values in found) + "."


def _difference(accuracy: pd.DataFrame, cell: tuple[str, int], other: tuple[str, int]) -> str:
    """Return how far one cell's mean is above or below another's, with the larger of the two spreads over seeds."""
    means, spreads = accuracy["top1_mean"].to_dict(), accuracy["top1_sd"].to_dict()
    points = means[cell] - means[other]
    side = "above" if points > 0 else "below"
    return f"{abs(points):.1f} points (spread over seeds {max(spreads[cell], spreads[other]):.1f}) {side}"
