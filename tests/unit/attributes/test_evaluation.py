"""Rows of the tables: what is compared with what, over how many images, at which cost; a row per method and metric."""

import math
import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import Tensor

from attribute_helpers import BLOND, DARK, described
from fewshot_diffusion.attributes import evaluation
from fewshot_diffusion.attributes.evaluation import Described, RealClass, distance_rows, share_rows
from fewshot_diffusion.config.evaluation import EvaluationConfig, ExtractorConfig
from fewshot_diffusion.data.image_set import ImageSet, save_image_set
from fewshot_diffusion.errors import CorruptFileError, DataError
from fewshot_diffusion.metrics import measures
from fewshot_diffusion.metrics.descriptions import Cost, Description, save_description
from fewshot_diffusion.metrics.distances import frechet_distance, kernel_distance
from fewshot_diffusion.metrics.intervals import Bootstrapped
from fewshot_diffusion.metrics.measures import DISTANCES, FAMILIES, NEIGHBOURS, Family, Metric
from fewshot_diffusion.metrics.moments import FeatureStatistics, StreamingStatistics
from fewshot_diffusion.metrics.neighbours import neighbour_metrics
from fewshot_diffusion.storage.tables import read_csv

METHODS = ["naive", "unguided", "ddim_i", "exact", "readout"]


def settings(samples: int = 10) -> EvaluationConfig:
    extractors = [ExtractorConfig(kind="efficientnet_lite0")]
    return EvaluationConfig(extractors=extractors, samples=samples, bootstrap=20, kernel_subset=500)


def real(controls: int = 20) -> RealClass:
    return RealClass(described(30, 0, method="real"), described(controls, 1, 0.9, method="real", first_id=500), 0.625)


def statistics(features: Tensor) -> FeatureStatistics:
    streaming = StreamingStatistics(features.shape[1])
    streaming.update(features)
    return streaming.result()


# --- distances ---


def test_rows_hold_the_distances_of_as_many_images_as_asked() -> None:
    reality, candidate = real(), described(25, 2)
    rows = distance_rows("set", BLOND, [candidate], reality, settings(10))
    assert list(rows.columns) == evaluation.TABLE_COLUMNS
    frechet, kernel = (rows[rows["metric"] == metric].iloc[0] for metric in ("fd_net", "kd_net"))
    reference, chosen = reality.reference.features["net"], candidate.features["net"][:10]
    floor = reality.held_out.features["net"][:10]
    assert frechet["value"] == pytest.approx(frechet_distance(statistics(chosen), statistics(reference)))
    assert frechet["floor"] == pytest.approx(frechet_distance(statistics(floor), statistics(reference)))
    assert kernel["value"] == pytest.approx(kernel_distance(chosen, reference))
    assert kernel["floor"] == pytest.approx(kernel_distance(floor, reference))
    assert frechet["ci_low"] < frechet["value"] < frechet["ci_high"]
    assert (frechet["n"], frechet["seeds"]) == (10, "0-9")
    assert (frechet["data_set"], frechet["attribute"], frechet["method"]) == ("set", "Blond hair", "unguided")
    pd.testing.assert_frame_equal(rows, distance_rows("set", BLOND, [candidate], reality, settings(10)))


def test_n_and_floor_shrink_together_where_a_filter_left_fewer() -> None:
    few = replace(described(25, 2).first(6), method="ddim_i")
    reality = real()
    rows = distance_rows("set", BLOND, [described(25, 2), few], reality, settings(10))
    rows = rows[rows["metric"] == "fd_net"].set_index("method")
    assert rows["n"].to_dict() == {"unguided": 10, "ddim_i": 6}
    weak = "judge right on 62.5 % of real images only"
    assert rows["note"].to_dict() == {"unguided": weak, "ddim_i": f"6 of 10 images; {weak}"}
    assert (rows["judge_real"] == 0.625).all()
    reference, floor = (statistics(reality.reference.features["net"]), reality.held_out.features["net"])
    floors = {n: frechet_distance(statistics(floor[:n]), reference) for n in (10, 6)}
    assert rows["floor"].tolist() == pytest.approx([floors[10], floors[6]])
    assert floors[6] != pytest.approx(floors[10])


