"""A page's miniature: two classes, two modes with a sweep, methods of other seeds, four masks; images differ."""

from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from attribute_helpers import BLOND, DARK
from fewshot_diffusion.config.attributes import TargetConfig
from fewshot_diffusion.data.image_set import ImageSet, save_image_set
from fewshot_diffusion.data.mask_set import MaskSet, save_masks
from fewshot_diffusion.diffusion.samples import SampleSet, save_samples
from fewshot_diffusion.explorer.attributes import AttributesShown
from fewshot_diffusion.explorer.masks import MasksShown
from fewshot_diffusion.metrics.descriptions import NO_COST, Description, save_description
from fewshot_diffusion.storage.tables import write_csv
from fewshot_diffusion.storage.tensors import pixel_digest, write_tensors
from support import ROOT

ODD = "</script><b onclick=\"alert('1')\">&amp;"
TARGETS = [BLOND, DARK.model_copy(update={"label": ODD})]
TEMPLATE = ROOT / "workflow/report/explorer.html"
SEEDS = 6
LEVELS = {"real": 0, "naive": 0, "unguided": 42, "exact": 84, "readout": 126}
BLONDNESS = torch.tensor([0.1, 0.9, 0.2, 0.8, 0.7, 0.4])
CLASSES = ["background", "skin", "hair"]


@dataclass(frozen=True)
class Miniature:
    """What a page is made of."""

    attributes: AttributesShown
    masks: MasksShown


def grey(first: int, number: int = SEEDS, size: int = 8) -> Tensor:
    """Images of one grey level each, so far apart that a lossy code keeps them: the first's, and every third above."""
    return (
        torch.arange(first, first + 3 * number, 3)
        .to(torch.uint8)
        .view(-1, 1, 1, 1)
        .expand(-1, 3, size, size)
        .contiguous()
    )


def described(method: str, turn: int = 0, first_seed: int = 0, offset: int = 0) -> Description:
    ids = torch.arange(SEEDS) + first_seed
    return Description(method, ids, {}, {"Blond": BLONDNESS.roll(turn)}, grey(LEVELS[method] + offset), NO_COST)


def write_attributes(folder: Path) -> AttributesShown:
    """Write descriptions and tables; of DDIM-I, which keeps what is blond, the gallery is the whole pool's."""
    save_description(described("real"), folder / "real/controls.safetensors")
    pool = described("unguided")
    for target in TARGETS:
        about = {"attribute": "Blond", "value": target.value}
        kept = replace(pool.select(pool.judged("Blond", target.value)), method="ddim_i")
        for found in (pool, kept, described("naive")):
            save_description(found, folder / found.method / f"{target.name}.safetensors", about)
        for turn, (mode, scale) in enumerate((("exact", 3.0), ("readout", 5.0))):
            guided = {**about, "guidance_scale": scale}
            save_description(described(mode, turn), folder / mode / f"{target.name}.safetensors", guided)
            for offset, swept in ((18, 1.0), (21, 10.0)):
                path = folder / "sweep" / mode / target.name / f"{swept:g}.safetensors"
                save_description(described(mode, 2, 100, offset), path, {**about, "guidance_scale": swept})
    return AttributesShown(
        targets=TARGETS,
        modes=["exact", "readout"],
        others=["naive", "ddim_i"],
        descriptions=folder,
        real=[folder / "real/controls.safetensors"] * 2,
        **write_tables(folder),
    )


def write_tables(folder: Path) -> dict[str, Path]:
    """Write a row of each class and method, and one of another data set that has the class, too."""
    methods = ["real", "naive", "unguided", "ddim_i", "exact", "readout"]
    shares = [share_row(target, method, i / 10) for target in TARGETS for i, method in enumerate(methods)]
    rows = [distance_row(target, method, 100.0 * i) for target in TARGETS for i, method in enumerate(methods[1:], 1)]
    rows.append({**distance_row(BLOND, "exact", 7.0), "data_set": "published", "metric": "fid"})
    write_csv(folder / "shares.csv", pd.DataFrame(shares))
    write_csv(folder / "table.csv", pd.DataFrame(rows))
    return {"table": folder / "table.csv", "shares": folder / "shares.csv"}


def share_row(target: TargetConfig, method: str, share: float) -> dict[str, object]:
    said = {"data_set": "mini", "attribute": target.label, "method": method, "judge_accuracy": share, "n": 6}
    return {**said, "ci_low": share - 0.05, "ci_high": share + 0.05, "judge_real": 0.7 if target == BLOND else 0.9}


def distance_row(target: TargetConfig, method: str, value: float) -> dict[str, object]:
    said = {"data_set": "mini", "attribute": target.label, "method": method, "metric": "fd_net", "value": value}
    return {**said, "ci_low": value - 1, "ci_high": value + 1, "floor": 5.5, "n": 6, "forwards_per_sample": 20.0}


def write_masks(folder: Path) -> MasksShown:
    """Write four masks, two samples of each by two methods, and what the judge finds: in exact's third, half of it."""
    masks = torch.randint(3, (4, 8, 8), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    ids = torch.tensor([30, 31, 32, 33])
    save_masks(MaskSet(masks, ids, CLASSES), folder / "masks.parquet", {})
    save_image_set(ImageSet(grey(201, 4), ids, pd.DataFrame(index=range(4))), folder / "real.parquet", {})
    paths: dict[str, list[Path]] = {"samples": [], "found": []}
    for method, pairs, level in (("unguided", 0, 150), ("exact", 20, 174)):
        about = {"method": method, "preset": "main", "shots": pairs, "masks": pixel_digest(masks)}
        found = masks.repeat(2, 1, 1)
        if method == "exact":
            found[2, :4] = (found[2, :4] + 1) % 3
        paths["samples"].append(folder / f"{method}.parquet")
        paths["found"].append(folder / f"{method}.safetensors")
        save_samples(SampleSet(grey(level, 8), torch.arange(8), 1.0), paths["samples"][-1], about)
        write_tensors(paths["found"][-1], {"masks": found, "seeds": torch.arange(8)}, about)
    rows = [mask_row(method, preset, pairs) for method, pairs in (("unguided", 0), ("exact", 20), ("exact", 5))
            for preset in ("main", "other")]  # fmt: skip
    write_csv(folder / "masks.csv", pd.DataFrame(rows))
    return MasksShown(
        followers=["unguided", "exact"],
        pairs=[0, 20],
        preset="main",
        wanted=4,
        masks=folder / "masks.parquet",
        masks_table=folder / "masks.csv",
        masks_real=folder / "real.parquet",
        **paths,
    )


def mask_row(method: str, preset: str, pairs: int) -> dict[str, object]:
    said = {"method": method, "preset": preset, "shots": pairs, "guidance_scale": 25.0, "n": 8, "pixel_accuracy": 0.9}
    miou = 0.5 + pairs / 100 + (preset == "other") / 1000
    cost = {"forwards_per_sample": 20.0, "miou_real": 0.4}
    return {**said, "miou": miou, "ci_low": miou - 0.01, "ci_high": miou + 0.01, **cost}


def write_miniature(folder: Path) -> Miniature:
    return Miniature(write_attributes(folder / "attributes"), write_masks(folder / "masks"))


def with_sweep(shown: AttributesShown) -> AttributesShown:
    return replace(shown, swept=shown.descriptions / "sweep", scales=["exact=1,10", "readout=1,10"])
