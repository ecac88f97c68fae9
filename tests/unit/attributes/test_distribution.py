"""Wanted shares and directions: the pipeline's bytes for any number of jobs, and shares before real images of them."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from attribute_helpers import BLOND, described, head_settings, normal, save_denoiser
from fewshot_diffusion import FewShotPipeline
from fewshot_diffusion.attributes import distribution, sweep
from fewshot_diffusion.attributes.directions import find_attribute_direction, find_direction
from fewshot_diffusion.attributes.distribution import DISTRIBUTION_COLUMNS, away, with_share
from fewshot_diffusion.attributes.evaluation import Described
from fewshot_diffusion.attributes.features import extract_attribute_features
from fewshot_diffusion.attributes.guidance import Steering
from fewshot_diffusion.attributes.heads import train_attribute_head
from fewshot_diffusion.attributes.sampling import Share, sample_attributes
from fewshot_diffusion.attributes.shots import ShotFiles
from fewshot_diffusion.config.attributes import TargetConfig
from fewshot_diffusion.config.evaluation import EvaluationConfig, ExtractorConfig
from fewshot_diffusion.data.image_set import ImageSet, save_image_set
from fewshot_diffusion.diffusion.denoiser import Denoiser
from fewshot_diffusion.diffusion.samples import SampleSet, load_samples
from fewshot_diffusion.errors import CorruptFileError, DataError, WeightsError
from fewshot_diffusion.metrics.descriptions import Cost, save_description
from fewshot_diffusion.metrics.distances import kernel_distance
from fewshot_diffusion.metrics.intervals import Interval
from fewshot_diffusion.storage.tables import read_csv
from support import smoke_config

HALF = BLOND.model_copy(update={"share": 0.5})
IS_BLOND = torch.arange(12) % 2 == 0

# --- samples ---


@pytest.fixture
def folder(tiny_denoiser: Denoiser, tmp_path: Path) -> Path:
    """A denoiser, and twelve images that directions and heads learn from."""
    save_denoiser(tiny_denoiser, tmp_path / "denoiser")
    save_image_set(ImageSet(images(), torch.arange(12), pd.DataFrame({"Blond": IS_BLOND})), tmp_path / "pool", {})
    pd.DataFrame({"id": range(12), "label": IS_BLOND}).to_csv(tmp_path / "shots.csv", index=False)
    return tmp_path


def learned(folder: Path, mode: str) -> Path:
    """Learn a direction or a head as the jobs do."""
    files, settings = ShotFiles("Blond", folder / "shots.csv", folder / "pool"), head_settings()
    if mode == "steering":
        find_attribute_direction(settings, "mid_block", files, folder / "denoiser", folder / mode, "cpu")
    else:
        extract_attribute_features(settings, mode, files, folder / "denoiser", folder / "cache", "cpu")
        train_attribute_head(settings, mode, "Blond", folder / "cache", folder / mode)
    return folder / mode


def images() -> Tensor:
    return (normal(12, 3, 16, 16).abs() * 40 + 90 * IS_BLOND.view(-1, 1, 1, 1)).clamp(0, 255).to(torch.uint8)


def drawn(folder: Path, steering: Steering, head: str, shards: Sequence[str] = ("2-of-2", "1-of-2")) -> SampleSet:
    changes = {"num_inference_steps": 3, "unit_size": 3, "precision": "float32"}
    settings = smoke_config().sampling.model_copy(update=changes)
    for shard in shards:
        share = Share(0, 2, shard, folder / "checkpoints" / shard, folder / f"{shard}.parquet")
        sample_attributes(settings, folder / "denoiser", steering, share, folder / head, "cpu")
    return load_samples([folder / f"{shard}.parquet" for shard in shards], steering.about)


@pytest.mark.parametrize(
    ("steering", "head", "wanted"),
    [
        (Steering("steering", "Blond", True, 2.0), "steering", {"Blond": True}),
        (Steering("steering", "Blond", False, 2.0), "steering", {"Blond": False}),
        (Steering("distribution", "Blond", 0.25, 40.0), "exact", {"Blond": 0.25}),
        (Steering("distribution", "Blond", 0.75, 40.0), "readout", {"Blond": 0.75}),
    ],
    ids=lambda value: getattr(value, "method", str(value)),
)
def test_the_pipeline_draws_the_bytes_of_any_number_of_jobs(
    folder: Path, steering: Steering, head: str, wanted: dict[str, bool | float]
) -> None:
    learned(folder, head)
    found = drawn(folder, steering, head)
    assert torch.equal(found.images, drawn(folder, steering, head, ["1-of-1"]).images)
    assert (found.forwards_per_sample == 3) is (head == "steering")
    pipe = FewShotPipeline.from_pretrained(folder / "denoiser")
    pipe.set_progress_bar_config(disable=True)
    options = head_settings().model_dump(exclude={"positive_shots", "negative_shots", "precision"})
    pipe.fit("Blond", images(), IS_BLOND, head, **{**options, **({"taps": "mid_block"} if head == "steering" else {})})
    call = {"seeds": range(6), "batch_size": 3, "num_inference_steps": 3, "guidance_scale": steering.guidance_scale}
    pipe.scheduler.register_to_config(timestep_spacing="trailing", clip_sample=True)
    theirs = torch.from_numpy(np.stack(pipe(wanted, **call).images)).permute(0, 3, 1, 2)
    assert torch.equal(found.images, theirs)
    assert not torch.equal(theirs, torch.from_numpy(np.stack(pipe(**call).images)).permute(0, 3, 1, 2))


def test_heads_and_directions_do_not_stand_for_each_other(folder: Path, tiny_denoiser: Denoiser) -> None:
    for method, head, said in [
        ("steering", "exact", "the weights are of mode 'exact', expected 'steering'"),
        ("exact", "steering", "the weights are of mode 'steering', expected 'exact'"),
        ("distribution", "steering", "the weights do not fit config.json"),
    ]:
        learned(folder, head)
        with pytest.raises(WeightsError, match=said):
            drawn(folder, Steering(method, "Blond", True, 1.0), head)
    with pytest.raises(DataError, match="Blond: all 12 rows of the shots have the same label"):
        find_direction(tiny_denoiser, images(), IS_BLOND | True, head_settings(taps=["mid_block"]), "Blond")


# --- the choice of the scale ---


@pytest.mark.parametrize(
    ("shares", "tolerance", "chosen"),
    [
        ({1: 0.2, 3: 0.48, 10: 0.5}, 0.02, 3),
        ({1: 0.2, 3: 0.46, 10: 0.5}, 0.02, 10),
        ({1: 0.3, 3: 0.54, 10: 1.0}, 0.02, 3),
        ({1: 0.7, 3: 0.8, 10: 0.9}, 0.0, 1),
    ],
)
def test_the_smallest_scale_near_the_wanted_share(shares: dict[float, float], tolerance: float, chosen: float) -> None:
    frame = pd.DataFrame({"guidance_scale": list(shares), "tuning_judge_accuracy": list(shares.values())})
    assert sweep.choose_scale(frame, tolerance, 0.5) == chosen


# --- the table ---


@pytest.mark.parametrize(
    ("found", "expected"),
    [((0.4, 0.3, 0.6), (0.1, 0.0, 0.2)), ((0.2, 0.1, 0.3), (0.3, 0.2, 0.4)), ((0.9, 0.8, 1.0), (0.4, 0.3, 0.5))],
)
def test_a_share_is_away_from_the_wanted_one(found: tuple[float, ...], expected: tuple[float, ...]) -> None:
    off = away(Interval(*found), 0.5)
    assert (off.value, off.low, off.high) == pytest.approx(expected)


@pytest.mark.parametrize(("share", "n", "ids"), [(0.5, None, 8), (0.2, None, 15), (0.2, 5, 5), (0.5, 6, 6)])
def test_real_images_of_a_share_are_the_first_of_each_kind(share: float, n: int | None, ids: int) -> None:
    has_it = torch.arange(16) % 4 == 3
    kept = with_share(described(16, 0), has_it, BLOND.model_copy(update={"share": share}), n)
    assert len(kept) == ids
    for kind, number in ((has_it, round(share * ids)), (~has_it, ids - round(share * ids))):
        assert [i for i in kept.ids.tolist() if kind[i]] == kind.nonzero().flatten()[:number].tolist()


@pytest.fixture
def files(tmp_path: Path) -> Described:
    """Twenty real images a split, every fourth blond; samples without guidance, and of a wanted half."""
    for i, (split, first) in enumerate({"reference": 0, "controls": 100}.items()):
        attributes = pd.DataFrame({"Blond": [i % 4 == 0 for i in range(20)]})
        blank = torch.zeros(20, 3, 8, 8, dtype=torch.uint8)
        save_image_set(ImageSet(blank, torch.arange(20) + first, attributes), tmp_path / f"{split}.parquet", {})
        save_description(described(20, i, method="real", first_id=first), tmp_path / "real" / f"{split}.safetensors")
    for i, (method, value, share) in enumerate([("unguided", True, 0.25), ("distribution", 0.5, 0.75)]):
        about = {"attribute": "Blond", "value": value, **({"guidance_scale": 10.0} if i else {})}
        samples = described(8, i, share, method, Cost(float(i)))
        save_description(samples, tmp_path / method / f"{HALF.name}.safetensors", about)
    real = [tmp_path / f"{split}.parquet" for split in ("reference", "controls")]
    return Described(tmp_path, tmp_path / "real", ["unguided", "distribution"], *real)


def evaluate(files: Described, target: TargetConfig = HALF, samples: int = 8) -> pd.DataFrame:
    extractors = [ExtractorConfig(kind="efficientnet_lite0")]
    settings = EvaluationConfig(extractors=extractors, samples=samples, bootstrap=20, kernel_subset=500)
    output = files.descriptions / "d.csv"
    distribution.evaluate_distribution(settings, target, "set", files, "scaled-down", output)
    return read_csv(output, *DISTRIBUTION_COLUMNS)


def test_shares_stand_beside_distances_to_real_images_of_that_share_and_to_all(files: Described) -> None:
    rows = evaluate(files)
    assert rows["method"].tolist() == ["unguided", "distribution"] * 4
    assert set(rows["attribute"]) == {"Blond hair"} and set(rows["kind"]) == {"scaled-down"}
    both = rows.drop_duplicates("method").set_index("method")
    assert both["found_share"].to_dict() == {"unguided": 0.25, "distribution": 0.75}
    assert both["forwards_per_sample"].tolist() == [0, 1]
    assert both["away"].tolist() == [0.25, 0.25]
    real, floor = (described(20, seed).features["net"] for seed in (0, 1))
    chosen = described(8, 1, method="distribution").features["net"]
    half = [0, 1, 2, 3, 4, 5, 6, 8, 12, 16]
    kernel = rows.query("metric == 'kd_net' and method == 'distribution'").set_index("reference")
    for name, index, held in (("balanced", half, [0, 1, 2, 3, 4, 5, 8, 12]), ("all", range(20), range(8))):
        expected = kernel_distance(chosen, real[list(index)]), kernel_distance(floor[list(held)], real[list(index)])
        assert kernel.loc[name, ["value", "floor"]].tolist() == pytest.approx(expected, rel=1e-4)
    assert kernel["n_reference"].to_dict() == {"balanced": 10, "all": 20}


def test_what_the_table_cannot_be_made_of_is_refused(files: Described) -> None:
    with pytest.raises(DataError, match="Blond hair: found no share"):
        evaluate(files, BLOND)
    with pytest.raises(DataError, match=r"Blond hair: 12 real images are needed, a share of 0\.5 with Blond; found 10"):
        evaluate(files, samples=12)
    with pytest.raises(CorruptFileError, match=r"was made for value 0\.5, expected 0\.3"):
        evaluate(replace(files, methods=["distribution"]), BLOND.model_copy(update={"share": 0.3}))
    assert not (files.descriptions / "d.csv").exists()
