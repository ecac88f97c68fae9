"""Generative baselines in the table: kept latents alone are decoded, jobs change no byte, costs count the rejected."""

import math
from pathlib import Path

import pandas as pd
import pytest
import torch

from attribute_helpers import head_settings, save_denoiser
from baseline_helpers import SAMPLING, small_diffae, write_diffae, write_images
from fewshot_diffusion.attributes.baselines.decisions import accepted_seeds, save_decisions
from fewshot_diffusion.attributes.baselines.generative import (
    Candidates,
    Drawn,
    Portion,
    candidate_cost,
    describe_baseline,
    sample_baseline,
)
from fewshot_diffusion.attributes.baselines.latents import (
    LatentClassifier,
    Wanted,
    extract_baseline_latents,
    load_classifier,
    reject_latents,
    train_baseline_classifier,
)
from fewshot_diffusion.attributes.baselines.report import score_baseline_classifier
from fewshot_diffusion.attributes.shots import ShotFiles
from fewshot_diffusion.baselines.sampling import BaselineFiles, BaselineWeights, draw_baseline_latents, load_latents
from fewshot_diffusion.config.evaluation import EvaluationConfig
from fewshot_diffusion.diffusion.denoiser import PixelDenoiser
from fewshot_diffusion.diffusion.samples import load_samples, write_timing
from fewshot_diffusion.errors import CorruptFileError, WeightsError
from fewshot_diffusion.metrics.descriptions import load_description
from fewshot_diffusion.storage.tables import read_csv, write_csv
from fewshot_diffusion.storage.tensors import read_tensors, write_tensors

