"""With pairs to spare: a segmenter that no head has learned from, and what it finds in samples that follow masks."""

from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from ..config.masks import SegmenterConfig
from ..config.supervised import SupervisedConfig
from ..data.mask_set import MaskSet, load_masks
from ..diffusion.samples import load_samples, seed_range
from ..masks.metrics import confusion, miou
from ..masks.segmenter import fit_segmenter, load_segmenter
from ..metrics.notes import segmenter_note
from ..runtime import make_runtime
from ..storage.files import read_json, write_json
from ..storage.tables import write_csv
from ..storage.weights import save_module
from .curve import bootstrapped, percentile_interval
from .pairs import OwnPairs
from .table import ACCURACY

CHANNELS = (16, 32, 48)
"""Of the segmenter's levels, finest first, as in the experiments: what a hundred pairs can train."""


def train_own_segmenter(
    settings: SupervisedConfig, pairs: OwnPairs, flip: bool, output: Path, device: str = "auto"
) -> None:
    """Train the judge of masks.

    Args:
        settings: Section own.table.judge, JSON.
        pairs: All pairs: it learns from those held out.
        flip: Whether half of each batch is mirrored; false where sides matter.
        output: Weights folder to write.
        device: auto, cpu, cuda or cuda:<n>.
    """
    runtime = make_runtime(device, settings.precision, cpu_threads=1)
    recipe = SegmenterConfig.model_validate({**settings.model_dump(), "block_out_channels": CHANNELS})
    learned, tried = pairs.of_segmenter(), pairs.of_nobody()
    model = fit_segmenter(learned, recipe, runtime, flip)
    found = confusion(tried.masks[:], model.segment(tried.images), len(tried.classes))
    about = {"recipe": {**recipe.model_dump(mode="json"), "flip": flip}, "images": learned.digest}
    save_module(model, model.config, output, {"role": "judge", "classes": learned.classes, **about})
    write_json(output / ACCURACY, {"miou": miou(found), "tried": len(tried)})


def make_own_masks_table(data_set: str, masks: Path, judge: Path, samples: Path, unguided: Path, output: Path) -> None:
    """Write how well samples follow the wanted masks, unguided and steered, by the segmenter.

    Args:
        data_set: Name of the run.
        masks: Wanted masks, parquet: the sample with seed i was to show mask i modulo their number.
        judge: Folder of the segmenter.
        samples: Steered samples, parquet.
        unguided: Unguided samples, parquet: what agreement chance gives.
        output: CSV to write.

    Raises:
        WeightsError: If the segmenter is of other classes.
    """
    wanted = load_masks(masks)
    segmenter, known = load_segmenter(judge, "judge", wanted.classes), read_json(judge / ACCURACY)
    rows = []
    for method, path in (("unguided", unguided), ("steered", samples)):
        drawn = load_samples([path])
        rows.append({
            "data_set": data_set, "method": method, **_agreement(wanted, segmenter.segment(drawn.images), drawn.seeds),
            "n": len(drawn.seeds), "seeds": seed_range(drawn.seeds), "miou_real": known["miou"],
            "judge_n": known["tried"], "forwards_per_sample": drawn.forwards_per_sample,
            "note": segmenter_note(known["miou"]),
        })  # fmt: skip
    write_csv(output, pd.DataFrame(rows))


def _agreement(wanted: MaskSet, found: Tensor, seeds: Tensor) -> dict[str, Any]:
    """Return mIoU with a 95 % interval: the bootstrap draws whole masks, with all the samples that follow each.

    Args:
        wanted: The M wanted masks.
        found: What the segmenter finds, class ids, uint8 [N, H, W].
        seeds: Of the samples, int64 [N].
    """
    classes, shown = len(wanted.classes), seeds % len(wanted)
    counts = confusion(wanted.pixels[shown], found, classes)
    of_masks = torch.zeros(len(wanted), classes, classes, dtype=torch.int64).index_add(0, shown, counts)
    of_masks = of_masks[shown.unique()]
    replicates = bootstrapped(lambda drawn: miou(of_masks[drawn]), torch.zeros(len(of_masks)))
    held = percentile_interval(miou(of_masks), replicates)
    return {"miou": held.value, "ci_low": held.low, "ci_high": held.high, "masks": len(of_masks)}
