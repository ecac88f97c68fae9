"""Rows of the tables: what is compared with what, over how many images, at which cost."""

import math
from pathlib import Path

import pandas as pd
import pytest
import torch

from fewshot_diffusion.attributes.baselines.ddim_i import save_records
from fewshot_diffusion.attributes.evaluation import (
    ACCURACY_COLUMNS,
    TABLE_COLUMNS,
    Candidate,
    RealClass,
    accuracy_rows,
    distance_rows,
    gather_candidates,
    gather_real,
    held_out,
)
from fewshot_diffusion.config.attributes import GuidanceConfig, TargetConfig
from fewshot_diffusion.config.evaluation import EvaluationConfig, ExtractorConfig
from fewshot_diffusion.diffusion.samples import seed_range
from fewshot_diffusion.errors import DataError
from fewshot_diffusion.metrics.descriptions import Description, load_description, save_description
from fewshot_diffusion.metrics.distances import frechet_distance, kernel_distance
from fewshot_diffusion.metrics.moments import FeatureStatistics, StreamingStatistics
from fewshot_diffusion.storage.files import write_sealed_json
from fewshot_diffusion.storage.records import write_records

TARGET = TargetConfig(
    name="Blond", attribute="Blond", value=True, label="Blond hair", guidance_scale=GuidanceConfig(exact=1, readout=1)
)
DARK = TARGET.model_copy(update={"value": False, "label": "Dark hair"})
METHODS = ["naive", "unguided", "ddim_i", "ours_exact", "ours_readout"]


def settings(samples: int = 10) -> EvaluationConfig:
    extractors = [ExtractorConfig(kind="efficientnet_lite0")]
    return EvaluationConfig(extractors=extractors, samples=samples, bootstrap=20, kernel_subset=500)


def described(
    n: int, seed: int, share: float = 1.0, forwards: float = 0.0, names: tuple[str, ...] = ("net",), first_id: int = 0
) -> Description:
    """n images, the first ``share`` of which the judge takes for blond."""
    stream = torch.Generator().manual_seed(seed)
    features = {name: torch.randn(n, 4, generator=stream) + seed for name in names}
    blond = torch.arange(n) < round(share * n)
    gallery = torch.zeros(min(n, 64), 3, 8, 8, dtype=torch.uint8)
    return Description(torch.arange(n) + first_id, features, {"Blond": blond.float()}, forwards, gallery)


def real(names: tuple[str, ...] = ("net",), controls: int = 20) -> RealClass:
    return RealClass(described(30, 0, names=names), described(controls, 1, share=0.9, names=names, first_id=500))


def statistics(features: torch.Tensor) -> FeatureStatistics:
    streaming = StreamingStatistics(features.shape[1])
    streaming.update(features)
    return streaming.result()


# --- distances ------------------------------------------------------------------------------------------------------


def test_rows_hold_the_distances_of_as_many_images_as_asked() -> None:
    reality, candidate = real(), Candidate("unguided", described(25, 2), 0.5)
    rows = distance_rows("set", TARGET, [candidate], reality, settings(10))
    assert list(rows.columns) == TABLE_COLUMNS
    frechet, kernel = (rows[rows["metric"] == metric].iloc[0] for metric in ("fd_net", "kd_net"))
    reference, chosen = reality.reference.features["net"], candidate.description.features["net"][:10]
    floor = reality.held_out.features["net"][:10]
    assert frechet["value"] == pytest.approx(frechet_distance(statistics(chosen), statistics(reference)))
    assert frechet["floor"] == pytest.approx(frechet_distance(statistics(floor), statistics(reference)))
    assert kernel["value"] == pytest.approx(kernel_distance(chosen, reference))
    assert kernel["floor"] == pytest.approx(kernel_distance(floor, reference))
    assert frechet["ci_low"] < frechet["value"] < frechet["ci_high"]
    assert (frechet["n"], frechet["seeds"]) == (10, "0-9")
    assert (frechet["data_set"], frechet["attribute"], frechet["method"]) == ("set", "Blond hair", "unguided")


def test_n_and_floor_shrink_together_where_a_filter_left_fewer() -> None:
    full, few = (
        Candidate("unguided", described(25, 2)),
        Candidate("ddim_i", described(25, 2).first(6), acceptance_rate=0.24),
    )
    reality = real()
    rows = distance_rows("set", TARGET, [full, few], reality, settings(10))
    rows = rows[rows["metric"] == "fd_net"].set_index("method")
    assert rows["n"].to_dict() == {"unguided": 10, "ddim_i": 6}
    floors = {
        n: frechet_distance(
            statistics(reality.held_out.features["net"][:n]), statistics(reality.reference.features["net"])
        )
        for n in (10, 6)
    }
    assert rows.loc["unguided", "floor"] == pytest.approx(floors[10])
    assert rows.loc["ddim_i", "floor"] == pytest.approx(floors[6])
    assert floors[6] != pytest.approx(floors[10])


