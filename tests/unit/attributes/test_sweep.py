"""The sweep over guidance_scale: strong enough, no stronger, on seeds and a judge of its own."""

from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import Tensor

from attribute_helpers import BLOND, DARK, save_judges
from fewshot_diffusion.attributes import sweep
from fewshot_diffusion.attributes.guidance import Steering
from fewshot_diffusion.attributes.sweep import SWEEP_COLUMNS, Swept, choose_scale, contrast
from fewshot_diffusion.config.attributes import AttributeSweepConfig, TargetConfig
from fewshot_diffusion.diffusion.samples import SampleSet, save_samples
from fewshot_diffusion.errors import CorruptFileError, WeightsError
from fewshot_diffusion.storage.tables import read_csv

SETTINGS = AttributeSweepConfig(
    guidance_scales=[1, 3, 10],
    steering_scales=[2],
    distribution_scales=[30, 100],
    units=1,
    first_seed=1000,
    tolerance=0.02,
)


class BrightIsBlond:
    """A judge for which an image is blond if its first pixel is bright."""

    def probability(self, images: Tensor, attribute: str) -> Tensor:
        assert attribute == "Blond"
        return images[:, 0, 0, 0].float() / 255


def drawn(blond: int, n: int = 10) -> SampleSet:
    images = torch.zeros(n, 3, 16, 16, dtype=torch.uint8)
    images[:blond, 0, 0, 0] = 255
    return SampleSet(images, torch.arange(1000, 1000 + n), 2.0)


@pytest.mark.parametrize(
    ("shares", "tolerance", "chosen"),
    [
        ({1: 0.5, 3: 0.99, 10: 1.0, 30: 1.0}, 0.02, 3),
        ({1: 0.5, 3: 0.97, 10: 1.0, 30: 1.0}, 0.02, 10),
        ({1: 0.5, 3: 0.99, 10: 1.0, 30: 1.0}, 0.0, 10),
        ({30: 1.0, 10: 1.0, 1: 0.5}, 0.0, 10),
        ({1: 0.9, 3: 0.7, 10: 0.2}, 0.02, 1),
        ({1: 0.0, 3: 0.0}, 0.02, 1),
        ({1: 0.2, 3: 0.1}, 1.0, 1),
    ],
)
def test_the_smallest_scale_within_the_tolerance(shares: dict[float, float], tolerance: float, chosen: float) -> None:
    frame = pd.DataFrame({"guidance_scale": list(shares), "tuning_judge_accuracy": list(shares.values())})
    assert choose_scale(frame, tolerance) == chosen


def swept(target: TargetConfig = BLOND) -> pd.DataFrame:
    samples = {10.0: drawn(9), 1.0: drawn(4), 3.0: drawn(9)}
    return sweep.sweep_rows(Swept("set", target, "exact"), samples, BrightIsBlond(), SETTINGS)  # type: ignore[arg-type]


def test_a_row_for_every_scale_in_order() -> None:
    rows = swept()
    assert list(rows.columns) == SWEEP_COLUMNS
    assert rows["guidance_scale"].tolist() == [1, 3, 10]
    assert rows["tuning_judge_accuracy"].tolist() == [0.4, 0.9, 0.9]
    assert rows["chosen"].tolist() == [False, True, False]
    assert (rows["ci_low"] < rows["tuning_judge_accuracy"]).all()
    assert (rows["tuning_judge_accuracy"] < rows["ci_high"]).all()
    for column, value in {"seeds": "1000-1009", "n": 10, "attribute": "Blond hair", "mode": "exact"}.items():
        assert set(rows[column]) == {value}


def test_the_absent_class_counts_the_others() -> None:
    rows = swept(DARK)
    assert rows["tuning_judge_accuracy"].tolist() == pytest.approx([0.6, 0.1, 0.1])
    assert rows["chosen"].tolist() == [True, False, False]


def test_contrast_sees_grey_within_images_not_between_them() -> None:
    stream = torch.Generator().manual_seed(0)
    images = torch.randint(256, (6, 3, 8, 8), generator=stream, dtype=torch.uint8)
    greyer = (images.float() * 0.5 + 64).to(torch.uint8)
    assert contrast(torch.stack([torch.full((3, 8, 8), v, dtype=torch.uint8) for v in (0, 77, 255)])) == 0
    assert contrast(greyer) == pytest.approx(contrast(images) / 2, rel=0.02)
    checks = torch.tensor([0, 255], dtype=torch.uint8).repeat(96).reshape(1, 3, 8, 8)
    assert contrast(checks) == pytest.approx(127.5, rel=0.01)


# --- as a job ---


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_judges(tmp_path)
    for scale, blond in ((1.0, 4), (3.0, 6), (10.0, 9)):
        about = Steering("exact", "Blond", True, scale).about
        save_samples(drawn(blond), tmp_path / f"{scale:g}.parquet", about)
    return tmp_path


def choose(folder: Path, scales: tuple[int, ...] = (1, 3, 10), judge: str = "tuning_judge") -> pd.DataFrame:
    paths = [folder / f"{scale}.parquet" for scale in scales]
    sweep.choose_attribute_scale(SETTINGS, Swept("set", BLOND, "exact"), folder / judge, paths, folder / "sweep.csv")
    return read_csv(folder / "sweep.csv", *SWEEP_COLUMNS)


def test_each_scale_is_judged_on_its_own_samples(folder: Path) -> None:
    rows = choose(folder)
    assert rows["guidance_scale"].tolist() == [1, 3, 10]
    assert rows["contrast"].tolist() == pytest.approx([contrast(drawn(n).images) for n in (4, 6, 9)], rel=1e-4)
    assert rows["chosen"].sum() == 1


def test_samples_of_another_scale_and_another_judge_are_refused(folder: Path) -> None:
    with pytest.raises(CorruptFileError, match=r"3\.parquet: was made for guidance_scale 3.0, expected 1.0"):
        choose(folder, (3, 1, 10))
    with pytest.raises(WeightsError, match="role 'judge', expected 'tuning_judge'"):
        choose(folder, judge="judge")
    assert not (folder / "sweep.csv").exists()
