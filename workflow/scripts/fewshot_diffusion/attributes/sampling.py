"""Drawing sample sets: the unguided pool, and one guided set per class, or share of one, and mode."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..config.attributes import DISTRIBUTION
from ..config.base import learned_as
from ..config.sampling import SamplingConfig
from ..diffusion.denoiser import Denoiser, load_denoiser
from ..diffusion.guidance import Guidance, Predictor, guided, unguided, within
from ..diffusion.samples import save_samples, write_timing
from ..diffusion.sampling import WorkUnit, draw_units, plan_units, share_units
from ..errors import WeightsError
from ..runtime import make_runtime
from ..storage.checkpoints import CheckpointFolder
from ..storage.files import fingerprint
from ..storage.weights import weights_digest
from .directions import directed, load_direction
from .guidance import Steering, attribute_guidance
from .heads import load_head


@dataclass(frozen=True)
class Share:
    """One job's share of a sample set.

    Attributes:
        first_seed: Seed of the first sample of the whole set.
        units: Work units of the whole set.
        shard: Which share of them, e.g. 2-of-4.
        checkpoints: Folder of finished work units.
        output: Shard to write, parquet; its seconds go beside it, ``.timing.json``.
    """

    first_seed: int
    units: int
    shard: str
    checkpoints: Path
    output: Path

    def plan(self, unit_size: int) -> list[WorkUnit]:
        """Return the work units of this share."""
        shard, shards = map(int, self.shard.split("-of-"))
        return share_units(plan_units(self.first_seed, self.units, unit_size), shard - 1, shards)


def sample_attributes(
    settings: SamplingConfig,
    denoiser: Path,
    steering: Steering,
    share: Share,
    head: Path | None = None,
    device: str = "auto",
) -> None:
    """Draw one shard of samples by DDIM, unguided or steered by what few shots teach; finished work units are kept.

    Args:
        settings: Section sampling, JSON.
        denoiser: Weights folder.
        steering: What the samples are steered towards.
        share: Which of them this job draws.
        head: Weights folder of the few-shot head or direction; unguided samples have none.
        device: auto, cpu, cuda or cuda:<n>.

    Raises:
        WeightsError: If the head is of another denoiser, mode or attribute.
    """
    runtime = make_runtime(device, settings.precision, settings.cpu_threads, compile=settings.compile)
    network = load_denoiser(denoiser, runtime)
    predict = make_predictor(network, steering, head, settings)
    draw_share(share, network, predict, settings, {**steering.about, "head": weights_digest(head) if head else None})


def draw_share(
    share: Share, denoiser: Denoiser, predict: Predictor, settings: SamplingConfig, steered: Mapping[str, Any]
) -> None:
    """Draw one shard of samples and write it, and beside it how long that took; finished work units are kept.

    Args:
        share: Which samples.
        denoiser: Frozen denoiser.
        predict: Its output, steered or not.
        settings: Section sampling.
        steered: What a file of samples says of what steered it.
    """
    about = {
        **steered,
        "denoiser": denoiser.digest,
        "settings": settings.model_dump(mode="json", exclude={"first_seed"}),
        "precision": str(denoiser.runtime.dtype),
    }
    units, checkpoints = share.plan(settings.unit_size), CheckpointFolder(share.checkpoints, fingerprint(about))
    samples, seconds = draw_units(units, lambda _: predict, denoiser, settings, checkpoints)
    save_samples(samples, share.output, about)
    write_timing(share.output.with_suffix(".timing.json"), seconds, len(samples.seeds))


def make_predictor(denoiser: Denoiser, steering: Steering, head: Path | None, settings: SamplingConfig) -> Predictor:
    """Return the plain denoiser, or the one that is steered within ``settings.guidance_interval``.

    Raises:
        WeightsError: If the head is missing, or of another denoiser, mode or attribute.
    """
    plain = unguided(denoiser)
    if steering.method == "unguided":
        return plain
    if head is None:
        mode = "exact" if steering.method == DISTRIBUTION else learned_as(steering.method)
        raise WeightsError(
            f"--head: found none, but {steering.method} is steered by one. Name its folder, "
            f"e.g. `--head results/DATA/attributes/heads/{mode}/{steering.attribute or 'ATTRIBUTE'}`."
        )
    interval = settings.guidance_interval
    if steering.method == "steering":
        return within(_pushed(denoiser, steering, head), plain, interval)
    guidance, prediction_type = _guidance(denoiser, steering, head), denoiser.schedule.prediction_type
    return guided(guidance, steering.guidance_scale, prediction_type, plain=plain, interval=interval)


def _pushed(denoiser: Denoiser, steering: Steering, head: Path) -> Predictor:
    expected = {"denoiser": denoiser.digest, "attribute": steering.attribute}
    direction = load_direction(head, expected).to(denoiser.device)
    return directed(denoiser, {direction: steering.guidance_scale * (1 if steering.value else -1)})


def _guidance(denoiser: Denoiser, steering: Steering, head: Path) -> Guidance:
    """Return the guidance by a head: in the method's own mode; of a share, in the mode that the head has."""
    expected = {"denoiser": denoiser.digest, "mode": learned_as(steering.method), "attribute": steering.attribute}
    if steering.method == DISTRIBUTION:
        del expected["mode"]
    loaded, learned = load_head(head, expected)
    mode = learned if steering.method == DISTRIBUTION else steering.method
    return attribute_guidance(mode, denoiser, loaded.to(denoiser.device), steering.value)
