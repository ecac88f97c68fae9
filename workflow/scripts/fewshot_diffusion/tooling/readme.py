"""Tables as people read them: Markdown in the layout of the paper."""

from collections.abc import Mapping

import pandas as pd

from ..classes.table import poster_view
from ..errors import DataError
from ..metrics.measures import main_metrics, metric_of
from ..metrics.notes import judge_note, segmenter_note
from .claims import kernel_rows_by_extractor


def attributes_view(table: pd.DataFrame, shares: pd.DataFrame) -> pd.DataFrame:
    """Return one data set's results as people read them: a row per class and method, with its own n and floors.

    Args:
        table: Distances; rows of kind ``published`` are left out.
        shares: The judge's shares, in the order of the rows.
    """
    key = ["attribute", "method"]
    ours, judged = table[table["kind"] != "published"], shares.set_index(key)
    view = pd.DataFrame({"n": judged["n"], "judge": _share_cells(judged)})
    view["forward passes"] = _number_cells(ours.drop_duplicates(key).set_index(key)["forwards_per_sample"], 0)
    view = view.join(_distances_view(ours, key))
    beside = ours.dropna(subset="minus_unguided") if "minus_unguided" in ours else ours.head(0)
    for metric in main_metrics(beside["metric"]):
        cells = _difference_cells(beside[beside["metric"] == metric].set_index(key), metric_of(metric).digits)
        view[f"{metric.split('_')[0]} less unguided's"] = cells
    if judged["note"].notna().any():
        view["note"] = judged["note"]
    return view.fillna("").reset_index("method")


def extractors_view(table: pd.DataFrame) -> pd.DataFrame:
    """Return the kernel distance by every extractor, and less that of unguided samples: a row per class and method."""
    key = ["attribute", "method"]
    columns = {}
    for rows in kernel_rows_by_extractor(table):
        name, found = rows["metric"].iloc[0], rows.set_index(key)
        columns[name] = _distance_cells(found, metric_of(name).digits)
        if "minus_unguided" in found and (beside := found.dropna(subset="minus_unguided")).size:
            columns[f"{name} less unguided's"] = _difference_cells(beside, metric_of(name).digits)
    return pd.DataFrame(columns).reindex(found.index).fillna("").reset_index("method")


def distribution_view(table: pd.DataFrame) -> pd.DataFrame:
    """Return wanted and found shares as people read them: a row per attribute, method and kind of real images."""
    key = ["attribute", "method", "reference"]
    rows = table.drop_duplicates(key).set_index(key)
    view = pd.DataFrame({"n": rows["n"], "wanted": rows["wanted_share"].map("{:.0%}".format)})
    view["judge"] = _share_cells(rows, "found_share", "share_low", "share_high")
    view["forward passes"] = _number_cells(rows["forwards_per_sample"], 0)
    view = view.join(_distances_view(table, key))
    if rows["note"].notna().any():
        view["note"] = rows["note"]
    return view.fillna("").reset_index(["method", "reference"])


def tables_of(found: Mapping[str, pd.DataFrame]) -> list[tuple[str, pd.DataFrame]]:
    """Return title and view of each table of a data set, by name, that is there."""
    views = []
    if {"attributes", "attributes_judge"} <= set(found):
        title = "attributes: share that the judge takes for the class, distance to the class (lower is better), 95 %"
        views.append((title, attributes_view(found["attributes"], found["attributes_judge"])))
    if "attributes_distribution" in found:
        title = "wanted shares: what the judge finds, distance to real images of that share and to all, 95 %"
        views.append((title, distribution_view(found["attributes_distribution"])))
    if "masks" in found:
        ceiling = found["masks"]["miou_real"].iloc[0]
        title = (
            f"masks: agreement with the wanted masks; of real images {ceiling:.3f}{_flagged(segmenter_note(ceiling))}"
        )
        views.append((title, masks_view(found["masks"])))
    if "classes" in found:
        views.append(("classes: top-1 accuracy in per cent", poster_view(found["classes"])))
    return views


def _distances_view(rows: pd.DataFrame, key: list[str]) -> pd.DataFrame:
    """Return every distance of the first extractor with its interval, and its floor, by the key of the rows."""
    view = pd.DataFrame(index=rows.drop_duplicates(key).set_index(key).index)
    for metric in measured_metrics(rows):
        found, digits = rows[rows["metric"] == metric].set_index(key), metric_of(metric).digits
        view[metric] = _distance_cells(found, digits)
        view[f"floor of {metric.split('_')[0]}"] = _number_cells(found["floor"], digits)
    return view


def _share_cells(rows: pd.DataFrame, *columns: str) -> list[str]:
    bounds = (100 * rows[list(columns or ("judge_accuracy", "ci_low", "ci_high"))]).to_numpy(dtype=float)
    return [f"{share:.1f} % [{low:.0f}, {high:.0f}]" if share == share else "" for share, low, high in bounds]


