"""Which products of a finished run are stored, and how DVC is told: one frozen stage that only names them.

Stored is what redrawing needs, down to the samples: every product of the plan, except what is large and quickly made
again. What is left out must have no job of the denoiser behind it (Snakemake runs all that depends on a job that runs):
pixels of the judge's, control and reference splits, and DDIM-I's classifiers, whose inputs are stored.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import yaml

from .records import StoreError

STAGE = "demo"


# Git has these: small, and what people look at. Their records are stored with the others.
COMMITTED = ("results/tables/*", "results/figures/*")


LEFT_OUT = (
    "results/*/images/train.*",
    "results/*/images/judge.*",
    "results/*/images/controls.safetensors",  # the records beside them are inputs of the evaluation
    "results/*/images/reference.safetensors",
    "results/*/image_classifier/*",
)


HEADER = "# Written by `make store`, which also says why `dvc repro` is never used: Snakemake makes, DVC stores.\n"


@dataclass(frozen=True, order=True)
class Planned:
    """One line of `snakemake --summary`: a product, its state, and whether its job would run."""

    path: str
    status: str
    plan: str


def read_summary(text: str) -> list[Planned]:
    """Read what `snakemake --summary` prints.

    Raises:
        StoreError: If it lists no product.
    """
    rows = [line.split("\t") for line in text.splitlines() if line.count("\t") >= 5]
    found = sorted(Planned(row[0], row[-2], row[-1]) for row in rows if row[0] != "output_file")
    if not found:
        raise StoreError("`snakemake --summary` lists no product. Run it by hand to see why.")
    return found


def chosen_products(planned: Sequence[Planned]) -> tuple[list[str], list[str]]:
    """Return the products that are stored or committed, and those that are left out.

    Raises:
        StoreError: If one of them is missing or stale.
    """
    left_out = [product.path for product in planned if _matches(product.path, LEFT_OUT)]
    chosen = [product for product in planned if product.path not in left_out]
    unready = [product for product in chosen if product.status != "ok" or product.plan != "no update"]
    if unready:
        first = unready[0]
        raise StoreError(
            f"{len(unready)} of {len(chosen)} products are missing or stale, first {first.path} ({first.status}, "
            f"{first.plan}). Run `snakemake --cores all`, then store again."
        )
    return [product.path for product in chosen], left_out


def is_committed(path: str) -> bool:
    """Whether git has a product; DVC has all others."""
    return _matches(path, COMMITTED)


def stage_text(products: Sequence[str], command: str) -> str:
    """Return ``dvc.yaml``: one frozen stage whose outputs are the products that git does not have."""
    stage = {
        "desc": "Sample shards, feature caches and what follows from them: enough to redraw every table and figure",
        "frozen": True,
        "cmd": command,
        "outs": [path for path in sorted(products) if not is_committed(path)],
    }
    return HEADER + yaml.safe_dump({"stages": {STAGE: stage}}, sort_keys=False, width=1000)


def _matches(path: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(path, pattern) for pattern in patterns)
