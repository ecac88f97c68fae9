"""With labels to spare: a judge that no head has learned from, and what it says of the samples."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from ..config.supervised import SupervisedConfig
from ..data.image_set import ImageSet, load_image_set
from ..diffusion.samples import SampleSet, load_samples, seed_range
from ..judges import load_judge, train_classifier
from ..metrics.intervals import wilson_interval
from ..metrics.notes import judge_note
from ..runtime import make_runtime
from ..storage.files import read_json, write_json
from ..storage.tables import write_csv
from ..storage.tensors import pixel_digest
from ..storage.weights import save_module
from .shots import JUDGED_WITH, balanced, held_out_of

ACCURACY = "accuracy.json"
"""Beside a judge's weights: what it was right on."""


@dataclass(frozen=True)
class HeldOut:
    """Labelled images of an attribute that its head has not learned from.

    Attributes:
        images: Labelled images, parquet.
        attribute: Name of the attribute in files.
        shots: Images of each kind that the head learns from, at most.
    """

    images: Path
    attribute: str
    shots: int

    def load(self, training: bool) -> tuple[ImageSet, Tensor]:
        """Return those that train the judge, or those that try it, and whether each has the attribute, bool [N]."""
        held_out = held_out_of(load_image_set(self.images), self.attribute, self.shots)
        tries = torch.zeros(len(held_out), dtype=torch.bool)
        for value in (True, False):
            tries[held_out.mask(self.attribute, value).nonzero().flatten()[::JUDGED_WITH]] = True
        chosen = held_out.select(~tries if training else tries)
        return chosen, chosen.mask(self.attribute, True)


def train_own_judge(settings: SupervisedConfig, held_out: HeldOut, output: Path, device: str = "auto") -> None:
    """Train the judge of an attribute.

    Args:
        settings: Section own.table.judge, JSON.
        held_out: What it learns from.
        output: Weights folder to write.
        device: auto, cpu, cuda or cuda:<n>.
    """
    runtime = make_runtime(device, settings.precision, cpu_threads=1)
    images, having = held_out.load(training=True)
    judge = train_classifier(images.images, having[:, None], [held_out.attribute], settings, runtime)
    tried, wanted = held_out.load(training=False)
    right = judge.probability(tried.images, held_out.attribute) > 0.5
    about = {"recipe": settings.model_dump(mode="json"), "images": pixel_digest(images.images)}
    save_module(judge, judge.config, output, {"role": "judge", **about})
    write_json(output / ACCURACY, {"accuracy": balanced(right == wanted, wanted), "tried": len(tried)})


def make_own_table(
    data_set: str, titles: list[str], judges: list[Path], samples: list[Path], unguided: Path, output: Path
) -> None:
    """Write the share of samples that show each measured attribute, unguided and steered, by its judge.

    Args:
        data_set: Name of the run.
        titles: What people call the attributes.
        judges: Folder of each one's judge.
        samples: Steered samples of each, parquet.
        unguided: Unguided samples, parquet.
        output: CSV to write.
    """
    rows = []
    for title, folder, steered in zip(titles, judges, samples, strict=True):
        judge, accuracy = load_judge(folder, "judge"), read_json(folder / ACCURACY)
        for method, path in (("unguided", unguided), ("steered", steered)):
            drawn = load_samples([path])
            right = judge.probability(drawn.images, judge.attributes[0]) > 0.5
            rows.append({"data_set": data_set, "attribute": title, "method": method, **_share(right, drawn, accuracy)})
    write_csv(output, pd.DataFrame(rows))


def _share(right: Tensor, drawn: SampleSet, judge: Mapping[str, Any]) -> dict[str, Any]:
    found = wilson_interval(int(right.sum()), len(right))
    return {
        "share": found.value,
        "ci_low": found.low,
        "ci_high": found.high,
        "n": len(right),
        "seeds": seed_range(drawn.seeds),
        "judge_real": judge["accuracy"],
        "judge_n": judge["tried"],
        "forwards_per_sample": drawn.forwards_per_sample,
        "note": judge_note(judge["accuracy"]),
    }