@pytest.mark.parametrize("kept", [0, 1])
def test_a_filter_that_keeps_next_to_nothing_gives_nan_rows(kept: int) -> None:
    nothing = Candidate("ddim_i", described(25, 2, forwards=20).first(kept), 0.5, kept / 25)
    rows = distance_rows("set", TARGET, [nothing, Candidate("unguided", described(25, 2))], real(), settings())
    missing = rows[rows["method"] == "ddim_i"]
    assert len(missing) == 2
    assert (missing["n"] == kept).all()
    assert missing[["value", "ci_low", "ci_high", "floor"]].isna().all(axis=None)
    if kept == 0:
        assert missing[["judge_accuracy", "forwards_per_sample", "seconds_per_sample"]].isna().all(axis=None)
        assert (missing["seeds"] == "").all()
    assert rows.loc[rows["method"] == "unguided", "value"].notna().all()
    shares = accuracy_rows("set", TARGET, [nothing], real(), settings()).set_index("method")
    assert shares.loc["ddim_i", "n"] == kept
    assert math.isnan(shares.loc["ddim_i", "judge_accuracy"]) == (kept == 0)


def test_the_cost_of_a_kept_image_includes_the_rejected_ones() -> None:
    candidate = Candidate("ddim_i", described(25, 2, forwards=20.0), seconds_per_sample=0.5, acceptance_rate=0.25)
    rows = distance_rows("set", TARGET, [candidate], real(), settings())
    assert (rows["forwards_per_sample"] == 80).all()
    assert (rows["seconds_per_sample"] == 2).all()


def test_real_images_have_no_seeds_and_cost_nothing() -> None:
    rows = distance_rows("set", TARGET, [Candidate("naive", described(25, 2))], real(), settings())
    assert (rows["seeds"] == "").all()
    assert (rows["forwards_per_sample"] == 0).all()
    assert rows["seconds_per_sample"].isna().all()


def test_only_inception_may_be_called_fid() -> None:
    names = ("inception", "efficientnet_lite0")
    rows = distance_rows("set", TARGET, [Candidate("naive", described(25, 2, names=names))], real(names), settings())
    assert rows["metric"].tolist() == ["fid", "kid", "fd_efficientnet_lite0", "kd_efficientnet_lite0"]


def test_too_few_held_out_images_are_named() -> None:
    with pytest.raises(DataError) as caught:
        distance_rows("set", TARGET, [Candidate("naive", described(25, 2))], real(controls=7), settings(10))
    message = str(caught.value)
    assert "Blond hair: the floor takes 10 held-out real images of the class, the controls have 7" in message
    assert "data.splits.controls" in message
    assert "evaluation.samples" in message
    assert len(held_out(real(controls=7), TARGET, 7).ids) == 7


def test_rows_repeat() -> None:
    candidates = [Candidate("unguided", described(25, 2))]
    once, again = (distance_rows("set", TARGET, candidates, real(), settings()) for _ in range(2))
    pd.testing.assert_frame_equal(once, again)


@pytest.mark.parametrize(
    ("ids", "expected"),
    [([], ""), ([4], "4-4"), ([0, 1, 2], "0-2"), ([5, 9, 7], "5-9 (3)"), ([100, 101], "100-101")],
)
def test_seeds_in_short(ids: list[int], expected: str) -> None:
    assert seed_range(torch.tensor(ids, dtype=torch.int64)) == expected


# --- the judge's shares ---------------------------------------------------------------------------------------------


def test_shares_of_the_wanted_class() -> None:
    candidates = [
        Candidate("unguided", described(20, 2, share=0.25)),
        Candidate("ours_exact", described(20, 3, share=1)),
    ]
    rows = accuracy_rows("set", TARGET, candidates, real(), settings(20)).set_index("method")
    assert rows["judge_accuracy"].to_dict() == {"real": 0.9, "unguided": 0.25, "ours_exact": 1.0}
    assert (rows["ci_low"] <= rows["judge_accuracy"]).all()
    assert (rows["judge_accuracy"] <= rows["ci_high"]).all()
    assert rows["seeds"].to_dict() == {"real": "", "unguided": "0-19", "ours_exact": "0-19"}
    absent = accuracy_rows("set", DARK, candidates, real(), settings(20)).set_index("method")
    assert absent["judge_accuracy"].to_dict() == pytest.approx({"real": 0.1, "unguided": 0.75, "ours_exact": 0.0})


