"""Described images that stand for a class: the samples of one method, or a selection of images described before."""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from ..config.evaluation import EvaluationConfig
from ..data.image_set import BATCH
from ..diffusion.samples import load_samples, seconds_per_sample
from ..errors import DataError
from ..judges import load_judge
from ..metrics.descriptions import Cost, Description, describe, describe_into, load_description, save_description
from ..metrics.extractors import make_extractor
from ..runtime import make_runtime
from .baselines.ddim_i import METHOD as DDIM_I
from .baselines.decisions import accepted_seeds
from .guidance import Steering


@dataclass(frozen=True)
class Standing:
    """By which method images stand for which class.

    Attributes:
        method: Name of the method, as in the configuration.
        attribute: Wanted attribute.
        value: Wanted value: True or False.
    """

    method: str
    attribute: str
    value: bool


def describe_samples(
    settings: EvaluationConfig,
    steering: Steering,
    samples: list[Path],
    judge: Path,
    output: Path,
    device: str = "auto",
) -> None:
    """Describe a sample set: features of every extractor, the judge's opinion, and what it cost.

    Args:
        settings: Section evaluation, JSON.
        steering: What the samples must be steered towards.
        samples: Shards of the set; the timing of each lies beside it.
        judge: Weights folder.
        output: Description to write, safetensors.
        device: auto, cpu, cuda or cuda:<n>.

    Raises:
        CorruptFileError: If a shard is damaged, or of other samples.
    """
    runtime = make_runtime(device, "float32", cpu_threads=1, feature_batch=settings.feature_batch)
    drawn = load_samples(samples, steering.about)
    network = load_judge(judge, "judge").to(runtime.device)
    extractors = [make_extractor(extractor, runtime) for extractor in settings.extractors]
    seconds = seconds_per_sample([path.with_suffix(".timing.json") for path in samples])
    cost = Cost(drawn.forwards_per_sample, seconds)

    def describe_part(images: Tensor, seeds: Tensor) -> Description:
        return describe(images, seeds, steering.method, extractors, network, cost)

    parts = zip(drawn.images.split(BATCH), drawn.seeds.split(BATCH), strict=True)
    describe_into(output, parts, len(drawn.seeds), describe_part, steering.about)


def select_images(
    source: Path, source_method: str, standing: Standing, output: Path, decisions: Path | None = None
) -> None:
    """Let images that are described already stand for a class: all of them, or those that a filter accepted.

    Args:
        source: Their description, safetensors.
        source_method: What made them: real or unguided.
        standing: What they stand for.
        output: Description to write, safetensors.
        decisions: Which of them the method keeps, parquet; without it, all.

    Raises:
        CorruptFileError: If a file is damaged, or of another method or class.
        DataError: If a method that decides comes without its decisions.
    """
    if decisions is None and standing.method == DDIM_I:
        raise DataError(f"--decisions: found none, but {DDIM_I} keeps what it decided. Name the file.")
    described = load_description(source, {"method": source_method})
    if decisions:
        kept, acceptance_rate = accepted_seeds(decisions, vars(standing))
        cost = replace(described.cost, acceptance_rate=acceptance_rate)
        described = replace(described.select(torch.isin(described.ids, kept)), cost=cost)
    save_description(replace(described, method=standing.method), output, vars(standing))
