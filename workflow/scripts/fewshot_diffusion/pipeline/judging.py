"""Who says whether samples are as wanted: a judge of this project, or whatever tells it of images."""

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from ..errors import DataError
from ..judges import AttributeClassifier, load_judge

Judge = str | Path | AttributeClassifier | Callable[[Tensor], Tensor]


def judged(judge: Judge, images: Tensor, wanted: Mapping[str, bool]) -> Tensor:
    """Return whether each image is as wanted, bool [N].

    Args:
        judge: Folder of a judge, a classifier, or a function of the images.
        images: uint8 [N, 3, H, W], 0..255.
        wanted: Attributes, and whether each is wanted; all must be right. A function is told nothing of them.

    Raises:
        DataError: If the judge does not know an attribute, or a function answers in another shape.
        WeightsError: If the folder holds no judge.
    """
    if isinstance(judge, str | Path):
        judge = load_judge(Path(judge), "judge")
    if isinstance(judge, AttributeClassifier):
        known = judge
        return torch.stack([(known.probability(images, name) > 0.5) == value for name, value in wanted.items()]).all(0)
    found = torch.as_tensor(judge(images)).cpu()
    if found.shape != (len(images),):
        raise DataError(f"judge: found an answer {list(found.shape)}, expected [{len(images)}], one for each image.")
    return found if found.dtype == torch.bool else found > 0.5
