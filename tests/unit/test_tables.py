"""Tables that people read: the paper's numbers beside ours, and what each row is."""

from pathlib import Path

import pandas as pd
import pytest

from fewshot_diffusion.attributes.evaluation import ACCURACY_COLUMNS, TABLE_COLUMNS
from fewshot_diffusion.attributes.table import accuracy_table, attribute_table, published_rows, read_published
from fewshot_diffusion.errors import DataError
from fewshot_diffusion.tooling.readme import accuracy_view, measured_metrics, to_markdown, wide_view

PUBLISHED = Path(__file__).resolve().parents[2] / "config" / "published.csv"


def measured(attribute: str, metrics: tuple[str, ...] = ("fid", "kid")) -> pd.DataFrame:
    rows = [
        {
            "data_set": "here",
            "attribute": attribute,
            "method": method,
            "metric": metric,
            "value": 20.0 + i,
            "ci_low": 18.0 + i,
            "ci_high": 22.0 + i,
            "floor": 3.25,
            "n": 200,
        }
        for i, method in enumerate(("naive", "unguided", "ddim_i", "ours_exact", "ours_readout"))
        for metric in metrics
    ]
    return pd.DataFrame(rows).reindex(columns=TABLE_COLUMNS)


def one(table: pd.DataFrame, attribute: str, method: str, metric: str, kind: str) -> pd.Series:
    rows = table[
        (table["attribute"] == attribute)
        & (table["method"] == method)
        & (table["metric"] == metric)
        & (table["kind"] == kind)
    ]
    assert len(rows) == 1
    return rows.iloc[0]


@pytest.fixture
def table() -> pd.DataFrame:
    parts = [measured("Male"), measured("Glasses")]
    return attribute_table(parts, "scaled-down", read_published(PUBLISHED), "celeba-64")


@pytest.mark.parametrize(
    ("attribute", "method", "metric", "number"),
    [
        ("Male", "ours_exact", "fid", 15.34),
        ("Male", "ddim_i", "fid", 29.03),
        ("Male", "naive", "fid", 25.7),
    ],
)
def test_the_papers_number_stands_beside_ours(
    table: pd.DataFrame, attribute: str, method: str, metric: str, number: float
) -> None:
    row = one(table, attribute, method, metric, "scaled-down")
    assert row["published"] == number
    assert row["value"] != number
    assert row["data_set"] == "here"


@pytest.mark.parametrize(
    ("attribute", "method", "metric"),
    [("Male", "ours_exact", "kid"), ("Male", "ours_readout", "fid"), ("Glasses", "ours_exact", "fid")],
)
def test_no_number_is_borrowed_from_another_row(table: pd.DataFrame, attribute: str, method: str, metric: str) -> None:
    assert pd.isna(one(table, attribute, method, metric, "scaled-down")["published"])


def test_a_row_of_the_same_name_on_other_data_has_no_published_number() -> None:
    joined = attribute_table([measured("Blond")], "scaled-down", read_published(PUBLISHED))
    assert joined.loc[joined["kind"] == "scaled-down", "published"].isna().all()


def test_another_extractor_has_no_published_number() -> None:
    parts = [measured("Male", ("fd_efficientnet_lite0",))]
    joined = attribute_table(parts, "scaled-down", read_published(PUBLISHED), "celeba-64")
    assert joined.loc[joined["kind"] == "scaled-down", "published"].isna().all()


def test_published_rows_are_marked_as_such(table: pd.DataFrame) -> None:
    row = one(table, "Male", "ours_exact", "fid", "published")
    assert row["value"] == row["published"] == 15.34
    assert row["data_set"] == "celeba-64"
    assert pd.isna(row["n"])
    assert pd.isna(row["ci_low"])
    assert (table["kind"] == "published").sum() == 28
    assert set(table["kind"]) == {"published", "scaled-down"}
    assert "ours" not in set(table["method"])


def test_only_the_first_table_is_joined() -> None:
    rows = published_rows(read_published(PUBLISHED))
    assert set(rows["attribute"]) == {"Male", "Female", "Blond", "Non-Blond"}
    assert list(rows.columns) == TABLE_COLUMNS


@pytest.mark.parametrize("kind", ["reproduced", "scaled-down"])
def test_without_published_numbers_only_ours_stay(kind: str) -> None:
    joined = attribute_table([measured("Male"), measured("Female")], kind, None)
    assert list(joined.columns) == TABLE_COLUMNS
    assert len(joined) == 20
    assert set(joined["kind"]) == {kind}
    assert joined["published"].isna().all()


def test_a_list_without_a_column_is_named(tmp_path: Path) -> None:
    pd.read_csv(PUBLISHED).drop(columns="metric").to_csv(tmp_path / "p.csv", index=False)
    with pytest.raises(DataError, match=r"p\.csv: found columns .* expected .*'metric'"):
        read_published(tmp_path / "p.csv")


def test_the_wide_view_has_the_posters_layout(table: pd.DataFrame) -> None:
    view = wide_view(table, "fid")
    assert view.index.tolist() == ["Male", "Glasses"]
    assert view.columns.tolist() == ["floor", "naive", "unguided", "ddim_i", "ours_exact", "ours_readout"]
    assert view.loc["Male", "ours_exact"] == "23.0 ± 2.0"
    assert view.loc["Male", "floor"] == "3.2"
    assert wide_view(table, "kid").loc["Male", "naive"] == "20.000 ± 2.000"


def test_the_metrics_of_our_own_rows(table: pd.DataFrame) -> None:
    assert measured_metrics(table) == ["fid", "kid"]
    own = attribute_table([measured("Male", ("fd_x",))], "scaled-down", read_published(PUBLISHED))
    assert measured_metrics(own) == ["fd_x"]


def shares(attribute: str) -> pd.DataFrame:
    row = {"data_set": "here", "attribute": attribute, "method": "real", "judge_accuracy": 0.925, "n": 40}
    return pd.DataFrame([row, {**row, "method": "ours_exact", "judge_accuracy": 1.0}]).reindex(columns=ACCURACY_COLUMNS)


def test_shares_of_all_targets() -> None:
    joined = accuracy_table([shares("Male"), shares("Female")], "reproduced")
    assert list(joined.columns) == ACCURACY_COLUMNS
    assert joined["attribute"].tolist() == ["Male", "Male", "Female", "Female"]
    assert set(joined["kind"]) == {"reproduced"}
    view = accuracy_view(joined)
    assert view.loc["Female", "real"] == "92.5 %"
    assert view.columns.tolist() == ["real", "ours_exact"]


def test_markdown() -> None:
    frame = pd.DataFrame({"a": ["1", "2"], "b": ["x", "y"]}, index=pd.Index(["r", "s"], name="row"))
    assert to_markdown(frame).splitlines() == [
        "| row | a | b |",
        "| --- | --- | --- |",
        "| r | 1 | x |",
        "| s | 2 | y |",
    ]
