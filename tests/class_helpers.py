"""What tests of the classes share."""

from collections.abc import Sequence

import pandas as pd
import torch

from fewshot_diffusion.data.class_set import ClassSet


def shades(classes: Sequence[str], per_class: int, seed: int = 0) -> ClassSet:
    """Return noise of 16 x 16 pixels, class by class, the later the lighter: classes that are easy to tell."""
    labels, step = torch.arange(len(classes)).repeat_interleave(per_class), 195 // (len(classes) - 1)
    noise = torch.randint(60, (len(labels), 3, 16, 16), generator=torch.Generator().manual_seed(seed))
    images = (noise + step * labels[:, None, None, None]).to(torch.uint8)
    return ClassSet(images, labels, torch.arange(len(labels)), list(classes))


def filters_table() -> pd.DataFrame:
    """Return a comparison of two filters by two thresholds, of which the second keeps nothing at the higher one."""
    nothing = float("nan")
    rows = [
        ("mid_block", "300 800", 0.4, 0.0, 1.0, 0.5, 0.45, 0.55),
        ("mid_block", "300 800", 0.4, 0.5, 0.3, 0.8, 0.7, 0.9),
        ("up_blocks.1", "100", 0.7, 0.0, 1.0, 0.5, 0.45, 0.55),
        ("up_blocks.1", "100", 0.7, 0.5, 0.0, nothing, nothing, nothing),
    ]
    columns = ["tap", "timesteps", "accuracy", "threshold", "share_kept", "judge_accuracy", "ci_low", "ci_high"]
    table = pd.DataFrame(rows, columns=columns).assign(data_set="a", split="tuning_judge", n_real=90, n_drawn=200)
    return table.assign(accuracy_low=table["accuracy"] - 0.1, accuracy_high=table["accuracy"] + 0.1)
