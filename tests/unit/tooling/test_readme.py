"""Tables as people read them."""

import pandas as pd
import pytest

from class_helpers import filters_table
from fewshot_diffusion.errors import DataError
from fewshot_diffusion.metrics.notes import few_note, joined, judge_note, segmenter_note
from fewshot_diffusion.tooling import claims
from fewshot_diffusion.tooling.curves import filters_section, labels_section, noise_section
from fewshot_diffusion.tooling.neighbours import neighbours_beside_unguided, neighbours_section
from fewshot_diffusion.tooling.readme import (
    attributes_section,
    baselines_section,
    distribution_section,
    extractors_section,
    masks_section,
    measured_metrics,
    replace_section,
    to_markdown,
)

TABLE = pd.DataFrame(
    [
        ["Blond", "naive", "fd_x", 20.04, 18.0, 22.0, 9.96, 50, "scaled-down"],
        ["Blond", "ddim_i", "fd_x", 10.0, 9.0, 11.0, 77.7, 6, "scaled-down"],
        ["Blond", "ddim_i", "kd_x", 0.1234, 0.1, 0.2, 0.001, 6, "scaled-down"],
        ["Blond", "exact", "fid", 23.7, None, None, None, 50000, "published"],
    ],
    columns=["attribute", "method", "metric", "value", "ci_low", "ci_high", "floor", "n", "kind"],
).assign(
    forwards_per_sample=[0, 108.1, 108.1, None],
    minus_unguided=[None, -5.0, 0.0204, None],
    minus_unguided_low=[None, -6.5, -0.0096, None],
    minus_unguided_high=[None, -3.5, 0.0504, None],
)
NOTE = "6 of 50 images; judge right on 62.5 % of real images only"
SHARES = pd.DataFrame(
    {
        "data_set": "a",
        "kind": "scaled-down",
        "attribute": "Blond",
        "method": ["real", "naive", "ddim_i"],
        "judge_accuracy": [1, 0.25, 0.985],
        "ci_low": [0.9, 0.2, 0.9],
        "ci_high": [1, 0.3, 1],
        "n": [90, 50, 6],
        "note": [None, None, NOTE],
    }
)


def test_a_frame_becomes_a_table() -> None:
    frame = pd.DataFrame({"a": [1, 2], "b": ["x", "y"]}, index=pd.Index(["r", "s"], name="row"))
    assert to_markdown(frame) == "| row | a | b |\n| --- | --- | --- |\n| r | 1 | x |\n| s | 2 | y |"


def test_every_row_has_its_own_n_floors_and_note_and_the_paper_s_numbers_none() -> None:
    assert measured_metrics(TABLE) == ["fd_x", "kd_x"]
    text = attributes_section(TABLE, SHARES)
    distances = "fd_x | floor of fd | kd_x | floor of kd | fd less unguided's | kd less unguided's"
    assert f"| attribute | method | n | judge | forward passes | {distances} | note |" in text
    assert "| Blond | real | 90 | 100.0 % [90, 100] |  |  |  |  |  |  |  |  |" in text
    assert "| Blond | naive | 50 | 25.0 % [20, 30] | 0 | 20.0 ± 2.0 | 10.0 |  |  |  |  |  |" in text
    cells = "10.0 ± 1.0 | 77.7 | 0.123 ± 0.050 | 0.001 | -5.0 ± 1.5 | +0.020 ± 0.030"
    assert f"| Blond | ddim_i | 6 | 98.5 % [90, 100] | 108 | {cells} | {NOTE} |" in text
    assert text.startswith("a, scaled-down:") and "`fd_x` (lower is better)" in text and "23.7" not in text


def test_the_main_table_is_of_the_first_extractor_and_another_of_all() -> None:
    second = TABLE[TABLE["metric"] == "kd_x"].assign(metric="kd_y", value=3.0, ci_low=2.5, ci_high=3.5)
    both = pd.concat([TABLE, second.assign(minus_unguided=1.0, minus_unguided_low=0.5, minus_unguided_high=1.5)])
    both["data_set"] = "a"
    assert attributes_section(both, SHARES) == attributes_section(TABLE.assign(data_set="a"), SHARES)
    text = extractors_section(both)
    assert "| attribute | method | kd_x | kd_x less unguided's | kd_y | kd_y less unguided's |" in text
    assert "| Blond | ddim_i | 0.123 ± 0.050 | +0.020 ± 0.030 | 3.000 ± 0.500 | +1.000 ± 0.500 |" in text
    assert extractors_section(TABLE) == ""
    said = "`ddim_i` beside `unguided`: `kd_x` level on 1 of 1 rows; `kd_y` above on 1 of 1 rows."
    assert claims.by_extractor(both, "ddim_i") == said
    assert set(claims.kernel_rows(both)["metric"]) == {"kd_x"}


