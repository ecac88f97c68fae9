"""What guides find in noisy images: how robust each is to inaccurate estimates, measured without drawing a sample."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import nan
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from ..config.masks import MaskNoiseConfig
from ..data.image_set import load_image_set
from ..data.mask_set import MaskSet, load_masks, masks_at
from ..diffusion.denoiser import Denoiser, load_denoiser
from ..diffusion.schedule import make_scheduler
from ..progress import Progress
from ..runtime import make_runtime
from ..storage.rows import in_memory
from ..storage.tables import write_csv
from .features import noised_to
from .guidance import BATCH_SIZE, GUIDES, CleanImageGuide, MaskGuide, Steering
from .metrics import agreement
from .row import GuideKey, MaskRow
from .segmenter import load_segmenter

NOISE_COLUMNS = [
    "shots", "method", "preset", "seen", "timestep", "n", "miou", "ci_low", "ci_high", "pixel_accuracy"
]  # fmt: skip

JUDGE = "judge"
"""Row of the independent segmenter that reads x0_hat: what masks the estimate still shows to many labels."""


@dataclass(frozen=True, kw_only=True)
class NoiseFiles:
    """What is read, and by whom.

    Attributes:
        denoiser: Weights folder of the denoiser.
        guide: Weights folder of the guide, or of the independent segmenter.
        images: Real images that no guide has seen, parquet.
        masks: Their masks, parquet.
    """

    denoiser: Path
    guide: Path
    images: Path
    masks: Path


def evaluate_mask_noise(
    settings: MaskNoiseConfig, row: GuideKey, replicates: int, files: NoiseFiles, output: Path, device: str = "auto"
) -> None:
    """Measure what one guide finds in real images, and in the same images with noise, as it does while sampling.

    With noise, a guide of x0_hat reads the estimate that the denoiser makes of x_t in one pass, neither clipped nor
    refined; ``readout`` reads the activations of that pass, and has no row without noise: it never saw such images.

    Args:
        settings: Section masks.noise, JSON.
        row: Method that learned, or ``judge``; preset; number of pairs.
        replicates: Of the bootstrap over images.
        files: Denoiser, guide, images and masks.
        output: CSV rows to write.
        device: auto, cpu, cuda or cuda:<n>.

    Raises:
        DataError: If an image has no mask.
        WeightsError: If the guide was made for another row, denoiser or classes.
    """
    runtime = make_runtime(device, settings.precision, cpu_threads=1, feature_batch=settings.feature_batch)
    denoiser, wanted = load_denoiser(files.denoiser, runtime), load_masks(files.masks).first(settings.images)
    images = load_image_set(files.images).by_ids(wanted.ids.tolist()).pixels
    guide = _guide_of(row, files.guide, denoiser, wanted.classes)
    rows = [{**row.key, **found} for found in _rows(guide, denoiser, images, wanted, settings, replicates)]
    write_csv(output, pd.DataFrame(rows).reindex(columns=NOISE_COLUMNS).astype({"timestep": "Int64"}))


def found_while_sampling(guide: MaskGuide, x_t: Tensor, timestep: int, denoiser: Denoiser) -> Tensor:
    """Return the masks that a guide finds in samples being drawn: class ids, uint8 [N, H, W], on the CPU.

    Args:
        guide: Who looks.
        x_t: Noisy images, [N, C, h, w].
        timestep: Their noise level.
        denoiser: Frozen denoiser.
    """
    alpha_bar_t = make_scheduler(denoiser.schedule).alphas_cumprod[timestep].to(x_t.device)
    read, found = guide.scored(lambda logits: logits), []
    for batch in x_t.split(denoiser.runtime.feature_batch or BATCH_SIZE):
        with torch.no_grad():
            _, logits = read(batch, timestep, alpha_bar_t)
        found.append(masks_at(logits.argmax(1).to(torch.uint8), denoiser.image_size).cpu())
    return torch.cat(found)


def _guide_of(row: GuideKey, folder: Path, denoiser: Denoiser, classes: list[str]) -> MaskGuide:
    if row.method == JUDGE:
        return CleanImageGuide(denoiser, load_segmenter(folder, "judge", classes).to(denoiser.device))
    return GUIDES[row.method].load(Steering(MaskRow(**row.key, guidance_scale=nan), folder, denoiser, classes))


def _rows(
    guide: MaskGuide, denoiser: Denoiser, images: Tensor, wanted: MaskSet, settings: MaskNoiseConfig, replicates: int
) -> Iterator[dict[str, Any]]:
    """Yield the cells of real images, then those of each noise level; all guides get the same noise."""
    masks = in_memory(wanted.masks)[None]

    def cells(seen: str, timestep: int | None, found: Tensor) -> dict[str, Any]:
        held = agreement(masks, found[None], len(wanted.classes), replicates)
        bounds = {"miou": held.miou.value, "ci_low": held.miou.low, "ci_high": held.miou.high}
        about = {"seen": seen, "timestep": timestep, "n": len(images)}
        return {**about, **bounds, "pixel_accuracy": held.pixel_accuracy}

    if guide.reads != "x_t":
        yield cells("real", None, guide.segment(images))
    clean = denoiser.encode(images)
    for timestep in Progress(settings.timesteps, desc="noise levels", unit="level"):
        x_t = noised_to(denoiser, clean, timestep, "masks by noise", timestep)
        yield cells(guide.reads, timestep, found_while_sampling(guide, x_t, timestep, denoiser))
