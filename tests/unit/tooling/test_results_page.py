"""What the page of results says follows from the tables: other tables, other sentences."""

from pathlib import Path

import pandas as pd

from fewshot_diffusion.tooling import claims
from fewshot_diffusion.tooling.results_page import costs


def bounds(method: str, *intervals: tuple[float, float], metric: str = "kd") -> pd.DataFrame:
    rows = [{"attribute": i, "ci_low": low, "ci_high": high} for i, (low, high) in enumerate(intervals)]
    frame = pd.DataFrame(rows).assign(method=method, metric=metric, kind="scaled-down")
    return frame.assign(value=(frame["ci_low"] + frame["ci_high"]) / 2)


def test_rows_are_below_or_above_only_where_the_intervals_are_apart() -> None:
    rows = pd.concat([bounds("exact", (0, 1), (0, 2), (3, 4)), bounds("unguided", (2, 3), (1, 3), (1, 2))])
    assert claims.compare(rows, "exact", "unguided") == {"below": 1, "level": 1, "above": 1}
    assert claims.compare(rows, "unguided", "exact") == {"below": 1, "level": 1, "above": 1}


def test_counts_in_words_leave_out_what_never_happens() -> None:
    said = claims.in_words({"below": 1, "level": 2, "above": 1})
    assert said == "below on 1 of 4 rows, level on 2, above on 1"
    assert claims.in_words({"below": 0, "level": 0, "above": 4}) == "above on 4 of 4 rows"


def test_generated_rows_are_counted_beside_naive_of_their_own_attribute_and_metric() -> None:
    rows = [bounds("naive", (1, 1), (5, 5)), bounds("exact", (2, 2), (2, 2)), bounds("readout", (9, 9), (9, 9))]
    other = bounds("exact", (99, 99), (99, 99), metric="fd")
    assert claims.beside_naive(pd.concat([*rows, other])).startswith("3 of 4 generated rows are farther")


def test_direct_methods_are_explained_where_a_table_has_them() -> None:
    def said(*methods: str) -> str:
        return claims.direct_methods(pd.DataFrame({"method": methods}))

    assert said("exact", "readout", "clean_image") == ""
    guides = [claims.guiding_classifier(pd.DataFrame({"method": [method]})) for method in ("exact", "clean_image")]
    assert guides[0] == "" and guides[1].startswith("`clean_image`: guidance by the classifier of `ddim_i`")
    assert said("clean_image_direct", "exact").startswith("`clean_image_direct`: the gradient of `clean_image` with")
    both = said("unguided", "clean_image_direct", "direct", "direct")
    assert both.startswith("`direct` and `clean_image_direct`: the gradient of `exact` and `clean_image` with respect")


def masks(**miou: float) -> pd.DataFrame:
    rows = [{"method": method, "miou": value, "shots": 20 * (method != "unguided")} for method, value in miou.items()]
    frame = pd.DataFrame(rows).assign(preset="main")
    others = pd.DataFrame(
        [{"method": "exact", "miou": 0.99, "shots": shots, "preset": p} for shots, p in [(50, "main"), (20, "other")]]
    )
    frame = pd.concat([frame, others])
    return frame.assign(ci_low=frame["miou"] - 0.05, ci_high=frame["miou"] + 0.05)


def test_the_order_of_guides_is_that_of_the_main_rows_alone() -> None:
    table = masks(unguided=0.3, exact=0.5, readout=0.7, clean_image=0.65, controlnet=0.35)
    said = claims.order_of_guides(table)
    assert "`readout` (0.70), `clean_image` (0.65), `exact` (0.50), `controlnet` (0.35), `unguided` (0.30)" in said
    assert "apart: `exact`, `readout`, `clean_image`; the" in said
    assert "ahead of `clean_image`: none; of `controlnet`: `exact`, `readout`." in said


def test_opinions_are_those_at_the_ends_of_the_sweep() -> None:
    scales, own, other = [3, 1, 2], [0.9, 0.5, 0.1], [0.2, 0.4, 0.8]
    sweep = pd.DataFrame({"method": "exact", "guidance_scale": scales, "own_miou": own, "tuning_miou": other, "n": 24})
    latents = sweep.assign(method="d2c", guidance_scale=[0.1, 100, 10])
    said = claims.own_opinion(pd.concat([sweep, latents]))
    assert said.loc["exact"].tolist() == [24, "1 to 3", "0.50 to 0.90", "0.40 to 0.20"]
    assert said.loc["d2c"].tolist() == [24, "0.1 to 100", "0.90 to 0.50", "0.20 to 0.40"], "candidates of its own"


