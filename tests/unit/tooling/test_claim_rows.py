"""Claims are decided by intervals: apart on the expected side, or not; and every bad name is told."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from fewshot_diffusion.config.claims import ClaimConfig, ClaimsConfig, load_claims
from fewshot_diffusion.errors import ConfigError, DataError
from fewshot_diffusion.storage.tables import write_csv
from fewshot_diffusion.tooling.claim_rows import CLAIM_COLUMNS, claim_rows, claim_table, claims_view

BLOCK: dict[str, Any] = {
    "name": "nearer", "claim": "Ours is nearer.", "published": {"said": "FID {}", "rows": {"method": "ours"}},
    "data_sets": ["set"], "table": "table.csv", "rows": {"method": "exact"}, "each": ["attribute"],
    "beside": {"method": "other"}, "expected": "below", "judge": "net", "command": "snakemake",
}  # fmt: skip


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Three rows of each method: ours apart below, level, and apart above; and the paper's, which is no row of ours."""
    rows = [
        ("A", "exact", 1.0, 0.9, 1.1, "scaled-down"), ("A", "other", 2.0, 1.5, 2.5, "scaled-down"),
        ("B", "exact", 1.0, 0.5, 1.6, "scaled-down"), ("B", "other", 2.0, 1.5, 2.5, "scaled-down"),
        ("C", "exact", 3.0, 2.6, 3.4, "scaled-down"), ("C", "other", 2.0, 1.5, 2.5, "scaled-down"),
        ("D", "exact", 9.0, 9.0, 9.0, "published"),
    ]  # fmt: skip
    columns = ["attribute", "method", "value", "ci_low", "ci_high", "kind"]
    (tmp_path / "results/set/tables").mkdir(parents=True)
    write_csv(tmp_path / "results/set/tables/table.csv", pd.DataFrame(rows, columns=columns).assign(n=7, deviation=0.2))
    paper = {"item": "table1", "data_set": "x", "row": ["A", "B"], "method": "ours", "metric": "fid", "value": [9.5, 8]}
    write_csv(tmp_path / "published.csv", pd.DataFrame(paper))
    return tmp_path / "results"


def claim(**changes: object) -> ClaimConfig:
    return ClaimConfig.model_validate({**BLOCK, **changes})


def test_a_claim_holds_where_intervals_are_apart_on_the_expected_side(results: Path) -> None:
    rows = pd.DataFrame(claim_rows(claim(), results, "set")).set_index("row")
    holds, fails = "scaled-down: holds", "scaled-down: does not hold"
    assert rows["status"].to_dict() == {"A": holds, "B": fails, "C": fails}
    assert rows["note"].to_dict() == {"A": "", "B": "level", "C": ""}
    assert rows[["ours", "beside_value", "n"]].to_dict("index")["A"] == {"ours": 1, "beside_value": 2, "n": 7}
    assert rows.loc["A", "cell"] == "method exact, attribute A; value"
    above = pd.DataFrame(claim_rows(claim(expected="above"), results, "set")).set_index("row")
    assert above["status"].to_dict() == {"A": fails, "B": fails, "C": holds}


def test_a_difference_is_compared_with_zero_and_a_deviation_makes_bounds(results: Path) -> None:
    rows = claim_rows(claim(beside=None, expected="above"), results, "set")
    assert [row["status"] for row in rows] == ["scaled-down: holds"] * 3
    assert (rows[0]["beside"], rows[0]["beside_high"]) == ("0", 0)
    (first, *_) = claim_rows(claim(deviation="deviation"), results, "set")
    assert (first["ci_low"], first["ci_high"]) == pytest.approx((0.8, 1.2))
    path = results / "set/tables/table.csv"
    path.write_text(path.read_text().replace(",0.2\n", ",\n", 1))
    (first, *_) = claim_rows(claim(deviation="deviation"), results, "set")
    assert (first["status"], first["note"]) == ("scaled-down: does not hold", "one seed, no interval")


def test_repeats_are_one_row_whose_bounds_are_over_them_beside_a_bound(results: Path) -> None:
    shares = {"attribute": ["A"] * 3 + ["B"] * 3, "draw": [0, 1, 2] * 2, "value": [0.96, 0.98, 1, 0.8, 0.9, 1]}
    write_csv(results / "set/tables/draws.csv", pd.DataFrame(shares).assign(method="exact", n=50))
    changes: dict[str, object] = {
        "table": "draws.csv",
        "beside": None,
        "bound": 0.9,
        "over": "draw",
        "expected": "above",
    }
    first, second = claim_rows(claim(**changes), results, "set")
    assert (first["ours"], first["n"], first["draws"], first["beside"]) == (pytest.approx(0.98), 150, 3, "0.9")
    assert first["ci_low"] == pytest.approx(0.98 - 4.302653 * 0.02 / 3**0.5)  # quantile of a table of t, 2 degrees
    assert (first["status"], second["status"]) == ("scaled-down: holds", "scaled-down: does not hold")
    assert first["cell"] == "method exact, attribute A; value, mean over draw" and second["note"] == "level"


def test_the_table_joins_claims_with_the_paper_s_numbers_and_what_was_not_attempted(results: Path) -> None:
    other = {"name": "big", "claim": "At size.", "published": {"said": "no"}, "command": "run", "note": "no GPU"}
    claims = ClaimsConfig.model_validate({"claims": [BLOCK], "not_attempted": [other]})
    table = claim_table(claims, results, results.parent / "published.csv")
    assert list(table.columns) == CLAIM_COLUMNS
    assert table["published"].tolist() == ["FID 8 to 9.5"] * 3 + ["no"]
    assert table["status"].iloc[-1] == "not attempted"
    view = claims_view(table.fillna({"note": ""}))
    assert view["status"].tolist() == ["scaled-down: holds on 1 of 3 rows, level on 1", "not attempted: no GPU"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rows": {"method": "exakt"}}, "found no row with method exakt"),
        ({"beside": {"method": "none"}}, "found no row with method none, attribute A"),
        ({"published": {"said": "{}", "rows": {"method": "nobody"}}}, "no published row with method nobody"),
    ],
)
def test_what_no_table_has_is_named(results: Path, changes: dict[str, object], message: str) -> None:
    claims = ClaimsConfig(claims=[claim(**changes)])
    with pytest.raises(DataError, match=message):
        claim_table(claims, results, results.parent / "published.csv")


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        ([BLOCK, BLOCK], "found nearer more than once"),
        ([{**BLOCK, "expected": "beside"}], r"claims\.0\.expected"),
        ([{**BLOCK, "beside": {"method": "exact"}}], "names the same rows"),
        ([{**BLOCK, "bound": 0.9}], "found with `over` or `bound`"),
        ([{**BLOCK, "typo": 1}], r"claims\.0\.typo"),
    ],
)
def test_a_bad_file_of_claims_is_refused(tmp_path: Path, blocks: list[object], message: str) -> None:
    (tmp_path / "claims.yaml").write_text(yaml.safe_dump({"claims": blocks}))
    with pytest.raises(ConfigError, match=message):
        load_claims(tmp_path / "claims.yaml")