def _distance_cells(rows: pd.DataFrame, digits: int) -> "pd.Series[str]":
    half = (rows["ci_high"] - rows["ci_low"]) / 2
    return _number_cells(rows["value"], digits) + _number_cells(half, digits, before=" ± ")


def _difference_cells(rows: pd.DataFrame, digits: int) -> "pd.Series[str]":
    half = (rows["minus_unguided_high"] - rows["minus_unguided_low"]) / 2
    signed = rows["minus_unguided"].map(f"{{:+.{digits}f}}".format)
    return signed + _number_cells(half, digits, before=" ± ")


def _number_cells(numbers: "pd.Series[float]", digits: int, before: str = "") -> "pd.Series[str]":
    """Return numbers as text; of rows without an image there is none."""
    return numbers.map(lambda number: "" if number != number else f"{before}{number:.{digits}f}")


def to_markdown(frame: pd.DataFrame) -> str:
    """Return a frame with its index as a Markdown table."""
    header = [str(frame.index.name), *map(str, frame.columns)]
    lines = [
        header,
        ["---"] * len(header),
        *([str(i), *map(str, row)] for i, row in zip(frame.index, frame.to_numpy(), strict=True)),
    ]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def measured_metrics(table: pd.DataFrame) -> list[str]:
    """Return the distances of our own rows, by the first extractor, in order."""
    return main_metrics(table.loc[table["kind"] != "published", "metric"])


def attributes_section(table: pd.DataFrame, shares: pd.DataFrame) -> str:
    """Return one data set's results as Markdown: the judge's shares and every distance, a row per class and method."""
    data_set, kind = shares["data_set"].iloc[0], shares["kind"].iloc[0]
    metrics = ", ".join(f"`{metric}` ({metric_of(metric).direction} is better)" for metric in measured_metrics(table))
    pairs = ", and less that of `unguided` samples, resampled in pairs where seeds are shared"
    less = pairs if "minus_unguided" in table else ""
    caption = (
        f"{data_set}, {kind}: share of the images that the independent judge takes for the wanted class, [95 % "
        f"interval]; distance to the real class, ± 95 % interval, beside the floor of as many real images"
        f"{less}: {metrics}:"
    )
    return f"{caption}\n\n{to_markdown(attributes_view(table, shares))}"


def distribution_section(table: pd.DataFrame) -> str:
    """Return wanted and found shares of one data set as Markdown."""
    caption = (
        f"{table['data_set'].iloc[0]}, {table['kind'].iloc[0]}: share of the samples that the independent judge finds "
        "to have the attribute, [95 % interval], where a share was wanted of every work unit, and without guidance; "
        "distance, ± 95 % interval, to real images of which the wanted share has the attribute (`balanced`) and to all "
        "as they come (`all`), beside the floor of as many real images (lower is better):"
    )
    return f"{caption}\n\n{to_markdown(distribution_view(table))}"


def extractors_section(table: pd.DataFrame) -> str:
    """Return one data set's kernel distances by every extractor as Markdown; of one extractor, nothing."""
    if len(kernel_rows_by_extractor(table)) == 1:
        return ""
    caption = (
        f"{table['data_set'].iloc[0]}: kernel distance to the real class by every extractor, ± 95 % interval, and less "
        "that of `unguided` samples (lower is better):"
    )
    return f"{caption}\n\n{to_markdown(extractors_view(table))}"


def baselines_section(table: pd.DataFrame) -> str:
    """Return what generative models are worth before any label, of one data set, as Markdown."""
    caption = (
        f"{table['data_set'].iloc[0]}, {table['kind'].iloc[0]}: distance of each model's unconditional samples, ± 95 % "
        "interval, to all real images, beside the floor of as many real images (lower is better); cost of a sample as "
        "it comes; balanced accuracy of the linear classifier of latents on real images that it has not seen:"
    )
    return f"{caption}\n\n{to_markdown(baselines_view(table))}"


def baselines_view(table: pd.DataFrame) -> pd.DataFrame:
    """Return a row per generative model: distances, costs, and the accuracy of its classifier of each attribute."""
    accuracies, distances = table[table["attribute"].notna()], table[table["attribute"].isna()]
    view = _distances_view(distances, ["method"])
    first = distances.drop_duplicates("method").set_index("method").reindex(view.index)
    view.insert(0, "training images", first["training_images"].map("{:,.0f}".format))
    view.insert(1, "n", first["n"].astype(int))
    view["forward passes"] = _number_cells(first["forwards_per_sample"], 2)
    view["seconds"] = _number_cells(first["seconds_per_sample"], 2)
    for attribute, rows in accuracies.groupby("attribute", sort=False):
        view[f"accuracy, {attribute}"] = rows.set_index("method")["value"].map("{:.1%}".format).reindex(view.index)
    return view.fillna("")


