"""Descriptions of image sets, and the metrics that tables take from them."""

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from fewshot_diffusion.config.evaluation import EvaluationConfig
from fewshot_diffusion.errors import CorruptFileError
from fewshot_diffusion.judges import AttributeClassifier
from fewshot_diffusion.metrics.descriptions import (
    GALLERY_SIZE,
    Cost,
    Description,
    describe,
    load_description,
    save_description,
)
from fewshot_diffusion.metrics.distances import ReferenceRoot, bootstrap_frechet, bootstrap_kernel
from fewshot_diffusion.metrics.measures import (
    DISTANCES,
    FAMILIES,
    NEIGHBOURS,
    main_metrics,
    metric_of,
    prepare_measures,
)
from fewshot_diffusion.metrics.moments import StreamingStatistics
from fewshot_diffusion.metrics.neighbours import jackknife_neighbours
from fewshot_diffusion.seeds import generator
from fewshot_diffusion.storage.tensors import write_tensors

IMAGES = torch.randint(0, 256, (70, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
COST = Cost(forwards_per_sample=2.5, seconds_per_sample=0.25, acceptance_rate=0.5)


class MeanColour:
    name = "mean_colour"
    dim, batch_size = 3, 64

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def __call__(self, images: Tensor) -> Tensor:
        self.sizes.append(len(images))
        return images.float().mean((2, 3))


@pytest.fixture(scope="module")
def judge() -> AttributeClassifier:
    torch.manual_seed(0)
    return AttributeClassifier(["Red", "Dull"]).requires_grad_(False).eval()


@pytest.fixture(scope="module")
def described(judge: AttributeClassifier) -> Description:
    return describe(IMAGES, torch.arange(100, 170), "exact", [MeanColour()], judge, COST)


def test_every_image_is_described_once(described: Description, judge: AttributeClassifier) -> None:
    assert len(described) == 70 and described.ids.tolist() == list(range(100, 170))
    assert torch.equal(described.features["mean_colour"], IMAGES.float().mean((2, 3)))
    assert set(described.probabilities) == {"Red", "Dull"}
    assert torch.equal(described.probabilities["Dull"], judge.probability(IMAGES, "Dull"))
    assert torch.equal(described.gallery, IMAGES[:GALLERY_SIZE])
    assert (described.method, described.cost) == ("exact", COST)
    extractor = MeanColour()
    unjudged = describe(IMAGES, described.ids, "real", [extractor], None)
    assert extractor.sizes == [64, 6], "batches share no image"
    assert not unjudged.probabilities
    assert (unjudged.cost.forwards_per_sample, unjudged.cost.acceptance_rate) == (0, 1)
    assert math.isnan(unjudged.cost.seconds_per_sample)


def test_images_are_selected_with_all_that_is_known_of_them(described: Description) -> None:
    wanted = described.judged("Red", True)
    assert torch.equal(wanted, described.probabilities["Red"] > 0.5)
    assert torch.equal(described.judged("Red", False), ~wanted)
    for index in (wanted, torch.tensor([3, 1])):
        chosen = described.select(index)
        assert torch.equal(chosen.ids, described.ids[index])
        assert torch.equal(chosen.features["mean_colour"], described.features["mean_colour"][index])
        assert torch.equal(chosen.probabilities["Dull"], described.probabilities["Dull"][index])
        assert torch.equal(chosen.gallery, described.gallery)
    assert described.first(2).ids.tolist() == [100, 101]
    assert len(described.first(1000)) == 70


def test_a_description_comes_back_and_is_refused_in_another_s_place(described: Description, tmp_path: Path) -> None:
    path = tmp_path / "exact.safetensors"
    save_description(described, path, {"target": "Red"})
    found = load_description(path, {"target": "Red", "method": "exact"})
    assert (found.method, found.cost) == ("exact", COST)
    for name in ("ids", "gallery"):
        assert torch.equal(getattr(found, name), getattr(described, name))
    for part in ("features", "probabilities"):
        read, written = getattr(found, part), getattr(described, part)
        assert list(read) == sorted(written)
        assert all(torch.equal(read[name], written[name]) for name in written)
    for expected in ({"target": "Blond"}, {"method": "readout"}):
        with pytest.raises(CorruptFileError, match=r"exact\.safetensors: was made for"):
            load_description(path, expected)
    write_tensors(path, {"ids": described.ids}, {"method": "exact"})
    with pytest.raises(CorruptFileError, match="expected ids, gallery"):
        load_description(path)


# --- the metrics as records ---


def test_only_inception_s_distances_are_called_fid_and_kid() -> None:
    metrics = [metric for family in FAMILIES for metric in family.metrics]
    columns = [metric.column(extractor) for extractor in ("inception", "other_net") for metric in metrics]
    assert columns[:3] == ["fid", "kid", "precision_inception"] and columns[6:8] == ["fd_other_net", "kd_other_net"]
    assert [metric_of(column) for column in columns] == [*metrics, *metrics]
    for unknown in ("accuracy", "fdx", "kidney"):
        with pytest.raises(KeyError, match=unknown):
            metric_of(unknown)
    assert [metric.direction for metric in metrics] == ["lower"] * 2 + ["higher"] * 4
    shown = ["kd_b", "recall_b", "kd_a", "fid", "fd_b", "kd_b", "recall_a"]
    assert main_metrics(shown) == ["kd_b", "fid"], "of the first extractor, distances alone"
    assert main_metrics(shown, NEIGHBOURS) == ["recall_b"]


def test_measures_are_those_of_their_reference_and_of_the_same_part_of_it() -> None:
    settings = EvaluationConfig(
        extractors=[{"kind": "efficientnet_lite0"}], samples=10, bootstrap=20, kernel_subset=12, nearest_k=2, seed=3
    )
    reference, features = (torch.randn(n, 5, generator=torch.Generator().manual_seed(n)) for n in (30, 10))
    statistics = StreamingStatistics(5)
    statistics.update(reference)
    root = ReferenceRoot.from_statistics(statistics.result())
    subset = reference[torch.randperm(30, generator=generator("kernel subset", 3))[:12]]
    measured = prepare_measures(reference, "net", settings)
    expected = {"fd_net": bootstrap_frechet(features, root, 20, 3), "kd_net": bootstrap_kernel(features, subset, 20, 3)}
    expected |= {f"{name}_net": one for name, one in jackknife_neighbours(features, subset, 2).items()}
    assert measured(features) == expected
    nothing = measured(features[:1])
    assert list(nothing) == list(expected)
    assert all(math.isnan(x) for one in nothing.values() for x in (one.value, one.low, one.high))
    few = measured(features[:2])
    assert math.isfinite(few["fd_net"].value) and math.isnan(few["recall_net"].value), "two have no second neighbour"
    without = prepare_measures(reference, "net", settings.model_copy(update={"nearest_k": None}))
    assert list(without(features)) == [metric.column("net") for metric in DISTANCES]
