"""How well samples follow masks: confusion, mIoU, pixel accuracy and diversity, with intervals."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ..metrics.intervals import Interval
from ..seeds import generator


@dataclass(frozen=True)
class MaskAgreement:
    """Agreement of wanted and found masks.

    Attributes:
        miou: Mean over classes of intersection over union, 0..1, with a 95 % interval over masks.
        pixel_accuracy: Share of pixels of the wanted class, 0..1.
    """

    miou: Interval
    pixel_accuracy: float


def confusion(wanted: Tensor, found: Tensor, classes: int) -> Tensor:
    """Return each image's confusion matrix, int64 [N, K, K]: row the wanted class, column the found one.

    Args:
        wanted: Class ids, uint8 [N, H, W].
        found: Class ids, uint8 [N, H, W].
        classes: K.
    """
    joint = wanted.long() * classes + found.long()
    counts = torch.zeros(len(joint), classes * classes, dtype=torch.int64)
    counts.scatter_add_(1, joint.flatten(1), torch.ones_like(joint.flatten(1)))
    return counts.view(-1, classes, classes)


def miou(confusions: Tensor) -> float:
    """Return the mean IoU of pooled confusion matrices [N, K, K]; a class that is nowhere does not count.

    IoU_k = C_kk / (sum_j C_kj + sum_i C_ik - C_kk), over the pixels of all images together.
    """
    total = confusions.sum(0).double()
    hit = total.diagonal()
    union = total.sum(0) + total.sum(1) - hit
    present = union > 0
    return float((hit[present] / union[present]).mean())


def agreement(wanted: Tensor, found: Tensor, classes: int, replicates: int, seed: int = 0) -> MaskAgreement:
    """Measure the agreement of masks, with a bootstrap interval that draws whole masks.

    Args:
        wanted: Class ids, uint8 [S, M, H, W]: S samples of each of M masks.
        found: The same shape.
        classes: Number of classes.
        replicates: Bootstrap replicates.
        seed: Of the bootstrap.
    """
    samples, masks = wanted.shape[:2]
    counts = confusion(wanted.flatten(0, 1), found.flatten(0, 1), classes).view(samples, masks, classes, classes)
    per_mask = counts.sum(0)
    stream = generator("mask bootstrap", seed)
    draws = [miou(per_mask[torch.randint(masks, (masks,), generator=stream)]) for _ in range(replicates)]
    low, high = torch.tensor(draws).quantile(torch.tensor([0.025, 0.975])).tolist()
    total = counts.sum((0, 1)).double()
    return MaskAgreement(Interval(miou(per_mask), low, high), float(total.diagonal().sum() / total.sum()))


def diversity(features: Tensor) -> float:
    """Return the mean distance between the features of samples of one mask, [S, M, D]; NaN for one sample each."""
    if len(features) < 2:
        return float("nan")
    distances = torch.cdist(features.transpose(0, 1).double(), features.transpose(0, 1).double())
    off_diagonal = ~torch.eye(len(features), dtype=torch.bool)
    return float(distances[:, off_diagonal].mean())
