"""What generative baselines are worth before any label: unconditional distances; and what their classifiers know."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from ...baselines.sampling import BaselineWeights
from ...baselines.training import over_images
from ...config.attributes import AttributeHeadConfig
from ...config.evaluation import EvaluationConfig
from ...data.image_set import load_image_set
from ...diffusion.samples import seed_range
from ...metrics.descriptions import Description, load_description
from ...metrics.intervals import Interval
from ...metrics.measures import prepare_measures
from ...metrics.notes import few_note
from ...progress import Progress
from ...runtime import make_runtime
from ...storage.tables import read_csv, write_csv
from ..evaluation import balanced_accuracy
from .latents import load_classifier

BASELINE_COLUMNS = [
    "data_set", "method", "attribute", "metric", "value", "ci_low", "ci_high", "floor", "n", "seeds",
    "forwards_per_sample", "seconds_per_sample", "training_images", "kind", "note",
]  # fmt: skip

ACCURACY = "classifier_accuracy"
"""Balanced, of the linear classifier of latents, on real images that neither it nor the model has seen, 0..1."""


@dataclass(frozen=True)
class Models:
    """Generative models that are compared before any label.

    Attributes:
        descriptions: Unconditional samples of each, safetensors: the unguided pool, then the baselines.
        training_images: Images that each of them saw in training; 0: nobody knows.
        scores: CSV of each classifier of latents.
        reference: Description of the split reference.
        controls: Description of the split controls: the floor of every distance.
    """

    descriptions: list[Path]
    training_images: list[int]
    scores: list[Path]
    reference: Path
    controls: Path


def score_baseline_classifier(
    settings: AttributeHeadConfig,
    files: BaselineWeights,
    classifier: Path,
    images: Path,
    output: Path,
    device: str = "auto",
) -> None:
    """Measure a linear classifier of latents on real images of a split.

    Args:
        settings: Section attributes.head, JSON.
        files: The baseline.
        classifier: Weights folder of the classifier.
        images: Images of the split, parquet.
        output: CSV to write, one row: method, attribute, metric, value, n.
        device: auto, cpu, cuda or cuda:<n>.

    Raises:
        WeightsError: If the classifier is of another baseline.
        DataError: If the images have no such attribute.
    """
    runtime = make_runtime(device, settings.precision, cpu_threads=1, feature_batch=settings.feature_batch)
    real, model = load_image_set(images), load_classifier(classifier, {"baseline": files.baseline})
    latents = over_images(files.load(runtime).encode, real.images, runtime)
    found = model.probability(latents, True) > 0.5
    accuracy = balanced_accuracy(found, real.mask(model.attribute, True))
    about = {"method": files.baseline, "attribute": model.attribute, "metric": ACCURACY}
    write_csv(output, pd.DataFrame([{**about, "value": accuracy, "n": len(real)}]))


def evaluate_baselines(settings: EvaluationConfig, data_set: str, kind: str, files: Models, output: Path) -> None:
    """Compare unconditional samples with all real images, and add what the classifiers of latents know.

    Args:
        settings: Section evaluation, JSON.
        data_set: Name of the data set.
        kind: What the rows are: reproduced or scaled-down.
        files: Where the models' samples, and real images, are described.
        output: CSV to write: a row per method and metric, and one per classifier.
    """
    found = [load_description(path) for path in files.descriptions]
    real, held_out = (load_description(path, {"method": "real"}) for path in (files.reference, files.controls))
    parts = [unconditional_rows(found, real, held_out, settings)]
    parts += [read_csv(path, "method", "attribute", "metric", "value", "n") for path in files.scores]
    seen = {one.method: n for one, n in zip(found, files.training_images, strict=True) if n}
    table = pd.concat(parts, ignore_index=True)
    table = table.assign(data_set=data_set, kind=kind, training_images=table["method"].map(seen).astype("Int64"))
    write_csv(output, table.reindex(columns=BASELINE_COLUMNS))


def unconditional_rows(
    found: Sequence[Description], real: Description, held_out: Description, settings: EvaluationConfig
) -> pd.DataFrame:
    """Return every metric of each model's first samples as they come, against all real images."""
    rows: list[dict[str, Any]] = []
    for extractor, reference in Progress(list(real.features.items()), desc="extractors", unit="extractor"):
        measured = prepare_measures(reference, extractor, settings)
        chosen = [one.first(settings.samples) for one in found]
        values = [measured(one.features[extractor]) for one in chosen]
        floors = {n: measured(held_out.first(n).features[extractor]) for n in {len(one) for one in chosen}}
        for name in values[0]:
            for one, value in zip(chosen, values, strict=True):
                about = {"method": one.method, "metric": name, "floor": floors[len(one)][name].value}
                rows.append({**about, **_interval(value[name]), **_said(one, settings)})
    return pd.DataFrame(rows)


def _interval(found: Interval) -> dict[str, float]:
    return {"value": found.value, "ci_low": found.low, "ci_high": found.high}


def _said(chosen: Description, settings: EvaluationConfig) -> dict[str, object]:
    return {
        "n": len(chosen),
        "seeds": seed_range(chosen.ids),
        "forwards_per_sample": chosen.cost.forwards_per_sample,
        "seconds_per_sample": chosen.cost.seconds_per_sample,
        "note": few_note(len(chosen), settings.samples),
    }
