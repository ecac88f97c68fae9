"""What a latent diffusion's folder says of itself, read without torch: what cannot serve is refused.

Layouts: StableDiffusionPipeline (``unet/``, ``vae/``, ``text_encoder/``, ``tokenizer/``, ``scheduler/``) and, without a
prompt, LDMPipeline (``unet/``, ``vqvae/``, ``scheduler/``).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from ..config.denoiser import ScheduleConfig
from ..diffusion.description import (
    SchedulerDescription,
    Size,
    another_kind,
    find_weights,
    other_schedule,
    parsed,
    read_settings,
)
from ..errors import WeightsError

SCHEDULER = Path("scheduler", "scheduler_config.json")
_TOKENIZERS = (("vocab.json", "merges.txt"), ("tokenizer.json",))
TEXT_STEM = "model"
_KINDS = {"UNet2DConditionModel": "AutoencoderKL", "UNet2DModel": "VQModel"}
"""Kind of a network -> of the coder beside it, at least; AutoencoderKL serves both."""

_NULL = (
    "class_embed_type", "num_class_embeds", "addition_embed_type", "encoder_hid_dim_type", "time_cond_proj_dim",
)  # fmt: skip
"""Settings of a U-Net by which it reads more than a prompt."""


class LatentUNetDescription(BaseModel):
    """Keys of a ``UNet2DConditionModel`` or ``UNet2DModel`` that decide whether it can serve, with their defaults."""

    model_config = ConfigDict(strict=True, frozen=True, extra="allow")

    sample_size: Size | list[Size] | None = None
    in_channels: Size = 4
    out_channels: Size = 4
    block_out_channels: list[Size] = [320, 640, 1280, 1280]
    layers_per_block: Size | list[Size] = 2
    cross_attention_dim: Size | list[Size] = 1280


class CoderDescription(BaseModel):
    """Keys of an ``AutoencoderKL`` or ``VQModel``, with their defaults."""

    model_config = ConfigDict(strict=True, frozen=True, extra="allow")

    block_out_channels: list[Size] = [64]
    latent_channels: Size = 4
    in_channels: Size = 3
    shift_factor: float | None = None


@dataclass(frozen=True)
class LatentDescription:
    """A latent diffusion's files, and what they say.

    Attributes:
        folder: Of the pipeline.
        files: All that an adopted denoiser depends on.
        kinds: Classes of network and coder.
        coder_name: Folder of the coder: vae or vqvae.
        unet: What the network's ``config.json`` says.
        coder: What the coder's says.
        schedule: What the scheduler's file says.
    """

    folder: Path
    files: tuple[Path, ...]
    kinds: tuple[str, str]
    coder_name: str
    unet: LatentUNetDescription
    coder: CoderDescription
    schedule: SchedulerDescription

    @property
    def has_prompt(self) -> bool:
        """Whether it reads a prompt."""
        return self.kinds[0] == "UNet2DConditionModel"

    @property
    def image_size(self) -> int | None:
        """Height and width of its images, pixels; None if it does not say, or they are not square."""
        size = self.unet.sample_size
        sides = set(size) if isinstance(size, list) else {size}
        side = sides.pop() if len(sides) == 1 else None
        return side * 2 ** (len(self.coder.block_out_channels) - 1) if side else None

    @property
    def variant(self) -> str | None:
        """What diffusers calls weights in half precision."""
        return "fp16" if any(".fp16." in path.name for path in self.files) else None


def is_pipeline(folder: Path) -> bool:
    """Return whether a folder has latents: a coder beside its network."""
    return any((folder / name).is_dir() for name in ("vae", "vqvae"))


def describe_pipeline(folder: Path) -> LatentDescription:
    """Read what a pipeline's folder says.

    Raises:
        WeightsError: If a file is missing, or it is a pipeline of another kind; in one message.
    """
    if not folder.is_dir():
        raise WeightsError(f"{folder}: there is no such folder, seen from {Path.cwd()}; expected a pipeline's.")
    _require_layout(folder)
    coder_name = "vae" if (folder / "vae").is_dir() else "vqvae"
    said = {name: read_settings(folder / name / "config.json") for name in ("unet", coder_name)}
    kinds = (str(said["unet"].get("_class_name")), str(said[coder_name].get("_class_name")))
    if kinds[0] not in _KINDS or kinds[1] not in {"AutoencoderKL", _KINDS[kinds[0]]}:
        raise WeightsError(
            f"{folder}: found {kinds[0]} with {kinds[1]}; expected UNet2DConditionModel with AutoencoderKL (as in "
            "StableDiffusionPipeline) or UNet2DModel with VQModel (as in LDMPipeline)."
        )
    files = [folder / name / "config.json" for name in said] + [folder / SCHEDULER]
    files += [path for name in said for path in _weights(folder / name)]
    if kinds[0] == "UNet2DConditionModel":
        files += [folder / "text_encoder" / "config.json", *_weights(folder / "text_encoder", TEXT_STEM)]
        whole = [names for names in _TOKENIZERS if all((folder / "tokenizer" / name).is_file() for name in names)]
        names = ["tokenizer_config.json", *(whole or _TOKENIZERS)[0]]
        files += [folder / "tokenizer" / name for name in names]
    if missing := [str(path.relative_to(folder)) for path in files if not path.is_file()]:
        raise WeightsError(f"{folder}: {', '.join(missing)} missing; expected what diffusers' save_pretrained wrote.")
    unet = parsed(LatentUNetDescription, said["unet"], folder / "unet" / "config.json")
    coder = parsed(CoderDescription, said[coder_name], folder / coder_name / "config.json")
    schedule = parsed(SchedulerDescription, read_settings(folder / SCHEDULER), folder / SCHEDULER)
    return LatentDescription(folder, tuple(files), kinds, coder_name, unet, coder, schedule)


def require_serves(found: LatentDescription, schedule: ScheduleConfig, image_size: int) -> None:
    """Raise ``WeightsError`` with every reason why a latent diffusion cannot serve as configured."""
    where = found.folder / SCHEDULER
    reasons = [*_unfit(found), *other_schedule(found.schedule, where, schedule)]
    if found.image_size != image_size:
        reasons.append(f"  unet/: its images have {found.image_size} pixels, data.image_size is {image_size}")
    _require_none(found, reasons)


def require_known_schedule(found: LatentDescription) -> ScheduleConfig:
    """Return the schedule of a latent diffusion; raise ``WeightsError`` with every reason why it cannot be steered."""
    reasons = list(_unfit(found))
    if reason := another_kind(found.schedule):
        reasons.append(f"  {found.folder / SCHEDULER}: {reason}")
    _require_none(found, reasons)
    cosine = found.schedule.beta_schedule == "squaredcos_cap_v2"
    keys = [key for key in ScheduleConfig.model_fields if not (cosine and key in ("beta_start", "beta_end"))]
    return ScheduleConfig.model_validate({key: getattr(found.schedule, key) for key in keys})


def _require_none(found: LatentDescription, reasons: list[str]) -> None:
    if reasons:
        raise WeightsError("\n".join([f"{found.folder}: this latent diffusion cannot serve:", *reasons]))


def _require_layout(folder: Path) -> None:
    named: Any = read_settings(folder / "model_index.json").get("_class_name") if _has_index(folder) else None
    if (folder / "transformer").is_dir():
        raise WeightsError(
            f"{folder}: found transformer/ ({named}), a flow-matching model's; expected a U-Net's latent diffusion, "
            "such as StableDiffusionPipeline, versions 1 and 2."
        )
    if (folder / "text_encoder_2").is_dir() or (folder / "image_encoder" / "config.json").is_file():
        raise WeightsError(f"{folder}: found {named}, which reads more than one prompt; expected versions 1 and 2.")
    if not (is_pipeline(folder) and (folder / "unet").is_dir()):
        raise WeightsError(f"{folder}: found no unet/ with vae/ or vqvae/; expected a folder of a latent diffusion.")


def _has_index(folder: Path) -> bool:
    return (folder / "model_index.json").is_file()


def _weights(folder: Path, stem: str = "diffusion_pytorch_model") -> tuple[Path, ...]:
    if not list(folder.glob(f"{stem}*.safetensors*")) and list(folder.glob("*.bin*")):
        raise WeightsError(
            f"{folder}: found pickled weights (.bin), which are not read here. If you trust them, run in the "
            "pipeline's folder: python -c \"from diffusers import DiffusionPipeline as P; "
            "P.from_pretrained('.').save_pretrained('safe')\", and name its folder safe/."
        )
    return find_weights(folder, stem)


def _unfit(found: LatentDescription) -> Iterator[str]:
    unet, coder, more = found.unet, found.coder, found.unet.model_extra or {}
    if not unet.in_channels == unet.out_channels == coder.latent_channels:
        also = {8: ": an image beside the latents", 9: ": it paints into masked images"}.get(unet.in_channels, "")
        yield (
            f"  unet/: in_channels {unet.in_channels}, out_channels {unet.out_channels}{also}; expected both as "
            f"{found.coder_name}/ says, {coder.latent_channels}"
        )
    yield from (f"  unet/: {key}: found {more[key]}, expected null" for key in _NULL if more.get(key) is not None)
    if coder.in_channels != 3:
        yield f"  {found.coder_name}/: in_channels: found {coder.in_channels}, expected 3 (RGB)"
    if coder.shift_factor:
        yield f"  {found.coder_name}/: shift_factor: found {coder.shift_factor}, expected null"
    if found.image_size is None:
        yield f"  unet/: sample_size: found {unet.sample_size}, expected height and width of square latents"
