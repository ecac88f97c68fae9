"""Choosing the guidance scale of masks: a sweep on its own seeds and masks, judged by its own segmenter."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from ..config.masks import SegmentationConfig
from ..data.mask_set import load_masks
from ..diffusion.denoiser import Denoiser, load_denoiser
from ..diffusion.features import extract
from ..diffusion.samples import SampleSet, seed_range
from ..diffusion.schedule import add_noise, make_scheduler
from ..runtime import Runtime
from ..seeds import generator
from .guidance import load_guide
from .heads import SegmentationHead
from .metrics import confusion, miou
from .segmenter import Segmenter, load_segmenter

MASK_SWEEP_COLUMNS = [
    "data_set", "method", "preset", "guidance_scale", "tuning_miou", "own_miou", "n", "seeds", "chosen",
]  # fmt: skip


def mask_sweep_rows(
    labels: Mapping[str, object],
    *,
    samples: Mapping[float, SampleSet],
    masks: Path,
    denoiser: Path,
    guide: Path,
    segmenter: Path,
    settings: SegmentationConfig,
    runtime: Runtime,
) -> pd.DataFrame:
    """Return one method's sweep: mIoU by the tuning segmenter and, beside it, by the guide itself.

    Guidance that is too strong shows as an own score that still rises while the tuning score falls.
    """
    wanted = load_masks(masks)
    model = load_segmenter(segmenter, "tuning_judge", wanted.classes).to(runtime.device)
    frozen = load_denoiser(denoiser, runtime)
    own = load_guide(str(labels["method"]), guide, frozen, wanted.classes).to(runtime.device)
    noised = labels["method"] == "readout"  # its head knows noised images only
    rows = []
    for scale, drawn in sorted(samples.items()):
        shown = wanted.masks[: settings.tuning_masks][[int(seed) % settings.tuning_masks for seed in drawn.seeds]]
        opinion = _own_opinion(own, frozen, drawn.images, noised)
        rows.append(
            {
                **labels,
                "guidance_scale": scale,
                "tuning_miou": miou(confusion(shown, model.segment(drawn.images), len(wanted.classes))),
                "own_miou": miou(confusion(shown, opinion, len(wanted.classes))),
                "n": len(drawn.seeds),
                "seeds": seed_range(drawn.seeds),
            }
        )
    frame = pd.DataFrame(rows)
    enough = frame["tuning_miou"] >= frame["tuning_miou"].max() - settings.tolerance
    frame["chosen"] = frame["guidance_scale"] == frame.loc[enough, "guidance_scale"].min()
    return frame.reindex(columns=MASK_SWEEP_COLUMNS)


def _own_opinion(guide: SegmentationHead | Segmenter, denoiser: Denoiser, images: Tensor, noised: bool) -> Tensor:
    if isinstance(guide, Segmenter):
        return guide.segment(images)
    found = []
    timestep = guide.timesteps[0]
    for k, batch in enumerate(images.split(50)):
        samples = batch.float() / 127.5 - 1
        if noised:
            noise = torch.randn(samples.shape, generator=generator("own opinion", k))
            samples = add_noise(samples, noise, make_scheduler(denoiser.schedule).alphas_cumprod[timestep])
        with torch.no_grad():
            maps = extract(denoiser.unet, samples.to(denoiser.unet.device), timestep, guide.modules_tapped)
            found.append(guide(maps, timestep).argmax(1).to(torch.uint8).cpu())
    return torch.cat(found)
