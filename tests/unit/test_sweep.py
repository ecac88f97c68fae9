"""The sweep over guidance_scale: strong enough, no stronger, on seeds and a judge of its own."""

import pandas as pd
import pytest
import torch
from torch import Tensor

from fewshot_diffusion.attributes.sweep import SWEEP_COLUMNS, choose_scale, contrast, sweep_rows
from fewshot_diffusion.config.attributes import GuidanceConfig, TargetConfig, TuningConfig
from fewshot_diffusion.diffusion.samples import SampleSet

TARGET = TargetConfig(
    name="Red", attribute="Red", value=True, label="Red car", guidance_scale=GuidanceConfig(exact=1, readout=1)
)


class BrightIsRed:
    """A judge for which an image is red if its first pixel is bright."""

    def probability(self, images: Tensor, attribute: str) -> Tensor:
        assert attribute == "Red"
        return images[:, 0, 0, 0].float() / 255


def drawn(reds: int, n: int = 10) -> SampleSet:
    images = torch.zeros(n, 3, 8, 8, dtype=torch.uint8)
    images[:reds, 0, 0, 0] = 255
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


def sweep(value: bool = True) -> pd.DataFrame:
    target = TARGET.model_copy(update={"value": value})
    settings = TuningConfig(guidance_scales=[1, 3, 10], units=1, first_seed=1000, tolerance=0.02)
    samples = {10.0: drawn(9), 1.0: drawn(4), 3.0: drawn(9)}
    return sweep_rows("set", target, "exact", samples, BrightIsRed(), settings)  # type: ignore[arg-type]


def test_a_row_for_every_scale_in_order() -> None:
    rows = sweep()
    assert list(rows.columns) == SWEEP_COLUMNS
    assert rows["guidance_scale"].tolist() == [1, 3, 10]
    assert rows["tuning_judge_accuracy"].tolist() == [0.4, 0.9, 0.9]
    assert rows["chosen"].tolist() == [False, True, False]
    assert set(rows["seeds"]) == {"1000-1009"}
    assert set(rows["n"]) == {10}
    assert (rows["ci_low"] < rows["tuning_judge_accuracy"]).all()
    assert (rows["tuning_judge_accuracy"] < rows["ci_high"]).all()
    assert set(rows["attribute"]) == {"Red car"}
    assert set(rows["mode"]) == {"exact"}


def test_the_absent_class_counts_the_others() -> None:
    rows = sweep(value=False)
    assert rows["tuning_judge_accuracy"].tolist() == pytest.approx([0.6, 0.1, 0.1])
    assert rows["chosen"].tolist() == [True, False, False]


def test_contrast_sees_grey() -> None:
    stream = torch.Generator().manual_seed(0)
    images = torch.randint(256, (6, 3, 8, 8), generator=stream, dtype=torch.uint8)
    greyer = (images.float() * 0.5 + 64).to(torch.uint8)
    assert contrast(torch.full((4, 3, 8, 8), 77, dtype=torch.uint8)) == 0
    assert contrast(greyer) == pytest.approx(contrast(images) / 2, rel=0.02)
    checks = torch.tensor([0, 255], dtype=torch.uint8).repeat(96).reshape(1, 3, 8, 8)
    assert contrast(checks) == pytest.approx(127.5, rel=0.01)


def test_contrast_is_of_single_images_not_between_them() -> None:
    images = torch.stack([torch.full((3, 8, 8), v, dtype=torch.uint8) for v in (0, 255)])
    assert contrast(images) == 0
