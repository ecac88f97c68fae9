"""Precision, recall, density and coverage: what nearest neighbours among features say of fidelity and of diversity."""

from contextlib import redirect_stdout
from math import inf, nan

import torch
from torch import Tensor

from ..errors import MetricError
from .checks import checked_features
from .intervals import Bootstrapped, jackknife_interval

LIMITS = {"precision": 1.0, "recall": 1.0, "density": inf, "coverage": 1.0}
"""Name of each metric -> the largest value that it can have; the least is 0."""

GROUPS = 20  # of generated images, of which each is left out once


def neighbour_metrics(features: Tensor, reference: Tensor, nearest_k: int) -> dict[str, float]:
    """Return precision, recall, density and coverage.

    B(x) is the open ball around x whose radius is the distance to its nearest_k-th neighbour of its own set.

    precision = mean_j 1[a_j in B(r_i) for an i]        recall = mean_i 1[r_i in B(a_j) for a j]
    density = mean_j sum_i 1[a_j in B(r_i)] / nearest_k    coverage = mean_i 1[a_j in B(r_i) for a j]

    Recall and coverage depend on how many generated images there are, and all on the reference: compare them with those
    of as many real images.
    The largest of the arrays holds n x n or n x m numbers, as those of the kernel distance do.

    Args:
        features: Features a of the generated images, [n, D].
        reference: Features r of the real images, [m, D].
        nearest_k: Which neighbour, at least 1.

    Returns:
        Name -> number, as in ``LIMITS``.

    Raises:
        MetricError: If n or m < nearest_k + 2, the dimensions differ or a feature is not finite.

    Source: Kynkaanniemi et al. 2019, section 2 (precision, recall); Naeem et al. 2020, arXiv:2002.09797, section 3.
    """
    import joblib  # scikit-learn, which takes a second
    import prdc

    real = checked_features(reference)
    generated = checked_features(features, real.shape[1])
    for what, rows in (("reference", real), ("generated", generated)):
        if len(rows) < nearest_k + 2:
            raise MetricError(
                f"Neighbours: found {len(rows)} {what} image(s), expected at least {nearest_k + 2}, two more than "
                f"evaluation.nearest_k; have more images, or lower it (null leaves these metrics out)."
            )
    # The package prints, and asks for eight threads.
    with redirect_stdout(None), joblib.parallel_config(backend="sequential"):
        found = prdc.compute_prdc(real.numpy(), generated.numpy(), nearest_k)
    return {name: float(found[name]) for name in LIMITS}


def jackknife_neighbours(features: Tensor, reference: Tensor, nearest_k: int) -> dict[str, Bootstrapped]:
    """Return precision, recall, density and coverage, each with a 95 % interval over the generated images.

    A resample with replacement repeats images, and an image whose copy is its nearest neighbour has a ball without
    extent. So no image is repeated: image i is of group i modulo 20, and each group (each image, of fewer) is left out
    in turn. The reference is held fixed, as in the interval of every distance. A jackknife's variance is on average too
    large rather than too small: the interval of recall, whose balls all change, is up to twice as wide as need be.
    Where leaving out changes nothing, as at a share of 0 or 1, it has no width.

    Args:
        features: Features of the generated images, [n, D].
        reference: Features of the real images, [m, D].
        nearest_k: Which neighbour, at least 1.

    Returns:
        Name -> number with its interval; NaN where so few images have no neighbours when a group is left out.

    Raises:
        MetricError: As ``neighbour_metrics`` does for the reference and for what is not finite.

    Source: Kott 2001, "The delete-a-group jackknife"; Efron & Stein 1981, "The jackknife estimate of variance".
    """
    n, groups = len(features), min(GROUPS, len(features))
    if n < 2 or n - -(-n // groups) < nearest_k + 2:
        return dict.fromkeys(LIMITS, Bootstrapped(nan, nan, nan))
    value, group = neighbour_metrics(features, reference, nearest_k), torch.arange(n) % groups
    left_out = [neighbour_metrics(features[group != g], reference, nearest_k) for g in range(groups)]
    return {
        name: jackknife_interval(value[name], [one[name] for one in left_out], most) for name, most in LIMITS.items()
    }
