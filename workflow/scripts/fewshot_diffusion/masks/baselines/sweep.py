"""Choosing the guidance scale of generative baselines, as that of the other methods is chosen."""

from dataclasses import dataclass
from pathlib import Path

from ...baselines.sampling import BaselineWeights
from ...config.masks import MaskSweepConfig
from ...data.mask_set import load_masks
from ...runtime import make_runtime
from ...storage.tables import write_csv
from ...storage.weights import weights_digest
from ..row import GuideKey
from ..sweep import ScaleFiles, compare_scales
from .guidance import LatentGuide
from .prior import LatentPrior


@dataclass(frozen=True, kw_only=True)
class LatentCandidates(ScaleFiles):
    """Candidates that a generative baseline drew.

    Attributes:
        weights: Weights folder of the baseline.
    """

    weights: Path


def choose_mask_baseline_scale(
    settings: MaskSweepConfig, row: GuideKey, files: LatentCandidates, output: Path, device: str = "auto"
) -> None:
    """Choose a baseline's guidance_scale by the tuning segmenter; the decoder's own opinion stands beside it.

    Args:
        settings: Section masks.sweep with the candidates of baselines, JSON.
        row: Baseline, preset and number of pairs.
        files: Samples of each candidate, and who judges them.
        output: CSV to write, one row a candidate.
        device: auto, cpu, cuda or cuda:<n>.

    Raises:
        CorruptFileError: If samples are of another row, scale or model, or were to show other masks.
        WeightsError: If the segmenter was not trained to tune, or the decoder reads another model.
    """
    runtime = make_runtime(device, "float32", cpu_threads=1)
    prior = LatentPrior(row.method, BaselineWeights(row.method, files.weights).load(runtime), runtime)
    guide = LatentGuide.load(prior, files.weights, files.guide, row.shots, load_masks(files.masks).classes)
    expected = {**row.key, "weights": weights_digest(files.weights)}
    write_csv(output, compare_scales(settings, expected, files, guide, runtime))
