"""Tables as people read them: Markdown in the layout of the paper."""

import pandas as pd

from ..classes.table import poster_view
from ..errors import DataError
from ..metrics.measures import metric_of


def wide_view(table: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Return one metric in the poster's layout: attributes down, methods across, value with its interval."""
    rows = table[(table["metric"] == metric) & (table["kind"] != "published")].copy()
    half = (rows["ci_high"] - rows["ci_low"]) / 2
    digits = metric_of(metric).digits
    rows["cell"] = [f"{v:.{digits}f} ± {h:.{digits}f}" for v, h in zip(rows["value"], half, strict=True)]
    wide = rows.pivot_table(index="attribute", columns="method", values="cell", aggfunc="first", sort=False)
    wide.insert(0, "floor", rows.groupby("attribute", sort=False)["floor"].first().map(f"{{:.{digits}f}}".format))
    return wide


def judge_view(accuracy: pd.DataFrame) -> pd.DataFrame:
    """Return the judge's shares in the poster's layout, per cent."""
    rows = accuracy.copy()
    rows["cell"] = (100 * rows["judge_accuracy"]).map("{:.1f} %".format)
    return rows.pivot_table(index="attribute", columns="method", values="cell", aggfunc="first", sort=False)


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
    """Return the metrics of our own rows, in order."""
    return list(table.loc[table["kind"] != "published", "metric"].unique())


def attributes_section(table: pd.DataFrame, accuracy: pd.DataFrame) -> str:
    """Return the results of one data set as Markdown: each metric in the poster's layout, then the judge's shares."""
    data_set, kind = accuracy["data_set"].iloc[0], accuracy["kind"].iloc[0]
    blocks = []
    for metric in measured_metrics(table):
        n = table.loc[(table["metric"] == metric) & (table["kind"] != "published"), "n"]
        sizes = f"n = {n.min():.0f}" if n.min() == n.max() else f"n = {n.min():.0f} to {n.max():.0f}"
        better = f"{metric_of(metric).direction} is better"
        caption = f"`{metric}` to the real class, {sizes}, ± 95 % interval, {better} ({data_set}, {kind}):"
        blocks.append(f"{caption}\n\n{to_markdown(wide_view(table, metric))}")
    blocks.append(
        "Share that the independent judge takes for the wanted class "
        f"({data_set}, {kind}):\n\n{to_markdown(judge_view(accuracy))}"
    )
    return "\n\n".join(blocks)


def masks_section(table: pd.DataFrame) -> str:
    """Return the mask tables of one data set: every method with the main number of pairs, then mIoU against pairs."""
    data_set, ceiling = table["data_set"].iloc[0], table["miou_real"].iloc[0]
    shots = int(table.loc[table["method"] == "clean_image", "shots"].iloc[0])
    main = table[table["shots"].isin([0, shots])]
    n = int(main["n"].iloc[0])
    wide = pd.DataFrame(
        {
            "mIoU": _intervals(main),
            "pixel accuracy": main["pixel_accuracy"].map("{:.3f}".format),
            "diversity": main["diversity"].map("{:.1f}".format),
            "kernel distance": main["kernel_distance"].map("{:.2f}".format),
            "forward passes": main["forwards_per_sample"].map("{:.0f}".format),
        }
    ).set_axis(pd.Index(main["method"] + ", " + main["preset"], name="method, preset"))
    curve = table[(table["shots"] > 0) & (table["preset"] == _curve_preset(table))].copy()
    curve["cell"] = curve["miou"].map("{:.3f}".format)
    pairs = curve.pivot_table(index="method", columns="shots", values="cell", aggfunc="first", sort=False).fillna("")
    caption = (
        f"{shots} pairs, n = {n}, [95 % interval over masks]; the independent segmenter's own mIoU on the real "
        f"images of these masks is {ceiling:.3f} ({data_set}):"
    )
    blocks = [f"{caption}\n\n{to_markdown(wide)}"]
    if curve["shots"].nunique() > 1:
        blocks.append(f"mIoU against the number of pairs:\n\n{to_markdown(pairs[sorted(pairs.columns)])}")
    return "\n\n".join(blocks)


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
    filtered = (
        f"The filter kept {100 * total['acceptance_rate']:.0f} % of {total['n_drawn']:.0f} samples. An independent "
        f"judge, right on {shares['real']} of real images, finds the wanted class on {shares['accepted']} of the kept "
        f"and {shares['rejected']} of the discarded ones."
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


def _intervals(rows: pd.DataFrame) -> list[str]:
    bounds = rows[["miou", "ci_low", "ci_high"]].to_numpy(dtype=float)
    return [f"{value:.3f} [{low:.3f}, {high:.3f}]" for value, low, high in bounds]


def _curve_preset(table: pd.DataFrame) -> str:
    return str(table.loc[table["method"] == "controlnet", "preset"].iloc[0])