def test_the_curve_of_labels_is_a_mean_and_a_range_over_draws() -> None:
    rows = [("Blond", 5, 0, 0.4), ("Blond", 5, 1, 0.6), ("Blond", 50, 0, 1.0), ("Blond", 50, 1, 0.9)]
    table = pd.DataFrame(rows, columns=["attribute", "labels", "draw", "judge_accuracy"])
    text = labels_section(table.assign(data_set="a", method="exact", n=30))
    assert "| attribute | method | 5 + 5 | 50 + 50 |" in text and "2 draws" in text and "n = 30 samples" in text
    assert "| Blond | exact | 50 % [40, 60] | 95 % [90, 100] |" in text


def test_filters_stand_by_threshold_with_what_they_keep() -> None:
    text = filters_section(filters_table())
    assert "90 real images of the split `tuning_judge`" in text and "| filter | right | p >= 0 | p >= 0.5 |" in text
    kept = "50 % [45, 55] of 100 %"
    assert f"| mid_block at 300, 800 | 40 % [30, 50] | {kept} | 80 % [70, 90] of 30 % |" in text
    assert f"| up_blocks.1 at 100 | 70 % [60, 80] | {kept} | nothing kept |" in text


def noise_table() -> pd.DataFrame:
    rows = [
        ("exact", 20, None, 0.8, 0.78, 0.82), ("exact", 20, 100, 0.7, 0.68, 0.72), ("exact", 20, 500, 0.3, 0.28, 0.32),
        ("clean_image", 20, None, 0.7, 0.68, 0.72), ("clean_image", 20, 100, 0.71, 0.69, 0.73),
        ("clean_image", 20, 500, 0.4, 0.38, 0.42), ("readout", 20, 100, 0.5, 0.48, 0.52),
        ("judge", 6000, None, 0.9, 0.88, 0.92),
    ]  # fmt: skip
    columns = ["method", "shots", "timestep", "miou", "ci_low", "ci_high"]
    return pd.DataFrame(rows, columns=columns).assign(data_set="a", preset="p", n=9)


def test_what_guides_see_in_noise_stands_by_level_and_in_words() -> None:
    text = noise_section(noise_table())
    assert "| guide | pairs | real image | t = 100 | t = 500 |" in text
    assert "| exact, p | 20 | 0.800 [0.78, 0.82] | 0.700 [0.68, 0.72] | 0.300 [0.28, 0.32] |" in text
    assert "| readout, p | 20 |  | 0.500 [0.48, 0.52] |  |" in text and "| judge | 6000 | 0.900 [0.88, 0.92] |" in text
    assert claims.noise_places(noise_table()) == {-1: "ahead of", 100: "level with", 500: "behind"}
    said = claims.robustness(noise_table())
    assert said.startswith("On real images `exact` is ahead of `clean_image`, which learned from the same pairs;")
    assert "level with it at t = 100, behind it at t = 500." in said


def test_neighbours_have_a_table_of_their_own_where_they_were_measured() -> None:
    assert neighbours_section(TABLE) == ""
    row = {"data_set": "a", "kind": "k", "metric": "recall_x", "method": "exact", "floor": 0.9, "n": 50}
    rows = [
        {**row, "attribute": "A", "value": 0.5, "minus_unguided_low": 0.1, "minus_unguided_high": 0.2},
        {**row, "attribute": "B", "value": 0.75, "minus_unguided_low": -0.1, "minus_unguided_high": 0.2, "floor": 0.8},
        {**row, "attribute": "B", "method": "unguided", "value": 0.25},
        {**row, "attribute": "A", "method": "ddim_i", "value": 0.1, "n": 6},
    ]
    measured = pd.DataFrame(rows)
    both = pd.concat([TABLE.assign(data_set="a"), measured, measured.assign(metric="recall_y", value=0)])
    text = neighbours_section(both)
    assert "n = 50: `recall_x`, mean" in text and "| method | recall |" in text
    assert "left out, with fewer images: ddim_i:" in text and "| ddim_i |" not in text
    assert "| exact | 0.62 [0.50, 0.75] |" in text and "| unguided | 0.25 [0.25, 0.25] |" in text
    assert text.endswith("| real | 0.85 [0.80, 0.90] |")
    assert neighbours_beside_unguided(both) == "`exact` beside `unguided`: `recall` level on 1 of 2 rows, above on 1."
    assert attributes_section(both, SHARES) == attributes_section(TABLE.assign(data_set="a"), SHARES)


def test_wanted_shares_stand_beside_found_ones_and_each_reference() -> None:
    row = {"data_set": "a", "kind": "k", "attribute": "Blond", "method": "distribution", "metric": "kd_x", "n": 9,
           "wanted_share": 0.5, "found_share": 0.46, "share_low": 0.4, "share_high": 0.52, "away": 0.04, "value": 1.0,
           "ci_low": 0.75, "ci_high": 1.25, "floor": 0.1, "forwards_per_sample": 45.2, "note": None}  # fmt: skip
    rows = [row | {"reference": name, "value": value} for name, value in (("balanced", 1.0), ("all", 2.0))]
    plain = {"method": "unguided", "found_share": 0.2, "away": 0.3, "ci_low": 1.5, "ci_high": 3}
    table = pd.DataFrame([*rows, *(one | plain for one in rows)])
    text = distribution_section(table)
    for name, value in (("balanced", "1.000"), ("all", "2.000")):
        cells = f"9 | 50% | 46.0 % [40, 52] | 45 | {value} ± 0.250 | 0.100 |"
        assert f"| Blond | distribution | {name} | {cells}" in text
    said = claims.shares_reached(table)
    assert "within 5 points on 1 of 1 rows: away by 4.0 points, `unguided` by 30.0." in said
    assert "to `balanced` below on 1 of 1 rows; to `all` below on 1 of 1 rows." in said
    assert "on 0 of 1 rows" in claims.shares_reached(table, points=3)


