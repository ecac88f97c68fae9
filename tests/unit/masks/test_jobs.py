"""The jobs that draw, measure and tune, on a few tiny masks: who judges whom, over which samples, and what is kept."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import torch
from torch import Tensor

from attribute_helpers import save_denoiser
from fewshot_diffusion.config.evaluation import EvaluationConfig, ExtractorConfig
from fewshot_diffusion.data.image_set import ImageSet, save_image_set
from fewshot_diffusion.data.mask_set import MaskSet, save_masks
from fewshot_diffusion.diffusion.denoiser import Denoiser
from fewshot_diffusion.diffusion.guidance import unguided
from fewshot_diffusion.diffusion.samples import SampleSet, load_samples, save_samples, seconds_per_sample
from fewshot_diffusion.diffusion.sampling import draw_units, plan_units
from fewshot_diffusion.errors import CorruptFileError, DataError
from fewshot_diffusion.masks import evaluation, sweep
from fewshot_diffusion.masks.guidance import GUIDES
from fewshot_diffusion.masks.heads import MaskHead
from fewshot_diffusion.masks.metrics import agreement, confusion, diversity, miou
from fewshot_diffusion.masks.row import MaskRow
from fewshot_diffusion.masks.sampling import Wanted, sample_masks
from fewshot_diffusion.metrics.descriptions import Cost, Description, load_description, save_description
from fewshot_diffusion.metrics.distances import kernel_distance
from fewshot_diffusion.storage.checkpoints import CheckpointFolder
from fewshot_diffusion.storage.tables import read_csv
from fewshot_diffusion.storage.tensors import pixel_digest
from fewshot_diffusion.storage.weights import save_module, weights_digest
from support import smoke_config

CLASSES = ["background", "square", "other"]
ROW = MaskRow("exact", "main", 4, 25.0)
MASKS = torch.randint(3, (4, 16, 16), generator=torch.Generator().manual_seed(0)).to(torch.uint8)  # three are wanted
SHOWN = MASKS[torch.arange(9) % 3]
SETTINGS = EvaluationConfig(
    extractors=[ExtractorConfig(kind="efficientnet_lite0")], samples=9, bootstrap=20, kernel_subset=4
)


class Reader:
    """Takes what stands in one channel for the mask."""

    def __init__(self, channel: int) -> None:
        self.channel = channel

    def to(self, _device: object) -> "Reader":
        return self

    def segment(self, images: Tensor) -> Tensor:
        return images[:, self.channel].contiguous()


class MeanColour:
    name, dim, batch_size = "mean", 3, 64

    def __call__(self, images: Tensor) -> Tensor:
        return images.float().mean((2, 3))


def spoilt(masks: Tensor, *rows: int) -> Tensor:
    """Masks in which half of some are of another class."""
    masks = masks.clone()
    for row in rows:
        masks[row, :8] = (masks[row, :8] + 1) % 3
    return masks


def pictures(*channels: Tensor) -> Tensor:
    return torch.stack([*channels, 20 * torch.arange(len(SHOWN)).view(-1, 1, 1).expand_as(SHOWN)][:3], 1).to(
        torch.uint8
    )


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> evaluation.Measured:
    """Nine samples, the fifth of which fails; real images in another order, one of which its segmenter mistakes."""

    def load(_folder: Path, role: str, _classes: list[str]) -> Reader:
        return Reader({"judge": 0}[role])

    monkeypatch.setattr(evaluation, "load_segmenter", load)
    monkeypatch.setattr(evaluation, "make_extractor", lambda *_: MeanColour())
    ids = torch.tensor([7, 5, 9, 8])
    save_masks(MaskSet(MASKS, ids, CLASSES), tmp_path / "masks", {})
    about = vars(ROW) | {"masks": pixel_digest(MASKS[:3])}
    images = pictures(spoilt(SHOWN, 4), SHOWN)
    save_samples(SampleSet(images, torch.arange(9), 2.5), tmp_path / "samples", about)
    save_samples(SampleSet(images, torch.arange(9) + 1, 2.5), tmp_path / "later", about)
    real = spoilt(MASKS, 1).flip(0)[:, None].expand(-1, 3, -1, -1)
    save_image_set(ImageSet(real, ids.flip(0), pd.DataFrame(index=range(4))), tmp_path / "real", {})
    features = {"mean": torch.randn(9, 3, generator=torch.Generator().manual_seed(1))}
    described = Description("real", torch.cat([ids, torch.arange(5)]), features, {}, torch.empty(0, 3, 1, 1), Cost())
    save_description(described, tmp_path / "described")
    return evaluation.Measured(
        samples=tmp_path / "samples",
        masks=tmp_path / "masks",
        real=tmp_path / "real",
        segmenter=tmp_path,
        reference=tmp_path / "described",
    )


def test_a_row_is_about_the_first_samples_of_each_mask(files: evaluation.Measured, tmp_path: Path) -> None:
    evaluation.evaluate_masks(SETTINGS, ROW, files, (2, 3), tmp_path / "row.csv", "cpu")
    row = read_csv(tmp_path / "row.csv").iloc[0]
    images, real = pictures(spoilt(SHOWN, 4), SHOWN)[:6], files.reference
    held = agreement(SHOWN[:6].unflatten(0, (2, 3)), images[:, 0].unflatten(0, (2, 3)), 3, 20)
    features, (own, others) = MeanColour()(images), load_description(real).features["mean"][:7].split([3, 4])
    expected = {
        "miou": held.miou.value, "ci_low": held.miou.low, "ci_high": held.miou.high,
        "pixel_accuracy": held.pixel_accuracy, "miou_real": miou(confusion(MASKS[:3], spoilt(MASKS, 1)[:3], 3)),
        "diversity": diversity(features.unflatten(0, (2, 3))), "kernel_distance": kernel_distance(features, others),
        "floor": kernel_distance(own, others), "n": 6, "forwards_per_sample": 2.5, "shots": 4, "guidance_scale": 25,
    }  # fmt: skip
    assert row[list(expected)].to_dict() == pytest.approx(expected, rel=1e-4)
    assert held.miou.value < 1 and row["method"] == "exact" and row["preset"] == "main"
    assert (row["seeds"], row["extractor"]) == ("0-5", "mean") and pd.isna(row["note"])
    evaluation.make_masks_table("here", [tmp_path / "row.csv"] * 2, tmp_path / "table.csv")
    table = read_csv(tmp_path / "table.csv")
    assert list(table.columns) == ["data_set", *evaluation.MASK_COLUMNS]
    assert table["data_set"].tolist() == ["here"] * 2 and table["miou"].nunique() == 1


@pytest.mark.parametrize(
    ("samples", "shape", "said"),
    [
        ("samples", (4, 3), "samples: found 9 samples, expected 12 of 3 masks"),
        ("later", (2, 3), "later: the seeds do not show the masks in their order"),
    ],
)
def test_too_few_samples_or_others_first_are_refused(
    files: evaluation.Measured, tmp_path: Path, samples: str, shape: tuple[int, int], said: str
) -> None:
    other = replace(files, samples=tmp_path / samples)
    with pytest.raises(DataError, match=said):
        evaluation.evaluate_masks(SETTINGS, ROW, other, shape, tmp_path / "row.csv", "cpu")


@pytest.mark.parametrize(
    "change", [{"method": "readout"}, {"preset": "label_500"}, {"shots": 20}, {"guidance_scale": 7.0}]
)
def test_samples_in_anothers_place_are_refused(
    files: evaluation.Measured, tmp_path: Path, change: dict[str, Any]
) -> None:
    with pytest.raises(CorruptFileError, match=f"samples: was made for {next(iter(change))}"):
        evaluation.evaluate_masks(SETTINGS, replace(ROW, **change), files, (2, 3), tmp_path / "row.csv", "cpu")


def test_samples_of_other_masks_and_features_of_other_images_are_refused(
    files: evaluation.Measured, tmp_path: Path
) -> None:
    with pytest.raises(CorruptFileError, match="was made for masks"):
        evaluation.evaluate_masks(SETTINGS, ROW, files, (2, 4), tmp_path / "row.csv", "cpu")
    described = load_description(files.reference)
    save_description(replace(described, ids=described.ids.flip(0)), files.reference)
    with pytest.raises(CorruptFileError, match="describes other images"):
        evaluation.evaluate_masks(SETTINGS, ROW, files, (2, 3), tmp_path / "row.csv", "cpu")
    assert not (tmp_path / "row.csv").exists()


def test_a_scale_is_chosen_by_the_tuning_segmenter_and_not_by_the_guide(
    files: evaluation.Measured, tiny_denoiser: Denoiser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    denoiser, seeds = save_denoiser(tiny_denoiser, tmp_path / "denoiser"), torch.arange(9) + 10
    shown = MASKS[seeds % 3]
    found = {4.0: (spoilt(shown, 0), spoilt(shown, 0, 1)), 1.0: (spoilt(shown, 0, 1, 2), spoilt(shown, *range(9)))}
    found[16.0] = (spoilt(shown, 0, 1), shown)
    for scale, channels in found.items():
        about = vars(ROW) | {"guidance_scale": scale, "denoiser": denoiser.digest, "masks": pixel_digest(MASKS[:3])}
        save_samples(SampleSet(pictures(*channels), seeds, 2.0), tmp_path / f"{scale:g}", about)
    monkeypatch.setattr(sweep, "load_segmenter", lambda _folder, role, _classes: Reader({"tuning_judge": 0}[role]))
    monkeypatch.setitem(GUIDES, "exact", SimpleNamespace(load=lambda steering: Reader(1)))
    config = smoke_config().masks
    assert config is not None
    settings = config.sweep.model_copy(update={"guidance_scales": [*found], "masks": 3, "tolerance": 0.0})
    candidates = sweep.Candidates(
        samples=[tmp_path / f"{scale:g}" for scale in found],
        masks=files.masks,
        segmenter=tmp_path,
        denoiser=tmp_path / "denoiser",
        guide=tmp_path,
    )
    sweep.choose_mask_scale(settings, ROW, candidates, tmp_path / "sweep.csv", "cpu")
    table = read_csv(tmp_path / "sweep.csv")
    assert table["guidance_scale"].tolist() == [1, 4, 16] and table["chosen"].tolist() == [False, True, False]
    for channel, column in enumerate(("tuning_miou", "own_miou")):
        expected = [miou(confusion(shown, found[scale][channel], 3)) for scale in (1.0, 4.0, 16.0)]
        assert table[column].tolist() == pytest.approx(expected, rel=1e-4)
    with pytest.raises(CorruptFileError, match="was made for guidance_scale"):
        sweep.choose_mask_scale(settings, ROW, replace(candidates, samples=candidates.samples[::-1]), tmp_path, "cpu")
    assert set(table["n"]) == {9} and set(table["seeds"]) == {"10-18"} and set(table["method"]) == {"exact"}


def test_a_set_says_what_it_shows_and_keeps_its_units(
    files: evaluation.Measured, tiny_denoiser: Denoiser, random_head: Callable[..., MaskHead], tmp_path: Path
) -> None:
    denoiser, head = save_denoiser(tiny_denoiser, tmp_path / "denoiser"), random_head([50])
    about = ROW.key | {"denoiser": denoiser.digest, "classes": CLASSES}
    save_module(head, head.config, tmp_path / "head", about)
    changes = {"num_inference_steps": 2, "unit_size": 3, "first_seed": 3, "precision": "float32"}
    settings = smoke_config().sampling.model_copy(update=changes)

    def draw(row: MaskRow, guide: Path | None, seeds_per_mask: int = 2) -> SampleSet:
        wanted = Wanted(masks=files.masks, seeds_per_mask=seeds_per_mask, denoiser=tmp_path / "denoiser", guide=guide)
        sample_masks(settings, row, wanted, tmp_path / "units", tmp_path / "drawn.parquet", "cpu")
        own = {"denoiser": denoiser.digest, "masks": pixel_digest(MASKS[:3]), "precision": "torch.float32"}
        digest = {"guide": guide and weights_digest(guide)}
        return load_samples([tmp_path / "drawn.parquet"], vars(row) | own | digest)

    plain = draw(MaskRow("unguided", "main", 0, 0.0), None)
    units, kept = plan_units(3, 2, 3), CheckpointFolder(tmp_path / "by hand", "id")
    expected = draw_units(units, lambda _: unguided(denoiser), denoiser, settings, kept)[0]
    assert plain.seeds.tolist() == [3, 4, 5, 6, 7, 8] and torch.equal(plain.images, expected.images)
    steered = draw(ROW, tmp_path / "head")
    assert not torch.equal(steered.images, plain.images)
    assert torch.equal(draw(ROW, tmp_path / "head", 3).images[:6], steered.images)
    assert len(list((tmp_path / "units").iterdir())) == 2, "a folder of units for each of the two sets"
    assert seconds_per_sample([tmp_path / "drawn.timing.json"]) > 0