@pytest.mark.parametrize("kept", [0, 1])
def test_a_filter_that_keeps_next_to_nothing_gives_nan_rows(kept: int) -> None:
    nothing = described(25, 2, method="ddim_i", cost=Cost(20.0, 0.5, kept / 25)).first(kept)
    rows = distance_rows("set", BLOND, [nothing, described(25, 2)], real(), settings())
    missing = rows[rows["method"] == "ddim_i"]
    assert len(missing) == 2
    assert (missing["n"] == kept).all()
    assert missing[["value", "ci_low", "ci_high", "floor"]].isna().all(axis=None)
    if kept == 0:
        assert missing[["judge_accuracy", "forwards_per_sample", "seconds_per_sample"]].isna().all(axis=None)
        assert (missing["seeds"] == "").all()
    assert rows.loc[rows["method"] == "unguided", "value"].notna().all()
    shares = share_rows("set", BLOND, [nothing], real(), settings()).set_index("method")
    assert shares.loc["ddim_i", "n"] == kept
    assert math.isnan(shares.loc["ddim_i", "judge_accuracy"]) == (kept == 0)


def test_the_cost_of_a_kept_image_includes_the_rejected_ones_and_real_ones_are_free() -> None:
    cost = Cost(forwards_per_sample=20.0, seconds_per_sample=0.5, acceptance_rate=0.25)
    candidates = [described(25, 2, method="ddim_i", cost=cost), described(25, 2, method="naive")]
    rows = distance_rows("set", BLOND, candidates, real(), settings()).drop_duplicates("method").set_index("method")
    assert rows["forwards_per_sample"].to_dict() == {"ddim_i": 80, "naive": 0}
    assert rows.loc["ddim_i", "seconds_per_sample"] == 2 and math.isnan(rows.loc["naive", "seconds_per_sample"])
    assert rows["seeds"].to_dict() == {"ddim_i": "0-9", "naive": ""}


def test_too_few_held_out_images_are_named() -> None:
    with pytest.raises(DataError) as caught:
        distance_rows("set", BLOND, [described(25, 2)], real(controls=7), settings(10))
    message = str(caught.value)
    assert "Blond hair: the floor takes 10 held-out real images of the class, the controls have 7" in message
    assert "data.splits.controls" in message
    assert "evaluation.samples" in message
    assert len(evaluation.held_out(real(controls=7), BLOND, 7)) == 7


# --- beside unguided samples ---


def test_samples_of_the_same_seeds_are_compared_pair_by_pair() -> None:
    unguided, reality = described(25, 2), real()
    shift = 0.3 * torch.ones_like(unguided.features["net"])
    moved = replace(unguided, method="exact", features={"net": unguided.features["net"] + shift})
    others = replace(moved, method="ddim_i", ids=moved.ids + 100)
    rows = distance_rows("set", BLOND, [moved, others, unguided], reality, settings())
    rows = rows[rows["metric"] == "kd_net"].set_index("method")
    differences = rows[["minus_unguided", "minus_unguided_low", "minus_unguided_high"]]
    expected = rows.loc["exact", "value"] - rows.loc["unguided", "value"]
    assert rows.loc[["exact", "ddim_i"], "minus_unguided"].tolist() == pytest.approx([expected, expected])
    assert rows["paired"].fillna("").tolist() == [True, False, ""]
    assert differences.loc["unguided"].isna().all()
    half = differences["minus_unguided_high"] - differences["minus_unguided"]
    alone = rows["ci_high"] - rows["value"]
    assert half["ddim_i"] == pytest.approx(math.hypot(alone["exact"], alone["unguided"]))
    assert 0 < half["exact"] < half["ddim_i"], "what the seeds have in common cancels"


def test_neighbours_stand_beside_distances_each_with_interval_floor_and_difference() -> None:
    unguided, reality = described(25, 2), real()
    near = replace(reality.reference.first(10), method="exact", ids=unguided.ids[:10])
    few = replace(unguided.first(4), method="ddim_i")
    asked = settings().model_copy(update={"nearest_k": 2})
    rows = distance_rows("set", BLOND, [near, few, unguided], reality, asked).set_index(["metric", "method"])
    columns = [metric.column("net") for metric in (*DISTANCES, *NEIGHBOURS)]
    assert rows.loc[(slice(None), "exact"), :].index.get_level_values("metric").tolist() == columns
    floor = neighbour_metrics(reality.held_out.features["net"][:10], reality.reference.features["net"], 2)
    for name in floor:
        exact, other, fewer = (rows.loc[(f"{name}_net", method)] for method in ("exact", "unguided", "ddim_i"))
        assert exact["ci_low"] <= exact["value"] <= exact["ci_high"]
        assert exact["floor"] == other["floor"] == floor[name]
        assert exact["minus_unguided"] == exact["value"] - other["value"] and exact["paired"]
        assert exact["minus_unguided_low"] <= exact["minus_unguided"] <= exact["minus_unguided_high"]
        assert fewer[["value", "floor", "minus_unguided"]].isna().all(), "of four, three are too few"
    assert rows.loc[("precision_net", "exact"), "value"] == 1, "real images are near real ones"
    assert rows.loc[("precision_net", "unguided"), "value"] < 1


