"""Experiment 1 on the page: real, unguided and guided images of a class, and what the judge says of each."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from ..attributes.figures import TITLES
from ..config.attributes import TargetConfig
from ..metrics.descriptions import Description, load_description
from ..metrics.measures import main_metrics, metric_of
from ..metrics.notes import judge_note
from ..storage.tables import read_csv
from .parts import NOTHING, Json, Pictures, number, percent, table, with_interval

STRIP = 8
"""Images of each method whose seeds are its own, at most."""


@dataclass(frozen=True, kw_only=True)
class AttributesShown:
    """What the page shows of experiment 1; without classes and modes, nothing.

    Attributes:
        targets: Classes, JSON each.
        modes: Methods that steer, in order: their samples have the seeds of unguided ones.
        others: Methods whose samples have seeds of their own, in order.
        descriptions: Folder: <method>/<class>.safetensors.
        real: Description of real images of each class; none, if they may not be shown.
        table: The distances, CSV.
        shares: The judge's shares, CSV.
        swept: Folder of the sweep: <mode>/<class>/<lambda>.safetensors, by the judge that tunes; without it, no sweep.
        scales: Candidates of each mode, in its order: ``exact=3,10,30``.
    """

    targets: list[TargetConfig] = field(default_factory=list)
    modes: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    descriptions: Path = Path()
    real: list[Path] = field(default_factory=list)
    table: Path = Path()
    shares: Path = Path()
    swept: Path | None = None
    scales: list[str] = field(default_factory=list)

    @property
    def steered(self) -> bool:
        """Whether there is a class that some mode steers: unguided samples alone are beside nothing."""
        return bool(self.targets and self.modes)

    def load(self, method: str, target: TargetConfig) -> Description:
        """Return a method's images that stand for a class.

        Raises:
            CorruptFileError: If the file is damaged, or of another method, class or guidance_scale.
        """
        expected = {"method": method, "attribute": target.attribute, "value": target.value}
        if method in self.modes:
            expected["guidance_scale"] = getattr(target.guidance_scale, method)
        return load_description(self.descriptions / method / f"{target.name}.safetensors", expected)

    def load_swept(self, mode: str, target: TargetConfig) -> list[tuple[str, Description]]:
        """Return the sweep's images of a class: lambda, as it stands in paths, and what was found at it.

        Raises:
            CorruptFileError: If a file is damaged, or of another mode, class or guidance_scale.
        """
        if self.swept is None:
            return []
        candidates = dict(words.split("=") for words in self.scales)
        found = []
        for scale in candidates[mode].split(","):
            expected = {"method": mode, "attribute": target.attribute, "value": target.value}
            path = self.swept / mode / target.name / f"{scale}.safetensors"
            found.append((scale, load_description(path, {**expected, "guidance_scale": float(scale)})))
        return found


def attributes_data(shown: AttributesShown, data_set: str, pictures: Pictures, limit: int) -> Json:
    """Return what the page says of experiment 1.

    Args:
        data_set: Name of the data set: tables hold rows of others, too, the paper's.
        shown: What there is.
        pictures: Takes the images.
        limit: Seeds of each class and method, at most.

    Raises:
        CorruptFileError: If a file is damaged, or another than it should be.
    """
    of_row = ("data_set", "attribute", "method", "ci_low", "ci_high", "n")
    distances = read_csv(shown.table, *of_row, "metric", "value", "floor", "forwards_per_sample")
    shares = read_csv(shown.shares, *of_row, "judge_accuracy", "judge_real")
    distances, shares = distances[distances["data_set"] == data_set], shares[shares["data_set"] == data_set]
    classes = []
    for position, target in enumerate(shown.targets):
        rows = distances[distances["attribute"] == target.label], shares[shares["attribute"] == target.label]
        images = _images_of(shown, target, pictures, limit)
        real = _real(shown.real[position], target, pictures, limit) if shown.real else None
        said = {"name": target.name, "label": target.label, "note": _note(rows[1]), "table": _table(*rows)}
        classes.append({**said, **images, "real": real})
    titles = {name: TITLES.get(name, name) for name in ("unguided", *shown.modes, *shown.others)}
    return {"modes": shown.modes, "titles": titles, "classes": classes}


def _images_of(shown: AttributesShown, target: TargetConfig, pictures: Pictures, limit: int) -> Json:
    pool = shown.load("unguided", target)
    guided = {}
    for mode in shown.modes:
        configured = f"{getattr(target.guidance_scale, mode):g}", shown.load(mode, target)
        guided[mode] = [
            {"scale": scale, "swept": position > 0, **_image_set(described, target, pictures, limit)}
            for position, (scale, described) in enumerate([configured, *shown.load_swept(mode, target)])
        ]
    others = {}
    for method in shown.others:
        others[method] = _image_set(in_gallery(shown.load(method, target), pool), target, pictures, min(STRIP, limit))
    return {"unguided": _image_set(pool, target, pictures, limit), "guided": guided, "others": others}


def in_gallery(described: Description, pool: Description) -> Description:
    """Return those images of a set that its gallery shows, in that order, each beside its id and judgement.

    A gallery is that of all images from which a method chose: one that keeps some of the unguided pool has the pool's,
    rejected ones among them.

    Args:
        described: The set.
        pool: The unguided pool.
    """
    if not torch.equal(described.gallery, pool.gallery):
        return described.first(len(described.gallery))
    shown = pool.ids[: len(pool.gallery)]
    kept, found = torch.isin(shown, described.ids), torch.isin(described.ids, shown)
    chosen = described.select(found)
    return Description(
        chosen.method, chosen.ids, chosen.features, chosen.probabilities, pool.gallery[kept], chosen.cost
    )


def _image_set(described: Description, target: TargetConfig, pictures: Pictures, limit: int) -> Json:
    """Return the first images of a set, their seeds, and the judge's word on each."""
    return _judged(described, torch.arange(min(limit, len(described.gallery), len(described))), target, pictures)


