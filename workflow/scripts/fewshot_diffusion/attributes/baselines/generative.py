"""Generative baselines in the table: of the prior's latents, only those that are kept for a class are decoded."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ...baselines.sampling import BaselineFiles, Latents, decode_forwards, decode_units, load_latents
from ...config.evaluation import EvaluationConfig
from ...config.sampling import SamplingConfig
from ...data.image_set import BATCH
from ...diffusion.samples import SampleSet, load_samples, save_samples, seconds_per_sample, write_timing
from ...diffusion.sampling import WorkUnit, share_units
from ...judges import load_judge
from ...metrics.descriptions import Cost, Description, describe, describe_into
from ...metrics.extractors import make_extractor
from ...runtime import make_runtime
from ...storage.checkpoints import CheckpointFolder
from ...storage.files import About, fingerprint
from ...storage.records import count_records, read_records
from ...storage.tensors import tensor_digest
from ...storage.weights import weights_digest
from .decisions import accepted_seeds
from .latents import Wanted


@dataclass(frozen=True)
class Candidates:
    """Latents that samples are chosen from.

    Attributes:
        latents: Latents of the prior, safetensors; what their drawing took lies beside them.
        decisions: Which of them are of the class, parquet; without it, all stand for themselves.
        number: How many of those are decoded, the first ones.
    """

    latents: Path
    number: int
    decisions: Path | None = None

    def chosen(self, baseline: str, about: About) -> tuple[Latents, float]:
        """Return the latents that are decoded, and the share of the candidates that is accepted.

        Raises:
            CorruptFileError: If a file is damaged, or of another baseline or class.
        """
        drawn, rate = load_latents(self.latents, {"baseline": baseline}), 1.0
        kept = drawn.seeds
        if self.decisions:
            kept, rate = accepted_seeds(self.decisions, about)
        index = torch.isin(drawn.seeds, kept[: self.number])
        return Latents(drawn.values[index], drawn.seeds[index], drawn.forwards_per_sample), rate


@dataclass(frozen=True)
class Portion:
    """One job's share of the images of a sample set.

    Attributes:
        shard: Which share of its work units, e.g. 2-of-4.
        checkpoints: Folder of finished work units.
        output: Shard to write, parquet; its seconds go beside it, ``.timing.json``.
    """

    shard: str
    checkpoints: Path
    output: Path

    def plan(self, number: int, unit_size: int) -> list[WorkUnit]:
        """Return the work units of this share of so many images: their seeds are positions."""
        starts = range(0, number, unit_size)
        units = [WorkUnit(i, range(start, min(start + unit_size, number))) for i, start in enumerate(starts)]
        shard, shards = map(int, self.shard.split("-of-"))
        return share_units(units, shard - 1, shards)


@dataclass(frozen=True)
class Drawn:
    """A sample set that is described.

    Attributes:
        samples: Its shards; the timing of each lies beside it.
        image_size: Height and width of the images, pixels: none may be there to tell.
        judge: Weights folder; without it, features alone.
    """

    samples: list[Path]
    image_size: int
    judge: Path | None = None

    def load(self, about: About) -> SampleSet:
        """Return the samples; none where no latent was accepted: that is a result, too.

        Raises:
            CorruptFileError: If a shard is damaged, or of other samples.
        """
        if any(count_records(path) for path in self.samples):
            return load_samples(self.samples, about)
        _, said = read_records(self.samples[0], "seed", expected=about)
        none = torch.empty(0, 3, self.image_size, self.image_size, dtype=torch.uint8)
        return SampleSet(none, torch.empty(0, dtype=torch.int64), float(said["forwards_per_sample"]))


def sample_baseline(
    settings: SamplingConfig,
    wanted: Wanted,
    files: BaselineFiles,
    candidates: Candidates,
    portion: Portion,
    device: str = "auto",
) -> None:
    """Decode one shard of the latents that stand for a class, or of all; finished work units are kept.

    Args:
        settings: Section sampling, JSON.
        wanted: What they stand for.
        files: The model.
        candidates: Latents, and which of them are kept.
        portion: Which of them this job decodes.
        device: auto, cpu, cuda or cuda:<n>.
    """
    runtime = make_runtime(device, settings.precision, settings.cpu_threads)
    model, denoiser = files.load(wanted.baseline, runtime)
    latents, rate = candidates.chosen(wanted.baseline, wanted.about)
    about = {
        **wanted.about,
        "weights": weights_digest(files.weights),
        "latents": tensor_digest({"latents": latents.values, "seeds": latents.seeds}),
        "settings": settings.model_dump(mode="json", exclude={"first_seed"}),
        "precision": str(runtime.dtype),
    }
    units = portion.plan(len(latents.seeds), settings.unit_size)
    checkpoints = CheckpointFolder(portion.checkpoints, fingerprint(about))
    images, seconds = decode_units(latents, units, model, settings, runtime, checkpoints)
    positions = torch.tensor([position for unit in units for position in unit.seeds], dtype=torch.int64)
    # Of each candidate: all are drawn, the accepted ones decoded.
    forwards = latents.forwards_per_sample + rate * decode_forwards(model, denoiser, settings, runtime)
    save_samples(SampleSet(images, latents.seeds[positions], forwards), portion.output, about)
    write_timing(portion.output.with_suffix(".timing.json"), seconds, len(positions))


def describe_baseline(
    settings: EvaluationConfig,
    wanted: Wanted,
    candidates: Candidates,
    drawn: Drawn,
    output: Path,
    device: str = "auto",
) -> None:
    """Describe a baseline's samples: features of every extractor, the judge's opinion, and what they cost.

    Args:
        settings: Section evaluation, JSON.
        wanted: What the samples must stand for.
        candidates: Latents that they were chosen from, and which were kept.
        drawn: The samples, and who judges them.
        output: Description to write, safetensors.
        device: auto, cpu, cuda or cuda:<n>.

    Raises:
        CorruptFileError: If a file is damaged, or of other samples.
    """
    runtime = make_runtime(device, "float32", cpu_threads=1, feature_batch=settings.feature_batch)
    found = drawn.load(wanted.about)
    network = load_judge(drawn.judge, "judge").to(runtime.device) if drawn.judge else None
    extractors = [make_extractor(extractor, runtime) for extractor in settings.extractors]
    cost = candidate_cost(found, candidates, drawn.samples, wanted)

    def describe_part(images: Tensor, seeds: Tensor) -> Description:
        return describe(images, seeds, wanted.baseline, extractors, network, cost)

    parts = zip(found.images.split(BATCH), found.seeds.split(BATCH), strict=True)
    describe_into(output, parts, len(found.seeds), describe_part, wanted.about)


def candidate_cost(drawn: SampleSet, candidates: Candidates, samples: list[Path], wanted: Wanted) -> Cost:
    """Return what a candidate cost: its latent was drawn, and with the share that was accepted, decoded."""
    _, rate = candidates.chosen(wanted.baseline, wanted.about)
    decoding = seconds_per_sample([path.with_suffix(".timing.json") for path in samples]) if len(drawn.seeds) else 0.0
    drawing = seconds_per_sample([candidates.latents.with_suffix(".timing.json")])
    return Cost(drawn.forwards_per_sample, drawing + rate * decoding, rate)
