"""Drawing samples that follow masks."""

from dataclasses import dataclass
from pathlib import Path

from ..config.sampling import SamplingConfig
from ..data.mask_set import load_masks
from ..diffusion.denoiser import load_denoiser
from ..diffusion.samples import save_samples, write_timing
from ..diffusion.sampling import draw_units, plan_units
from ..runtime import make_runtime
from ..storage.checkpoints import CheckpointFolder
from ..storage.files import fingerprint
from ..storage.tensors import pixel_digest
from ..storage.weights import weights_digest
from .guidance import Steering, predictors
from .row import MaskRow


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What samples are to show, and what draws them.

    Attributes:
        masks: Wanted masks, parquet: the first ``unit_size`` of the file; sample i shows mask i modulo their number.
        seeds_per_mask: Samples of each mask.
        denoiser: Weights folder of the denoiser.
        guide: Weights folder of the head, segmenter or ControlNet; none for unguided samples.
    """

    masks: Path
    seeds_per_mask: int
    denoiser: Path
    guide: Path | None = None


def sample_masks(
    settings: SamplingConfig, row: MaskRow, wanted: Wanted, checkpoints: Path, output: Path, device: str = "auto"
) -> None:
    """Draw samples that follow wanted masks. Finished work units are kept.

    Args:
        settings: Section sampling with the preset's choices, JSON.
        row: Method, preset, number of pairs and lambda.
        wanted: Masks, and what steers.
        checkpoints: Folder of finished work units.
        output: Samples to write, parquet; what they took stands beside them, in .timing.json.
        device: auto, cpu, cuda or cuda:<n>.

    Raises:
        WeightsError: If the guide was made for another row, denoiser or classes.
    """
    runtime = make_runtime(device, settings.precision, settings.cpu_threads, compile=settings.compile)
    denoiser = load_denoiser(wanted.denoiser, runtime)
    masks = load_masks(wanted.masks).first(settings.unit_size)
    steering = Steering(row, wanted.guide, denoiser, masks.classes)
    about = {
        **vars(row),
        "denoiser": denoiser.digest,
        "guide": weights_digest(wanted.guide) if wanted.guide else None,
        "masks": pixel_digest(masks.masks),
        "settings": settings.model_dump(mode="json", exclude={"first_seed"}),
        "precision": str(runtime.dtype),
    }
    kept = CheckpointFolder(checkpoints, fingerprint(about))
    units = plan_units(settings.first_seed, wanted.seeds_per_mask, settings.unit_size)
    predictor_of = predictors(steering, masks, settings.guidance_interval)
    samples, seconds = draw_units(units, predictor_of, denoiser, settings, kept)
    save_samples(samples, output, about)
    write_timing(output.with_suffix(".timing.json"), seconds, len(samples.seeds))