def test_shares_take_as_many_samples_as_the_distances_and_every_real_image() -> None:
    rows = accuracy_rows("set", TARGET, [Candidate("unguided", described(25, 2))], real(), settings(10))
    assert list(rows.columns) == ACCURACY_COLUMNS
    assert rows.set_index("method")["n"].to_dict() == {"real": 20, "unguided": 10}


def test_the_acceptance_rate_is_reported() -> None:
    rows = accuracy_rows("set", TARGET, [Candidate("ddim_i", described(6, 2), 1, 0.24)], real(), settings(10))
    assert rows.set_index("method")["acceptance_rate"].to_dict() == {"real": 1.0, "ddim_i": 0.24}


# --- gathering ------------------------------------------------------------------------------------------------------


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    for i, name in enumerate(("controls", "unguided", "exact", "readout", "reference")):
        save_description(described(12, i, forwards=float(i)), tmp_path / f"{name}.safetensors", {})
    for name in ("unguided", "exact", "readout"):
        write_sealed_json(tmp_path / f"{name}-1.json", {"seconds": 3.0, "samples": 4})
        write_sealed_json(tmp_path / f"{name}-2.json", {"seconds": 1.0, "samples": 0 if name == "exact" else 4})
    accepted = [seed in (2, 5, 11) for seed in range(12)]
    frame = pd.DataFrame({"seed": range(12), "log_prob": [-0.1] * 12, "accepted": accepted})
    save_records(frame, tmp_path / "rejection.parquet", {})
    labels = pd.DataFrame({"id": range(12), "Blond": [i % 2 == 0 for i in range(12)]})
    write_records(tmp_path / "labels.parquet", labels, {})
    return tmp_path


def gathered(folder: Path) -> dict[str, Candidate]:
    paths = {name: folder / f"{name}.safetensors" for name in ("controls", "unguided", "exact", "readout")}
    timings = {name: [folder / f"{name}-{i}.json" for i in (1, 2)] for name in ("unguided", "exact", "readout")}
    candidates = gather_candidates(paths, timings, folder / "rejection.parquet")
    assert [candidate.method for candidate in candidates] == METHODS
    return {candidate.method: candidate for candidate in candidates}


def test_candidates_of_a_class(stored: Path) -> None:
    found = gathered(stored)
    assert found["ddim_i"].description.ids.tolist() == [2, 5, 11]
    assert found["ddim_i"].acceptance_rate == 0.25
    assert found["unguided"].acceptance_rate == 1
    assert torch.equal(
        found["ddim_i"].description.features["net"], found["unguided"].description.features["net"][[2, 5, 11]]
    )
    assert torch.equal(found["naive"].description.features["net"], described(12, 0).features["net"])
    assert torch.equal(found["ours_exact"].description.features["net"], described(12, 2).features["net"])
    assert torch.equal(found["ours_readout"].description.features["net"], described(12, 3).features["net"])


def test_seconds_are_shared_by_all_samples_of_all_shards(stored: Path) -> None:
    found = gathered(stored)
    assert found["unguided"].seconds_per_sample == found["ddim_i"].seconds_per_sample == 0.5
    assert found["ours_exact"].seconds_per_sample == 1.0, "a job without units counts with its seconds"
    assert math.isnan(found["naive"].seconds_per_sample)


@pytest.mark.parametrize(("target", "ids"), [(TARGET, [0, 2, 4, 6, 8, 10]), (DARK, [1, 3, 5, 7, 9, 11])])
def test_real_images_are_chosen_by_their_labels(stored: Path, target: TargetConfig, ids: list[int]) -> None:
    labelled = [(stored / f"{name}.safetensors", stored / "labels.parquet") for name in ("reference", "controls")]
    found = gather_real(labelled[0], labelled[1], target)
    assert found.reference.ids.tolist() == found.held_out.ids.tolist() == ids
    assert torch.equal(found.reference.features["net"], described(12, 4).features["net"][ids])


def test_a_description_comes_back(tmp_path: Path) -> None:
    written = described(5, 1, share=0.4, forwards=2.5, names=("a", "b"))
    save_description(written, tmp_path / "d.safetensors", {"code": "x"})
    loaded = load_description(tmp_path / "d.safetensors")
    assert loaded.features.keys() == {"a", "b"}
    assert torch.equal(loaded.features["b"], written.features["b"])
    assert torch.equal(loaded.probabilities["Blond"], written.probabilities["Blond"])
    assert torch.equal(loaded.gallery, written.gallery)
    assert loaded.forwards_per_sample == 2.5


def test_undecided_images_count_for_the_absent_class() -> None:
    half = Description(torch.arange(1), {}, {"Blond": torch.tensor([0.5])}, 0, torch.empty(0, 3, 8, 8))
    assert half.judged("Blond", False).tolist() == [True]
    assert half.judged("Blond", True).tolist() == [False]
