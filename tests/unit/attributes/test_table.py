"""Tables that people read: the paper's numbers beside ours, and what each row is."""

from pathlib import Path

import pandas as pd
import pytest

from fewshot_diffusion.attributes.evaluation import JUDGE_COLUMNS, TABLE_COLUMNS
from fewshot_diffusion.attributes.table import attribute_table, make_attributes_table, published_rows, read_published
from fewshot_diffusion.config.evaluation import ReportConfig
from fewshot_diffusion.errors import DataError
from fewshot_diffusion.storage.tables import read_csv, write_csv
from support import ROOT

PUBLISHED = ROOT / "config" / "published.csv"


def measured(attribute: str, metrics: tuple[str, ...] = ("fid", "kid")) -> pd.DataFrame:
    rows = [
        {"data_set": "here", "attribute": attribute, "method": method, "metric": metric, "value": 20.0 + i, "n": 200}
        for i, method in enumerate(("naive", "unguided", "ddim_i", "exact", "readout"))
        for metric in metrics
    ]
    return pd.DataFrame(rows).reindex(columns=TABLE_COLUMNS)


def one(table: pd.DataFrame, attribute: str, method: str, metric: str, kind: str) -> pd.Series:
    wanted = {"attribute": attribute, "method": method, "metric": metric, "kind": kind}
    rows = table[(table[list(wanted)] == pd.Series(wanted)).all(axis=1)]
    assert len(rows) == 1
    return rows.iloc[0]


def report(kind: str = "reproduced", published: Path | None = PUBLISHED, **stands_for: list[str]) -> ReportConfig:
    return ReportConfig.model_validate(
        {"show_real": False, "published": published, "kind": kind, "stands_for": stands_for}
    )


@pytest.fixture
def table() -> pd.DataFrame:
    return attribute_table([measured("Male"), measured("Glasses")], report(here=["celeba-64"]))


@pytest.mark.parametrize(("method", "number"), [("exact", 15.34), ("ddim_i", 29.03), ("naive", 25.7)])
def test_the_papers_number_stands_beside_ours(table: pd.DataFrame, method: str, number: float) -> None:
    row = one(table, "Male", method, "fid", "reproduced")
    assert row["published"] == number
    assert row["value"] != number
    assert row["data_set"] == "here"


@pytest.mark.parametrize(
    ("attribute", "method", "metric"),
    [("Male", "exact", "kid"), ("Male", "readout", "fid"), ("Glasses", "exact", "fid")],
)
def test_no_number_is_borrowed_from_another_row(table: pd.DataFrame, attribute: str, method: str, metric: str) -> None:
    assert pd.isna(one(table, attribute, method, metric, "reproduced")["published"])


@pytest.mark.parametrize(
    ("metric", "settings", "rows"),
    [("fid", report(), 0), ("fid", report(other=["celeba-64"]), 0), ("fid", report(here=["tiny-imagenet"]), 0),
     ("fid", report("scaled-down", here=["celeba-64"]), 28), ("fd_x", report(here=["celeba-64"]), 28)],
    ids=["own photos", "the default's promise", "another of the paper's", "scaled-down", "other features"],
)  # fmt: skip
def test_published_numbers_stand_only_where_they_belong(metric: str, settings: ReportConfig, rows: int) -> None:
    joined = attribute_table([measured("Male", (metric,))], settings)
    assert (joined["kind"] == "published").sum() == rows
    assert joined.loc[joined["kind"] != "published", "published"].isna().all()


def test_published_rows_are_marked_as_such(table: pd.DataFrame) -> None:
    row = one(table, "Male", "exact", "fid", "published")
    assert row["value"] == row["published"] == 15.34
    assert row["data_set"] == "celeba-64"
    assert pd.isna(row["n"]) and pd.isna(row["ci_low"])
    assert (table["kind"] == "published").sum() == 28
    assert set(table["kind"]) == {"published", "reproduced"}
    assert "ours" not in set(table["method"])


def test_only_the_first_table_is_joined() -> None:
    rows = published_rows(read_published(PUBLISHED))
    assert set(rows["attribute"]) == {"Male", "Female", "Blond", "Non-Blond"}
    assert list(rows.columns) == TABLE_COLUMNS


def test_a_list_without_a_column_is_named(tmp_path: Path) -> None:
    pd.read_csv(PUBLISHED).drop(columns="metric").to_csv(tmp_path / "p.csv", index=False)
    with pytest.raises(DataError, match=r"p\.csv: found columns .* expected .*'metric'"):
        read_published(tmp_path / "p.csv")


def shares(attribute: str) -> pd.DataFrame:
    row = {"data_set": "here", "attribute": attribute, "method": "real", "judge_accuracy": 0.925, "n": 40}
    return pd.DataFrame([row, {**row, "method": "exact", "judge_accuracy": 1.0}]).reindex(columns=JUDGE_COLUMNS)


@pytest.mark.parametrize("published", [None, PUBLISHED])
def test_the_job_joins_all_classes(tmp_path: Path, published: Path | None) -> None:
    for name in ("Male", "Female"):
        write_csv(tmp_path / f"{name}.distances.csv", measured(name))
        write_csv(tmp_path / f"{name}.judge.csv", shares(name))
    parts = {kind: [tmp_path / f"{name}.{kind}.csv" for name in ("Male", "Female")] for kind in ("distances", "judge")}
    settings = report(published=published, here=["celeba-64"])
    make_attributes_table(settings, parts["distances"], parts["judge"], tmp_path / "a.csv", tmp_path / "j.csv")
    table, judge = read_csv(tmp_path / "a.csv"), read_csv(tmp_path / "j.csv")
    assert list(table.columns) == TABLE_COLUMNS and list(judge.columns) == JUDGE_COLUMNS
    assert len(table) == 20 + 28 * (published is not None)
    assert (table["kind"] == "reproduced").sum() == 20
    assert table.loc[:19, "published"].isna().all() == (published is None)
    assert judge["attribute"].tolist() == ["Male", "Male", "Female", "Female"]
    assert set(judge["kind"]) == {"reproduced"}