def test_models_stand_with_what_they_cost_and_what_their_classifiers_know() -> None:
    row = {"data_set": "a", "kind": "k", "metric": "kd_x", "n": 9, "floor": 0.1, "forwards_per_sample": 2.345,
           "seconds_per_sample": 0.5, "ci_low": 1.0, "ci_high": 2.0}  # fmt: skip
    rows = [
        {**row, "method": "unguided", "value": 1.5, "training_images": 180000},
        {**row, "method": "d2c", "value": 3.0, "training_images": 40000},
        {**row, "method": "vae", "value": 2.2, "training_images": 40000},
        {"method": "d2c", "attribute": "Beard", "metric": "classifier_accuracy", "value": 0.87},
    ]
    table = pd.DataFrame(rows).astype({"training_images": "Int64"})
    text = baselines_section(table)
    assert "| method | training images | n | kd_x | floor of kd | forward passes | seconds | accuracy, Beard |" in text
    assert "| unguided | 180,000 | 9 | 1.500 ± 0.500 | 0.100 | 2.35 | 0.50 |  |" in text
    assert "| d2c | 40,000 | 9 | 3.000 ± 0.500 | 0.100 | 2.35 | 0.50 | 87.0% |" in text
    said = claims.latents_beside_unguided(table)
    assert said.startswith("They saw 40,000 images each, the denoiser 180,000. ")
    assert said.endswith("`d2c` 2.00, `vae` 1.47; at most 1.5 for 1 of 2.")


def test_distances_beside_unguided_ones_are_counted_by_the_interval_of_their_difference() -> None:
    rows = pd.DataFrame(
        {
            "method": ["exact", "exact", "exact", "readout"],
            "minus_unguided": [-1.5, -0.3, 0.2, -2.5],
            "minus_unguided_low": [-2, -1, 0.1, -3],
            "minus_unguided_high": [-1, 0.5, 0.4, -2],
        }
    )
    assert claims.beside_unguided(rows, "exact") == {"below": 1, "level": 1, "above": 1}
    assert claims.in_words(claims.beside_unguided(rows, "readout")) == "below on 1 of 1 rows"
    plain = pd.DataFrame({"method": ["exact", "unguided"], "attribute": "A", "ci_low": [1, 3], "ci_high": [2, 4]})
    assert claims.beside_unguided(plain, "exact") == {"below": 1, "level": 0, "above": 0}, (
        "by the own intervals of rows"
    )


def test_a_row_without_an_image_has_no_numbers() -> None:
    table = TABLE.assign(**dict.fromkeys(["value", "ci_low", "ci_high", "floor"], float("nan")))
    assert "nan" not in attributes_section(table, SHARES)


@pytest.mark.parametrize(
    ("found", "said"),
    [(judge_note(0.8), ""), (judge_note(0.799), "judge right on 79.9 % of real images only"), (few_note(50, 50), ""),
     (few_note(6, 50), "6 of 50 images"), (segmenter_note(0.5), ""), (joined("", "a", "", "b"), "a; b"),
     (segmenter_note(0.35), "segmenter's own mIoU on real images 0.35 only")],
)  # fmt: skip
def test_flags_carry_their_value(found: str, said: str) -> None:
    assert found == said


def test_every_mask_row_has_its_n_and_floor_and_a_weak_segmenter_is_flagged() -> None:
    row = {"data_set": "a", "shots": 20, "method": "clean_image", "preset": "p", "n": 8, "miou": 0.3, "ci_low": 0.2,
           "ci_high": 0.4, "miou_real": 0.31, "pixel_accuracy": 0.5, "diversity": 1, "kernel_distance": 2, "floor": 0.1,
           "forwards_per_sample": 20}  # fmt: skip
    text = masks_section(pd.DataFrame([row, row | {"method": "controlnet", "n": 6}]))
    assert "0.310 (**segmenter's own mIoU on real images 0.31 only**)" in text
    assert "| clean_image, p | 20 | 8 | 0.300 [0.200, 0.400] | 0.500 | 1.0 | 2.00 | 0.10 | 20 |" in text
    assert "| controlnet, p | 20 | 6 |" in text


def test_a_section_is_replaced_between_its_marks() -> None:
    text = "before\n<!-- a: begin -->\nold\n<!-- a: end -->\nafter\n"
    assert replace_section(text, "a", "new") == "before\n<!-- a: begin -->\n\nnew\n\n<!-- a: end -->\nafter\n"
    for marks in ("no marks", "<!-- a: begin -->"):
        with pytest.raises(DataError, match="are missing"):
            replace_section(marks, "a", "new")