def test_without_unguided_samples_or_images_there_is_no_difference() -> None:
    columns = ["minus_unguided", "minus_unguided_low", "minus_unguided_high", "paired"]
    alone = distance_rows("set", BLOND, [described(25, 2, method="exact")], real(), settings())
    assert alone[columns].isna().all(axis=None)
    nothing = described(25, 3, method="ddim_i").first(0)
    rows = distance_rows("set", BLOND, [described(25, 2), nothing], real(), settings())
    assert rows[columns].isna().all(axis=None)


# --- metrics are records ---


def test_every_record_makes_a_row_for_every_extractor(monkeypatch: pytest.MonkeyPatch) -> None:
    """A further metric is one record: nothing else knows its name."""

    def spread(reference: Tensor, settings: EvaluationConfig) -> object:
        return lambda features: [Bootstrapped(float(features.std() / reference.std()), 0.0, settings.samples)]

    added = Family((Metric("spread", "is", "higher", 2),), spread)  # type: ignore[arg-type]
    monkeypatch.setattr(measures, "FAMILIES", (*FAMILIES, added))

    def renamed(images: Description) -> Description:
        names = ("inception", "efficientnet_lite0")
        return replace(images, features=dict.fromkeys(names, images.features["net"]))

    reality, candidate = RealClass(renamed(real().reference), renamed(real().held_out), 1.0), renamed(described(25, 2))
    rows = distance_rows("set", BLOND, [candidate], reality, settings())
    columns = ["fid", "kid", "is", "fd_efficientnet_lite0", "kd_efficientnet_lite0", "spread_efficientnet_lite0"]
    assert rows["metric"].tolist() == columns, "only Inception's may be called fid"
    row = rows.set_index("metric").loc["is"]
    features = candidate.features["inception"][:10]
    expected = float(features.std() / reality.reference.features["inception"].std())
    assert (row["value"], row["ci_low"], row["ci_high"]) == (expected, 0, 10)


# --- the judge's shares ---


def test_shares_of_the_wanted_class() -> None:
    candidates = [described(20, 2, share=0.25), described(20, 3, method="exact")]
    rows = share_rows("set", BLOND, candidates, real(), settings(20)).set_index("method")
    assert rows["judge_accuracy"].to_dict() == {"real": 0.9, "unguided": 0.25, "exact": 1.0}
    assert (rows["ci_low"] <= rows["judge_accuracy"]).all()
    assert (rows["judge_accuracy"] <= rows["ci_high"]).all()
    assert rows["seeds"].to_dict() == {"real": "", "unguided": "0-19", "exact": "0-19"}
    absent = share_rows("set", DARK, candidates, real(), settings(20)).set_index("method")
    assert absent["judge_accuracy"].to_dict() == pytest.approx({"real": 0.1, "unguided": 0.75, "exact": 0.0})


def test_shares_take_as_many_samples_as_the_distances_and_every_real_image() -> None:
    rejected = described(25, 2, method="ddim_i", cost=Cost(20.0, 1.0, 0.24))
    rows = share_rows("set", BLOND, [rejected], real(), settings(10))
    assert list(rows.columns) == evaluation.JUDGE_COLUMNS
    assert rows.set_index("method")["n"].to_dict() == {"real": 20, "ddim_i": 10}
    assert rows.set_index("method")["acceptance_rate"].to_dict() == {"real": 1.0, "ddim_i": 0.24}


# --- from files ---


@pytest.fixture
def files(tmp_path: Path) -> Described:
    """Twenty real images a split, every second blond, and a description for each method of both classes."""
    for i, (split, first) in enumerate({"reference": 0, "controls": 100}.items()):
        attributes = pd.DataFrame({"Blond": [i % 2 == 0 for i in range(20)]})
        images = torch.zeros(20, 3, 8, 8, dtype=torch.uint8)
        save_image_set(ImageSet(images, torch.arange(20) + first, attributes), tmp_path / f"{split}.parquet", {})
        save_description(described(20, i, method="real", first_id=first), tmp_path / "real" / f"{split}.safetensors")
    for i, method in enumerate(METHODS):
        for target in (BLOND, DARK):
            scale = target.guidance_scale.model_dump().get(method)
            about = {"attribute": target.attribute, "value": target.value, "guidance_scale": scale}
            save_description(
                described(12, i, method=method, cost=Cost(float(i))),
                tmp_path / method / f"{target.name}.safetensors",
                about,
            )
    return Described(
        tmp_path, tmp_path / "real", METHODS, tmp_path / "reference.parquet", tmp_path / "controls.parquet"
    )


