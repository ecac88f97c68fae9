"""What guides find in noisy images: read as they read while sampling, of the same noise, against the true masks."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import Tensor

from attribute_helpers import save_denoiser
from fewshot_diffusion.config.masks import MaskNoiseConfig
from fewshot_diffusion.data.image_set import ImageSet, save_image_set
from fewshot_diffusion.data.mask_set import MaskSet, save_masks
from fewshot_diffusion.diffusion.denoiser import Denoiser
from fewshot_diffusion.diffusion.schedule import make_scheduler, pred_original_sample
from fewshot_diffusion.errors import WeightsError
from fewshot_diffusion.masks.features import noised_to
from fewshot_diffusion.masks.figures import noise_figure
from fewshot_diffusion.masks.guidance import CleanImageGuide, ExactGuide, MaskGuide, ReadoutGuide
from fewshot_diffusion.masks.heads import MaskHead
from fewshot_diffusion.masks.metrics import agreement
from fewshot_diffusion.masks.noise import NOISE_COLUMNS, NoiseFiles, evaluate_mask_noise, found_while_sampling
from fewshot_diffusion.masks.pairs import Pairs
from fewshot_diffusion.masks.row import GuideKey
from fewshot_diffusion.masks.segmenter import Segmenter
from fewshot_diffusion.storage.tables import read_csv
from fewshot_diffusion.storage.weights import save_module

CLASSES = ["background", "square", "other"]
T = 400
SETTINGS = MaskNoiseConfig(images=5, timesteps=[100, T], precision="float32")

HeadMaker = Callable[..., MaskHead]


@pytest.fixture
def files(
    tiny_denoiser: Denoiser, random_head: HeadMaker, segmenter: Segmenter, squares: Callable[[int], Pairs],
    tmp_path: Path,
) -> NoiseFiles:  # fmt: skip
    """Six images with masks, in two orders; guides of each kind, in folders of their names."""
    pairs, ids = squares(6), torch.arange(6) + 3
    save_image_set(ImageSet(pairs.images.flip(0), ids.flip(0), pd.DataFrame(index=range(6))), tmp_path / "i", {})
    save_masks(MaskSet(pairs.masks, ids, CLASSES), tmp_path / "m", {})
    digest = save_denoiser(tiny_denoiser, tmp_path / "denoiser").digest
    for method, levels in (("exact", [50]), ("readout", [100, 500])):
        head = random_head(levels)
        about = {"method": method, "preset": "p", "shots": 4, "denoiser": digest, "classes": CLASSES}
        save_module(head, head.config, tmp_path / method, about)
    for folder, about in (("clean_image", {"role": "guides", "shots": 4}), ("judge", {"role": "judge"})):
        save_module(segmenter, segmenter.config, tmp_path / folder, {**about, "classes": CLASSES})
    return NoiseFiles(
        denoiser=tmp_path / "denoiser", guide=tmp_path / "exact", images=tmp_path / "i", masks=tmp_path / "m"
    )


def measured(method: str, files: NoiseFiles, tmp_path: Path, shots: int = 4) -> pd.DataFrame:
    row, output = GuideKey(method, "p", shots), tmp_path / "noise.csv"
    of_method = NoiseFiles(**{**vars(files), "guide": tmp_path / method})
    evaluate_mask_noise(SETTINGS, row, 20, of_method, output, "cpu")
    return read_csv(output)


@pytest.mark.parametrize("method", ["exact", "readout", "clean_image"])
def test_a_guide_looks_at_noisy_images_as_it_does_while_sampling(
    tiny_denoiser: Denoiser, random_head: HeadMaker, segmenter: Segmenter, method: str
) -> None:
    """Head on features of x0_hat at its label; head on those of x_t at its level; network on x0_hat itself."""
    x_t = torch.randn(60, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    output = tiny_denoiser.unet(x_t, T).sample
    x0_hat = pred_original_sample(output, x_t, make_scheduler(tiny_denoiser.schedule).alphas_cumprod[T], "v_prediction")
    guide: MaskGuide
    if method == "clean_image":
        guide, logits = CleanImageGuide(tiny_denoiser, segmenter), segmenter.logits(x0_hat)
    else:
        kind, levels, seen, label = {
            "exact": (ExactGuide, [50], x0_hat, 50), "readout": (ReadoutGuide, [100, 500], x_t, T),
        }[method]  # fmt: skip
        head = random_head(levels)
        guide, logits = kind(tiny_denoiser, head), head(tiny_denoiser.features(seen, label, head.modules_tapped), label)
    found = found_while_sampling(guide, x_t, T, tiny_denoiser)
    assert found.dtype == torch.uint8 and found.shape == (60, 16, 16)
    assert float((found == logits.argmax(1)).float().mean()) > 0.999  # ties may fall either way


def test_rows_are_of_real_images_and_of_every_level(
    files: NoiseFiles, tiny_denoiser: Denoiser, random_head: HeadMaker, squares: Callable[[int], Pairs], tmp_path: Path
) -> None:
    table, pairs, guide = measured("exact", files, tmp_path), squares(6), ExactGuide(tiny_denoiser, random_head([50]))
    images, masks = pairs.images[:5], pairs.masks[:5]
    clean = tiny_denoiser.encode(images)
    noisy = [noised_to(tiny_denoiser, clean, t, "masks by noise", t) for t in SETTINGS.timesteps]
    found: list[Tensor] = [guide.segment(images)]
    found += [
        found_while_sampling(guide, x_t, t, tiny_denoiser) for x_t, t in zip(noisy, SETTINGS.timesteps, strict=True)
    ]
    held = [agreement(masks[None], one[None], 3, 20) for one in found]
    assert table["miou"].tolist() == pytest.approx([one.miou.value for one in held], rel=1e-4)
    assert table["ci_low"].tolist() == pytest.approx([one.miou.low for one in held], rel=1e-4)
    assert table["pixel_accuracy"].tolist() == pytest.approx([one.pixel_accuracy for one in held], rel=1e-4)
    assert list(table.columns) == NOISE_COLUMNS and table["seen"].tolist() == ["real", "x0_hat", "x0_hat"]
    assert table["timestep"].fillna(-1).tolist() == [-1, 100, T] and set(table["n"]) == {5}
    assert table["miou"].nunique() == 3


def test_readout_has_no_row_without_noise_and_the_judge_reads_the_estimate(files: NoiseFiles, tmp_path: Path) -> None:
    assert measured("readout", files, tmp_path)["seen"].tolist() == ["x_t", "x_t"]
    judge, guide = measured("judge", files, tmp_path, shots=600), measured("clean_image", files, tmp_path)
    assert judge["seen"].tolist() == ["real", "x0_hat", "x0_hat"] and set(judge["shots"]) == {600}
    same = ["seen", "timestep", "miou", "ci_low", "ci_high"]
    pd.testing.assert_frame_equal(judge[same], guide[same])  # here they are the same network


def test_a_segmenter_that_measures_does_not_guide_and_the_other_way_round(files: NoiseFiles, tmp_path: Path) -> None:
    for method, folder in (("clean_image", "judge"), ("judge", "clean_image"), ("exact", "readout")):
        with pytest.raises(WeightsError, match="expected"):
            evaluate_mask_noise(
                SETTINGS, GuideKey(method, "p", 4), 20, NoiseFiles(**{**vars(files), "guide": tmp_path / folder}),
                tmp_path / "none.csv", "cpu",
            )  # fmt: skip
    assert not (tmp_path / "none.csv").exists()


def test_the_figure_has_a_line_for_each_guide_and_real_images_at_its_left(files: NoiseFiles, tmp_path: Path) -> None:
    rows = [measured(method, files, tmp_path) for method in ("exact", "readout", "clean_image", "judge")]
    (axis,) = noise_figure(pd.concat(rows)).axes
    assert [tick.get_text() for tick in axis.get_xticklabels()] == ["real\nimage", "100", str(T)]
    legend = axis.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == [
        "exact, p, 4 pairs", "readout, p, 4 pairs", "clean_image, p, 4 pairs", "judge"
    ]  # fmt: skip
    drawn = {float(value) for line in axis.lines for value in line.get_ydata()}  # type: ignore[union-attr]
    assert set(pd.concat(rows)["miou"]) <= drawn