def test_the_denoiser_s_offset_is_measured_in_what_the_right_class_would_gain() -> None:
    row = {"kind": "scaled-down", "metric": "kd_x", "floor": 0.1}
    values = {("naive", "A"): 0.5, ("unguided", "A"): 1.5, ("naive", "B"): 0.05, ("unguided", "B"): 1.0}
    table = pd.DataFrame([{**row, "method": m, "attribute": a, "value": value} for (m, a), value in values.items()])
    assert "`kd_x` A 2.5, B nothing to gain (at most 3 on 1 of 2)." in claims.offsets(table)
    assert "A 2.5, B nothing to gain (at most 2 on 0 of 2)." in claims.offsets(table, most=2)


def classes(**top1: float) -> pd.DataFrame:
    ratios = {"real": 0, "mixed": 2, "matched_updates": 0, "unfiltered": 2}
    rows = [
        {"control": "none" if name in ("real", "mixed") else name, "generated_ratio": ratios[name], "top1_mean": value}
        for name, value in top1.items()
    ]
    frame = pd.DataFrame(rows).assign(
        architecture="net", mixup_cutmix=False, kind="scaled-down", top1_sd=0.01, epochs=6
    )
    frame["updates"] = 6 * (1 + frame["generated_ratio"])
    mixing = frame.assign(mixup_cutmix=True, top1_mean=0.0)
    published = frame.assign(kind="published", top1_mean=1.0)
    return pd.concat([frame, mixing, published])


def test_generated_images_are_measured_against_each_control() -> None:
    said = claims.what_generated_images_add(classes(real=0.5, mixed=0.7, matched_updates=0.8, unfiltered=0.69))
    assert said.startswith(
        "With 2x generated images, net is 20.0 points (spread over seeds 1.0) above real images alone"
    )
    assert "10.0 points (spread over seeds 1.0) below real images alone for as many updates" in said
    assert "1.0 points (spread over seeds 1.0) above as many generated images without the filter" in said


def test_updates_explain_the_gain_only_where_the_control_says_so() -> None:
    assert "updates are short" in claims.why_updates_matter(classes(real=0.5, mixed=0.7, matched_updates=0.8))
    assert claims.why_updates_matter(classes(real=0.5, mixed=0.7, matched_updates=0.6)) == ""


def test_cells_of_equal_updates_are_their_own_control() -> None:
    equal = classes(real=0.5, mixed=0.7, unfiltered=0.69).assign(updates=[600, 612] * 4 + [606], epochs=float("nan"))
    assert not claims.has_equal_updates(classes(real=0.5, mixed=0.7))
    said = claims.what_generated_images_add(equal)
    assert "20.0 points (spread over seeds 1.0) above real images alone for as many updates, 1.0 points" in said
    assert claims.why_updates_matter(equal) == ""
    assert claims.length_of_training(equal) == "Updates: net 600 to 612."


def test_costs_are_sums_over_the_rules_of_each_experiment(tmp_path: Path) -> None:
    for experiment, rules in {"attributes": ["sample_a"], "masks": ["sample_m", "choose_m"], "classes": []}.items():
        (tmp_path / experiment).mkdir()
        text = "".join(f'    benchmark:\n        "<benchmarks>/{rule}/{{x}}.tsv"\n' for rule in rules)
        (tmp_path / experiment / "a.smk").write_text(text + f"rule {experiment}_sweep:\n" * (experiment == "masks"))
    steps = ["sample_a/exact", "sample_a/sweep", "sample_m", "choose_m", "make_images"]
    table = pd.DataFrame({"data_set": "avatars64", "step": steps, "jobs": 2, "max_rss_mb": 1500})
    table["seconds_total"] = [600, 6000, 60, 120, 9999]
    other = table.assign(data_set="other")
    pd.concat([table, other]).to_csv(tmp_path / "benchmarks.csv", index=False)
    assert costs(tmp_path / "benchmarks.csv", tmp_path).splitlines()[2:] == [
        "| `attributes` | 2 | 10 | 1.5 GB |",
        "| `masks` | 2 | 1 | 1.5 GB |",
        "| `masks_sweep` | 2 | 2 | 1.5 GB |",
        "| `classes` | not timed |  |  |",
    ]
