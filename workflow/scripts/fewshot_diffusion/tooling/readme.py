"""Tables as people read them: Markdown in the layout of the paper."""

import pandas as pd

from ..errors import DataError


def wide_view(table: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Return one metric in the poster's layout: attributes down, methods across, value with its interval."""
    rows = table[(table["metric"] == metric) & (table["kind"] != "published")].copy()
    half = (rows["ci_high"] - rows["ci_low"]) / 2
    digits = 1 if metric.startswith("f") else 3
    rows["cell"] = [f"{v:.{digits}f} ± {h:.{digits}f}" for v, h in zip(rows["value"], half, strict=True)]
    wide = rows.pivot_table(index="attribute", columns="method", values="cell", aggfunc="first", sort=False)
    wide.insert(0, "floor", rows.groupby("attribute", sort=False)["floor"].first().map(f"{{:.{digits}f}}".format))
    return wide


def accuracy_view(accuracy: pd.DataFrame) -> pd.DataFrame:
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


def results_section(table: pd.DataFrame, accuracy: pd.DataFrame) -> str:
    """Return the results of one data set as Markdown: each metric in the poster's layout, then the judge's shares."""
    data_set, kind = accuracy["data_set"].iloc[0], accuracy["kind"].iloc[0]
    blocks = []
    for metric in measured_metrics(table):
        n = table.loc[(table["metric"] == metric) & (table["kind"] != "published"), "n"]
        sizes = f"n = {n.min():.0f}" if n.min() == n.max() else f"n = {n.min():.0f} to {n.max():.0f}"
        caption = f"`{metric}` to the real class, {sizes}, ± 95 % interval, lower is better ({data_set}, {kind}):"
        blocks.append(f"{caption}\n\n{to_markdown(wide_view(table, metric))}")
    blocks.append(
        "Share that the independent judge takes for the wanted class "
        f"({data_set}, {kind}):\n\n{to_markdown(accuracy_view(accuracy))}"
    )
    return "\n\n".join(blocks)


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
