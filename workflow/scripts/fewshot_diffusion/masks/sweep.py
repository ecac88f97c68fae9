"""Choosing the guidance scale of masks: a sweep on its own seeds and masks, judged by its own segmenter."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pandas as pd
from torch import Tensor

from ..config.masks import MaskSweepConfig
from ..data.mask_set import MaskSet, load_masks
from ..diffusion.denoiser import load_denoiser
from ..diffusion.samples import SampleSet, load_samples, seed_range
from ..runtime import Runtime, make_runtime
from ..storage.files import About
from ..storage.tables import write_csv
from ..storage.tensors import pixel_digest
from .guidance import GUIDES, Steering
from .metrics import confusion, miou
from .row import GuideKey, MaskRow
from .segmenter import Segmenter, load_segmenter

MASK_SWEEP_COLUMNS = ["method", "preset", "guidance_scale", "tuning_miou", "own_miou", "n", "seeds", "chosen"]


class Opinion(Protocol):
    """Whoever finds masks in finished samples."""

    def segment(self, images: Tensor) -> Tensor:
        """Return class ids, uint8 [N, H, W], of images, uint8 [N, 3, H, W]."""
        ...


@dataclass(frozen=True, kw_only=True)
class ScaleFiles:
    """What is compared, and by whom.

    Attributes:
        samples: Samples of each candidate, parquet, in the order of the scales.
        masks: Wanted masks, parquet.
        segmenter: Weights folder of the segmenter that tunes.
        guide: Weights folder of the method's guide.
    """

    samples: list[Path]
    masks: Path
    segmenter: Path
    guide: Path


@dataclass(frozen=True, kw_only=True)
class Candidates(ScaleFiles):
    """Candidates that the denoiser drew.

    Attributes:
        denoiser: Weights folder of the denoiser.
    """

    denoiser: Path


def choose_mask_scale(
    settings: MaskSweepConfig, row: GuideKey, files: Candidates, output: Path, device: str = "auto"
) -> None:
    """Choose one method's guidance_scale by the tuning segmenter; the guide's own opinion stands beside it.

    Guidance that is too strong shows as an own score that still rises while the tuning score falls.

    Args:
        settings: Section masks.sweep, JSON.
        row: Method, preset and number of pairs.
        files: Samples of each candidate, and who judges them.
        output: CSV to write, one row a candidate.
        device: auto, cpu, cuda or cuda:<n>.

    Raises:
        CorruptFileError: If samples are of another row, scale or denoiser, or were to show other masks.
        WeightsError: If the segmenter was not trained to tune.
    """
    runtime = make_runtime(device, "float32", cpu_threads=1)
    wanted, denoiser = load_masks(files.masks).first(settings.masks), load_denoiser(files.denoiser, runtime)
    guide = GUIDES[row.method].load(
        Steering(MaskRow(**row.key, guidance_scale=0), files.guide, denoiser, wanted.classes)
    )
    table = compare_scales(settings, {**row.key, "denoiser": denoiser.digest}, files, guide, runtime)
    write_csv(output, table)


def compare_scales(
    settings: MaskSweepConfig, expected: About, files: ScaleFiles, guide: Opinion, runtime: Runtime
) -> pd.DataFrame:
    """Return the scores of each candidate of a method, and which is chosen: ``MASK_SWEEP_COLUMNS``.

    Args:
        settings: Candidates, masks, tolerance.
        expected: What the samples of all candidates say of themselves: method, preset, number of pairs, model.
        files: Samples of each candidate, and who judges them.
        guide: The method's own opinion.
        runtime: Device.
    """
    wanted = load_masks(files.masks).first(settings.masks)
    segmenter = load_segmenter(files.segmenter, "tuning_judge", wanted.classes).to(runtime.device)
    of_all = {**expected, "masks": pixel_digest(wanted.masks)}
    drawn = {
        scale: load_samples([path], expected={**of_all, "guidance_scale": scale})
        for scale, path in zip(settings.guidance_scales, files.samples, strict=True)
    }
    scores = pd.DataFrame(_scores(drawn, wanted, segmenter, guide))
    scores["chosen"] = scores["guidance_scale"] == chosen_scale(scores, settings.tolerance)
    return scores.assign(method=expected["method"], preset=expected["preset"]).reindex(columns=MASK_SWEEP_COLUMNS)


def chosen_scale(scores: pd.DataFrame, tolerance: float) -> float:
    """Return the smallest guidance_scale whose tuning_miou is within ``tolerance`` of the best."""
    enough = scores["tuning_miou"] >= scores["tuning_miou"].max() - tolerance
    return float(scores.loc[enough, "guidance_scale"].min())


def _scores(
    drawn: Mapping[float, SampleSet], wanted: MaskSet, segmenter: Segmenter, guide: Opinion
) -> list[dict[str, object]]:
    def score(samples: SampleSet, found: Tensor) -> float:
        shown = wanted.pixels[[int(seed) % len(wanted) for seed in samples.seeds]]
        return miou(confusion(shown, found, len(wanted.classes)))

    return [
        {
            "guidance_scale": scale,
            "tuning_miou": score(samples, segmenter.segment(samples.images)),
            "own_miou": score(samples, guide.segment(samples.pixels)),
            "n": len(samples.seeds),
            "seeds": seed_range(samples.seeds),
        }
        for scale, samples in sorted(drawn.items())
    ]