DARK = Wanted("diffae", "Dark", True)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a baseline, and shots."""
    folder = tmp_path_factory.mktemp("generative")
    write_diffae(folder / "diffae")
    write_images(folder / "pool.parquet")
    write_csv(folder / "shots.csv", pd.DataFrame({"id": range(12), "label": [i % 2 == 0 for i in range(12)]}))
    return folder


@pytest.fixture
def files(root: Path, tiny_denoiser: PixelDenoiser) -> BaselineFiles:
    """Weights of both models; 16 candidates lie beside them, every second one of which is kept."""
    save_denoiser(tiny_denoiser, root / "denoiser")
    found = BaselineFiles(root / "diffae", root / "denoiser")
    if not (root / "latents.safetensors").exists():
        from_100 = SAMPLING.model_copy(update={"first_seed": 100})
        draw_baseline_latents(from_100, "diffae", found, 4, root / "latents.safetensors", "cpu")
        seeds = torch.arange(100, 116)
        decisions = (torch.full((16,), 0.9), seeds, seeds % 2 == 0, root / "decisions.parquet")
        save_decisions(*decisions, DARK.about)
    return found


def candidates(root: Path, number: int = 6) -> Candidates:
    return Candidates(root / "latents.safetensors", number, root / "decisions.parquet")


def test_candidates_are_latents_of_the_prior_in_order_of_seeds(root: Path, files: BaselineFiles) -> None:
    found = load_latents(root / "latents.safetensors", {"baseline": "diffae"})
    assert found.seeds.tolist() == list(range(100, 116))
    torch.testing.assert_close(found.values[5:7], small_diffae().draw_latents([105, 106], SAMPLING))
    assert found.forwards_per_sample > 0


def test_the_first_kept_latents_are_decoded_and_jobs_change_no_byte(
    root: Path, files: BaselineFiles, tmp_path: Path
) -> None:
    shards = {}
    for jobs in (1, 2, 3):
        shards[jobs] = [tmp_path / f"{job}-of-{jobs}.parquet" for job in range(1, jobs + 1)]
        for path in shards[jobs]:
            portion = Portion(path.stem, tmp_path / f"units-{jobs}", path)
            sample_baseline(SAMPLING, DARK, files, candidates(root), portion, "cpu")
    sets = [load_samples(paths, DARK.about) for paths in shards.values()]
    assert sets[0].seeds.tolist() == [100, 102, 104, 106, 108, 110]
    for other in sets[1:]:
        assert torch.equal(other.pixels, sets[0].pixels)
        assert torch.equal(other.seeds, sets[0].seeds)


def test_a_candidate_costs_its_latent_and_of_the_accepted_share_its_image(
    root: Path, files: BaselineFiles, tmp_path: Path
) -> None:
    path = tmp_path / "a.parquet"
    sample_baseline(
        SAMPLING,
        DARK,
        files,
        candidates(root),
        Portion("1-of-1", tmp_path / "units", path),
        "cpu",
    )
    sample_baseline(
        SAMPLING, Wanted("diffae"), files, Candidates(root / "latents.safetensors", 6),
        Portion("1-of-1", tmp_path / "units", tmp_path / "all.parquet"), "cpu",
    )  # fmt: skip
    half, whole = (load_samples([tmp_path / name]) for name in ("a.parquet", "all.parquet"))
    drawing = load_latents(root / "latents.safetensors", {}).forwards_per_sample
    decoding = whole.forwards_per_sample - drawing
    assert math.isclose(half.forwards_per_sample, drawing + decoding / 2, rel_tol=1e-9)
    write_timing(path.with_suffix(".timing.json"), 12.0, 6)
    write_timing(root / "latents.timing.json", 8.0, 16)
    cost = candidate_cost(half, candidates(root), [path], DARK)
    assert cost.acceptance_rate == 0.5
    assert cost.seconds_per_sample == 8 / 16 + 0.5 * 12 / 6


def test_a_classifier_of_latents_learns_the_shots_and_decides(root: Path, files: BaselineFiles, tmp_path: Path) -> None:
    model = BaselineWeights("diffae", files.weights)
    shots = ShotFiles("Dark", root / "shots.csv", root / "pool.parquet")
    extract_baseline_latents(head_settings(), model, shots, tmp_path / "z.safetensors", "cpu")
    train_baseline_classifier(head_settings(), "diffae", "Dark", tmp_path / "z.safetensors", tmp_path / "classifier")
    score = tmp_path / "score.csv"
    score_baseline_classifier(head_settings(), model, tmp_path / "classifier", root / "pool.parquet", score, "cpu")
    row = read_csv(score, "method", "attribute", "metric", "value", "n").iloc[0]
    assert (row["method"], row["n"]) == ("diffae", 12)
    assert row["value"] > 0.8
    reject_latents(tmp_path / "classifier", DARK, root / "latents.safetensors", tmp_path / "d.parquet")
    kept, rate = accepted_seeds(tmp_path / "d.parquet", DARK.about)
    assert rate == len(kept) / 16
    with pytest.raises(WeightsError, match="attribute 'Dark', expected 'Light'"):
        load_classifier(tmp_path / "classifier", {"baseline": "diffae", "attribute": "Light"})


def test_a_probability_is_the_logistic_of_a_linear_map() -> None:
    classifier = LatentClassifier(2, "Dark").requires_grad_(False)
    classifier.weight.data, classifier.bias.data = torch.tensor([1.0, -2.0]), torch.tensor(0.5)
    found = classifier.probability(torch.tensor([[3.0, 1.0]]), True)
    assert math.isclose(float(found), 1 / (1 + math.exp(-1.5)), rel_tol=1e-6)
    assert math.isclose(
        float(classifier.probability(torch.tensor([[3.0, 1.0]]), False)), 1 - float(found), rel_tol=1e-6
    )


def test_none_accepted_is_a_result(root: Path, files: BaselineFiles, tmp_path: Path) -> None:
    seeds = torch.arange(100, 116)
    save_decisions(torch.zeros(16), seeds, torch.zeros(16, dtype=torch.bool), tmp_path / "d.parquet", DARK.about)
    none = Candidates(root / "latents.safetensors", 6, tmp_path / "d.parquet")
    path = tmp_path / "a.parquet"
    sample_baseline(SAMPLING, DARK, files, none, Portion("1-of-1", tmp_path / "units", path), "cpu")
    settings = EvaluationConfig.model_validate(
        {"extractors": [{"kind": "efficientnet_lite0"}], "samples": 6, "bootstrap": 20, "kernel_subset": 8}
    )
    describe_baseline(settings, DARK, none, Drawn([path], 16), tmp_path / "a.safetensors", "cpu")
    found = load_description(tmp_path / "a.safetensors", DARK.about)
    assert len(found) == 0
    assert found.cost.acceptance_rate == 0


def test_latents_of_another_model_are_refused(root: Path, files: BaselineFiles, tmp_path: Path) -> None:
    tensors, about = read_tensors(root / "latents.safetensors")
    write_tensors(tmp_path / "z.safetensors", tensors, {**about, "baseline": "d2c"})
    with pytest.raises(CorruptFileError, match="was made for baseline 'd2c', expected 'diffae'"):
        load_latents(tmp_path / "z.safetensors", {"baseline": "diffae"})
