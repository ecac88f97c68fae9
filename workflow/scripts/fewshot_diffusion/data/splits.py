"""Which split an image is in: its name decides, whatever other images there are.

Every split draws a number from each name; the one whose number is best, weighted by its share, takes the image
(weighted rendezvous hashing). So a split's part of the source is its share, no image is in two, one image more moves no
other between splits, and a split that grows, comes or goes exchanges images with the others alone.
"""

import math
from collections.abc import Mapping

from ..config.splits import SharesConfig
from .index import Row, SourceIndex, hash_of


def share_out(index: SourceIndex, settings: SharesConfig) -> dict[str, list[Row]]:
    """Return the images of every split, in the order of their hashed names.

    Images that no denoiser may see are never in ``train``, unlabelled ones nowhere else. Where the source keeps a part
    for tests, ``class_test`` is of it, and all others are of the rest. Splits that are ``whole`` hold all labelled
    ones, whatever other splits hold them: they are described, never learned from.
    """
    found: dict[str, list[Row]] = {split: [] for split in settings.shares}
    keeps_tests = index.keeps_tests
    for row in index.rows:
        allowed = {name: share for name, share in settings.shares.items() if _may_hold(name, row, keeps_tests)}
        if allowed:
            found[_best(row.name, allowed)].append(row)
    shared = {split: sorted(rows, key=lambda row: row.id)[: settings.most.get(split)] for split, rows in found.items()}
    everything = sorted((row for row in index.rows if row.labelled), key=lambda row: row.id)
    return shared | dict.fromkeys(settings.whole, everything)


def _may_hold(split: str, row: Row, keeps_tests: bool) -> bool:
    if row.splits:
        if split not in row.splits:
            return False
    elif keeps_tests and (split == "class_test") != (row.part == "val"):
        return False
    return not row.held_out if split == "train" else row.labelled


def _best(name: str, shares: Mapping[str, float]) -> str:
    return max(shares, key=lambda split: math.log((hash_of(name, split) + 1) / 2**63) / shares[split])