def masks_section(table: pd.DataFrame) -> str:
    """Return the mask tables of one data set: every method with the main number of pairs, then mIoU against pairs."""
    data_set, ceiling = table["data_set"].iloc[0], table["miou_real"].iloc[0]
    shots = int(table.loc[table["method"] == "clean_image", "shots"].iloc[0])
    curve = table[(table["shots"] > 0) & (table["preset"] == _curve_preset(table))].copy()
    curve["cell"] = curve["miou"].map("{:.3f}".format)
    pairs = curve.pivot_table(index="method", columns="shots", values="cell", aggfunc="first", sort=False).fillna("")
    caption = (
        f"{data_set}, {shots} pairs, [95 % interval over masks]; the independent segmenter's own mIoU on the real "
        f"images of these masks is {ceiling:.3f}{_flagged(segmenter_note(ceiling))}:"
    )
    blocks = [f"{caption}\n\n{to_markdown(masks_view(table[table['shots'].isin([0, shots])]))}"]
    if curve["shots"].nunique() > 1:
        n = " to ".join(f"{n:.0f}" for n in sorted({curve["n"].min(), curve["n"].max()}))
        blocks.append(
            f"mIoU against the number of pairs, n = {n} samples each:\n\n{to_markdown(pairs[sorted(pairs.columns)])}"
        )
    return "\n\n".join(blocks)


def masks_view(rows: pd.DataFrame) -> pd.DataFrame:
    """Return rows of the mask table as people read them, each with its own n and floor."""
    return pd.DataFrame(
        {
            "pairs": rows["shots"],
            "n": rows["n"],
            "mIoU": _intervals(rows),
            "pixel accuracy": rows["pixel_accuracy"].map("{:.3f}".format),
            "diversity": rows["diversity"].map("{:.1f}".format),
            "kernel distance": rows["kernel_distance"].map("{:.2f}".format),
            "floor": rows["floor"].map("{:.2f}".format),
            "forward passes": rows["forwards_per_sample"].map("{:.0f}".format),
        }
    ).set_axis(pd.Index(rows["method"] + ", " + rows["preset"], name="method, preset"))


def classes_section(table: pd.DataFrame, acceptance: pd.DataFrame) -> str:
    """Return Table 2's experiment in the poster's layout, and what the filter does."""
    ours, total = table[table["kind"] != "published"], acceptance[acceptance["class"] == "all"].iloc[0]
    first = ours.iloc[0]
    caption = (
        f"Top-1 accuracy in per cent, the mean of {first['n_classes']:.0f} classes, on {first['n_test']:.0f} real "
        f"images at {first['image_size']:.0f} pixels, ± standard deviation over seeds of the classifier; "
        f"{first['n_real']:.0f} real training images and so many times as many generated ones "
        f"({first['data_set']}, {first['kind']}):"
    )
    shares = {name: f"{100 * total[f'judge_accuracy_{name}']:.1f} %" for name in ("real", "accepted", "rejected")}
    if not total["n_drawn"] - total["n_accepted"]:
        shares["rejected"] = "none"
    flag = _flagged(judge_note(total["judge_accuracy_real"]))
    filtered = (
        f"The filter kept {100 * total['acceptance_rate']:.0f} % of {total['n_drawn']:.0f} samples. An independent "
        f"judge, right on {shares['real']} of real images{flag}, finds the wanted class on {shares['accepted']} of the "
        f"kept and {shares['rejected']} of the discarded ones."
    )
    return f"{caption}\n\n{to_markdown(poster_view(table))}\n\n{filtered}"


def replace_section(text: str, name: str, content: str) -> str:
    """Replace what stands between ``<!-- name: begin -->`` and ``<!-- name: end -->``.

    Raises:
        DataError: If the text lacks the marks.
    """
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    head, found_begin, rest = text.partition(begin)
    _, found_end, tail = rest.partition(end)
    if not (found_begin and found_end):
        raise DataError(f"README: the marks {begin} and {end} are missing; put them where the section belongs.")
    return f"{head}{begin}\n\n{content}\n\n{end}{tail}"


def _flagged(note: str) -> str:
    return f" (**{note}**)" if note else ""


def _intervals(rows: pd.DataFrame) -> list[str]:
    bounds = rows[["miou", "ci_low", "ci_high"]].to_numpy(dtype=float)
    return [f"{value:.3f} [{low:.3f}, {high:.3f}]" for value, low, high in bounds]


def _curve_preset(table: pd.DataFrame) -> str:
    return str(table.loc[table["method"] == "controlnet", "preset"].iloc[0])