@pytest.mark.parametrize("methods", [METHODS, ["readout", "naive"], ["exact"]])
def test_the_configured_methods_are_the_rows_in_their_order(
    files: Described, tmp_path: Path, methods: list[str]
) -> None:
    outputs = tmp_path / "d.csv", tmp_path / "s.csv"
    evaluation.evaluate_attributes(settings(8), BLOND, "set", replace(files, methods=methods), *outputs)
    distances, shares = map(read_csv, outputs)
    assert distances["method"].tolist() == [method for method in methods for _ in DISTANCES]
    assert shares["method"].tolist() == ["real", *methods]
    reference, floor = (described(20, seed).features["net"][::2] for seed in (0, 1))
    row = distances[distances["metric"] == "fd_net"].set_index("method").loc[methods[0]]
    chosen = described(12, METHODS.index(methods[0])).features["net"][:8]
    assert row["value"] == pytest.approx(frechet_distance(statistics(chosen), statistics(reference)), rel=1e-4)
    assert row["floor"] == pytest.approx(frechet_distance(statistics(floor[:8]), statistics(reference)), rel=1e-4)
    assert row["forwards_per_sample"] == METHODS.index(methods[0])


@pytest.mark.parametrize(("target", "first"), [(BLOND, 0), (DARK, 1)])
def test_real_images_are_chosen_by_their_labels(files: Described, target: object, first: int) -> None:
    found = files.real_class(target)  # type: ignore[arg-type]
    assert found.reference.ids.tolist() == list(range(first, 20, 2))
    assert found.held_out.ids.tolist() == list(range(100 + first, 120, 2))
    assert torch.equal(found.reference.features["net"], described(20, 0).features["net"][first::2])
    assert found.judge_accuracy == 0.5, "it takes every image for blond"


@pytest.mark.parametrize(
    ("found", "true", "share"),
    [([1, 1, 0, 0], [1, 1, 0, 0], 1), ([1, 1, 1, 1], [1, 1, 1, 0], 0.5), ([1, 0, 0, 0], [1, 1, 0, 0], 0.75)],
)
def test_accuracy_is_balanced(found: list[int], true: list[int], share: float) -> None:
    assert evaluation.balanced_accuracy(torch.tensor(found) == 1, torch.tensor(true) == 1) == share


@pytest.mark.parametrize(
    ("there", "here", "what"),
    [
        ("exact/Dark", "exact/Blond", "value False, expected True"),
        ("readout/Blond", "exact/Blond", "method 'readout', expected 'exact'"),
        ("naive/Blond", "unguided/Blond", "method 'naive', expected 'unguided'"),
        ("unguided/Blond", "real/reference", "method 'unguided', expected 'real'"),
    ],
)
def test_a_description_in_anothers_place_is_refused(files: Described, there: str, here: str, what: str) -> None:
    folder = files.descriptions
    shutil.copy(folder / f"{there}.safetensors", folder / f"{here}.safetensors")
    with pytest.raises(CorruptFileError, match=rf"{here}\.safetensors: was made for {what}"):
        evaluation.evaluate_attributes(settings(8), BLOND, "set", files, folder / "d.csv", folder / "s.csv")
    assert not (folder / "d.csv").exists()


def test_samples_of_another_scale_are_refused(files: Described) -> None:
    stronger = BLOND.guidance_scale.model_copy(update={"readout": 30})
    with pytest.raises(
        CorruptFileError, match=r"readout/Blond\.safetensors: was made for guidance_scale 5.*expected 30"
    ):
        files.candidates(BLOND.model_copy(update={"guidance_scale": stronger}))


def test_one_split_in_anothers_place_is_refused(files: Described) -> None:
    real = files.descriptions / "real"
    (real / "controls.safetensors").replace(real / "reference.safetensors")
    with pytest.raises(CorruptFileError, match=r"real/reference\.safetensors: describes other images than those of"):
        files.real_class(BLOND)