def _real(path: Path, target: TargetConfig, pictures: Pictures, limit: int) -> Json:
    """Return real images that the judge takes for the class: labels are not part of a description."""
    described = load_description(path, {"method": "real"})
    agrees = described.judged(target.attribute, target.value)[: len(described.gallery)]
    return _judged(described, agrees.nonzero().flatten()[:limit], target, pictures)


def _judged(described: Description, index: Tensor, target: TargetConfig, pictures: Pictures) -> Json:
    probability = described.probabilities[target.attribute][index].double()
    return {
        "seeds": described.ids[index].tolist(),
        "images": pictures.add(described.gallery[index]),
        "agrees": described.judged(target.attribute, target.value)[index].tolist(),
        "p": [round(p, 3) for p in (probability if target.value else 1 - probability).tolist()],
    }


def _note(shares: pd.DataFrame) -> str:
    return judge_note(shares["judge_real"].iloc[0]) if len(shares) else ""


def _table(distances: pd.DataFrame, shares: pd.DataFrame) -> Json:
    """Return a row of each method of one class, real images' first: the judge's share, distances, n and cost."""
    metrics = main_metrics(distances["metric"])
    columns = ["judge finds the class, %", *metrics, "n", "forward passes a sample"]
    floors = [_floor(distances[distances["metric"] == metric]) for metric in metrics]
    rows = []
    for _, share in shares.iterrows():
        found = {row["metric"]: row for _, row in distances[distances["method"] == share["method"]].iterrows()}
        cells = floors if share["method"] == "real" else [_distance(found, metric) for metric in metrics]
        cost = number(next((row["forwards_per_sample"] for row in found.values()), None), 1)
        rows.append((share["method"], [percent(share, "judge_accuracy"), *cells, number(share["n"]), cost]))
    return table(columns, rows)


def _floor(rows: pd.DataFrame) -> str:
    """Return a metric of held-out real images, as many as most methods have."""
    return number(rows["floor"].iloc[0], metric_of(rows["metric"].iloc[0]).digits)


def _distance(rows: "Mapping[str, pd.Series[Any]]", metric: str) -> str:
    return with_interval(rows[metric], "value", metric_of(metric).digits) if metric in rows else NOTHING
