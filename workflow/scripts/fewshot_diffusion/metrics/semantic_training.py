"""Training of the network that names every option of the avatars, and how often it is right."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional as F

from ..config.supervised import SupervisedConfig
from ..data.image_set import iter_image_set, load_image_set
from ..data.option_set import OptionSet, load_options
from ..errors import DataError
from ..runtime import Runtime, make_runtime
from ..storage.rows import Rows
from ..storage.tables import write_csv
from ..storage.tensors import pixel_digest
from ..storage.weights import save_module
from ..supervised import augment, fit
from .intervals import wilson_interval
from .semantic import SemanticNetwork, load_semantic_network


def options_loss(logits: Tensor, labels: Tensor, sizes: Sequence[int]) -> Tensor:
    """Return the mean over options of the cross-entropy of their values.

    Args:
        logits: [B, K1 + K2 + ...].
        labels: Positions of the true values, int64 [B, O].
        sizes: K1, K2, ...: how many values each of the O options has.
    """
    parts = zip(logits.split(list(sizes), dim=1), labels.T, strict=True)
    return torch.stack([F.cross_entropy(part, label) for part, label in parts]).mean()


def fit_semantic_network(
    images: Rows, options: OptionSet, ids: Tensor, settings: SupervisedConfig, runtime: Runtime
) -> SemanticNetwork:
    """Train a network by the judges' recipe; mirrored, an avatar has the same options.

    Args:
        images: uint8 [N, 3, H, W], 0..255.
        options: Theirs.
        ids: Of the images, int64 [N].
        settings: Recipe.
        runtime: Device and precision.

    Raises:
        DataError: If the options are of other images.
    """
    labels = options.labels_of(ids)
    torch.manual_seed(settings.seed)
    network = SemanticNetwork(dict(options.values))

    def loss_of(logits: Tensor, wanted: Tensor) -> Tensor:
        return options_loss(logits, wanted, network.sizes)

    fit(network, (images, labels), loss_of, _augmented, settings, runtime)
    return network


def _augmented(images: Tensor, labels: Tensor, stream: torch.Generator) -> tuple[Tensor, Tensor]:
    return augment(images, stream), labels


def train_semantic_network(
    settings: SupervisedConfig, images: Path, options: Path, output: Path, device: str = "auto"
) -> None:
    """Train the network behind the extractor ``semantic`` on a split that nothing is steered or tuned by.

    Args:
        settings: Section semantic, JSON.
        images: Split, parquet.
        options: What the generator picked for it, parquet.
        output: Weights folder to write, float16.
        device: auto, cpu, cuda or cuda:<n>.
    """
    runtime = make_runtime(device, settings.precision, cpu_threads=1)
    split = load_image_set(images)
    network = fit_semantic_network(split.images, load_options(options), split.ids, settings, runtime)
    recipe = settings.model_dump(mode="json")
    about = {"role": "semantic", "recipe": recipe, "images": pixel_digest(split.images)}
    save_module(network.half(), network.config, output, about)


def judge_semantic_network(
    data_set: str, weights: Path, images: Path, options: Path, output: Path, device: str = "auto"
) -> None:
    """Write how often the network names each option as it was drawn, on images that it has not seen.

    Args:
        data_set: First column of the table.
        weights: Weights folder.
        images: Held-out split, parquet.
        options: What the generator picked for it, parquet.
        output: Table to write, CSV.
        device: auto, cpu, cuda or cuda:<n>.

    Raises:
        DataError: If the options are of other images, or others than those that the network knows.
    """
    runtime = make_runtime(device, "float32", cpu_threads=1)
    network = load_semantic_network(weights).to(runtime.device)
    truth = load_options(options)
    if truth.values != network.options:
        raise DataError(f"{options}: found other options or values than {weights} was trained to name; train it anew.")
    ids, named = [], []
    with torch.inference_mode():
        for part in iter_image_set(images):
            ids.append(part.ids)
            named.append(network.named(part.pixels.to(runtime.device)).cpu())
    table = semantic_table(network.options, torch.cat(named), truth.labels_of(torch.cat(ids)))
    table.insert(0, "data_set", data_set)
    write_csv(output, table)


def semantic_table(options: dict[str, list[str]], named: Tensor, labels: Tensor) -> pd.DataFrame:
    """Return one row per option: its accuracy with 95 % Wilson interval, and the share of its commonest value.

    Args:
        options: Option -> values.
        named: Positions of the values that were named, int64 [N, O].
        labels: Of those that were drawn, int64 [N, O].
    """
    rows = []
    for (option, values), found, true in zip(options.items(), named.T, labels.T, strict=True):
        right = wilson_interval(int((found == true).sum()), len(true))
        chance = int(true.bincount().max()) / len(true)
        accuracy = {"accuracy": right.value, "ci_low": right.low, "ci_high": right.high}
        rows.append({"option": option, "n_values": len(values), **accuracy, "chance": chance, "n": len(true)})
    return pd.DataFrame(rows)
