"""Table 2: our cells, the paper's rows, and the poster's layout."""

from pathlib import Path

import pandas as pd

from ..config.evaluation import ReportConfig
from ..errors import DataError
from ..storage.tables import read_csv, read_source_csv, write_csv
from .cells import NO_CONTROL

CELL_COLUMNS = [
    "data_set", "n_classes", "architecture", "image_size", "mixup_cutmix", "generated_ratio", "control", "n_real",
    "n_generated", "n_test", "epochs", "updates", "seeds", "top1_mean", "top1_sd",
]  # fmt: skip
TABLE_COLUMNS = [*CELL_COLUMNS, "published", "kind"]
PAPER_NAMES = {"resnet18": "resnet18", "wide_resnet50": "wide_resnet50_2", "resnext50": "resnext50_32x4d"}
_CELL = ["architecture", "mixup_cutmix", "generated_ratio", "control"]


def make_classes_table(settings: ReportConfig, cells: list[Path], output: Path) -> None:
    """Join the cells of Table 2 and put the paper's numbers beside them.

    Args:
        settings: Section report, JSON.
        cells: Rows, CSV.
        output: Table to write, CSV.
    """
    rows = pd.concat([read_csv(path, *CELL_COLUMNS) for path in cells], ignore_index=True)
    write_csv(output, classes_table(rows, settings))


def published_accuracies(path: Path) -> pd.DataFrame:
    """Return the paper's cells: data_set, architecture, mixup_cutmix, generated_ratio, control and published (0..1).

    Raises:
        DataError: If a row's name is not ``<architecture>;mixup_cutmix=<yes|no>;generated_ratio=<n>``.
    """
    paper = read_source_csv(path, "item", "data_set", "row", "value")
    paper = paper[paper["item"] == "table2"]
    parts = paper["row"].str.extract(r"^(\w+);mixup_cutmix=(yes|no);generated_ratio=(\d+)$")
    if parts.isna().any(axis=None) or not parts[0].isin(PAPER_NAMES).all():
        raise DataError(f"{path}: a row of table2 is not named <architecture>;mixup_cutmix=..;generated_ratio=..")
    return pd.DataFrame(
        {
            "data_set": paper["data_set"],
            "architecture": parts[0].map(PAPER_NAMES),
            "mixup_cutmix": parts[1] == "yes",
            "generated_ratio": parts[2].astype(int),
            "control": NO_CONTROL,
            "published": paper["value"] / 100,
        }
    ).reset_index(drop=True)


def classes_table(cells: pd.DataFrame, settings: ReportConfig) -> pd.DataFrame:
    """Return our cells, then the paper's of the data sets that ours stands for; reproduced ones have its number.

    Args:
        cells: Our rows.
        settings: What our rows are, and which of the paper's stand beside them.
    """
    ours = cells.assign(kind=settings.kind)
    paper_data_sets = settings.paper_data_sets(cells["data_set"].iloc[0])
    if settings.published is None or not paper_data_sets:
        return ours.reindex(columns=TABLE_COLUMNS)
    paper = published_accuracies(settings.published)
    paper = paper[paper["data_set"].isin(paper_data_sets)]
    if settings.kind == "reproduced":
        ours = ours.merge(paper.drop(columns="data_set"), on=_CELL, how="left")
    return pd.concat([ours, paper.assign(kind="published")], ignore_index=True).reindex(columns=TABLE_COLUMNS)


def poster_view(table: pd.DataFrame) -> pd.DataFrame:
    """Return our accuracies in the poster's layout: rows are architecture, mixing and control, columns the ratios.

    How many seeds a row has stands before them: of one, no spread is known.
    """
    rows = table[table["kind"] != "published"].copy()
    rows["cell"] = [_percent(mean, sd) for mean, sd in zip(rows["top1_mean"], rows["top1_sd"], strict=True)]
    rows["ratio"] = [f"{ratio}x" for ratio in rows["generated_ratio"].astype(int)]
    mixing = rows["mixup_cutmix"].astype(bool).map({True: "Mixup + CutMix", False: "plain"})
    rows["row"] = rows["architecture"] + ", " + mixing + rows["control"].map(lambda name: _suffix(str(name)))
    wide = rows.pivot_table(index="row", columns="ratio", values="cell", aggfunc="first", sort=False).fillna("")
    wide = wide[sorted(wide.columns)]
    wide.insert(0, "seeds", rows.groupby("row", sort=False)["seeds"].first().map(lambda seeds: len(str(seeds).split())))
    return wide


def _percent(mean: float, sd: float) -> str:
    return f"{100 * mean:.1f}" + (f" ± {100 * sd:.1f}" if sd == sd else "")


def _suffix(control: str) -> str:
    return "" if control == NO_CONTROL else f" ({control.replace('_', ' ')})"
