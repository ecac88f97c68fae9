"""What a denoiser's files say of it, read without torch: what cannot serve is refused before the first job.

A folder of diffusers' holds ``config.json`` and weights, whole, in shards or in half precision; the schedule stands in
``scheduler_config.json`` beside them, or in ``scheduler/`` beside a pipeline's ``unet/``. Weights of this project name
their schedule in their header.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..config.denoiser import DenoiserConfig, ScheduleConfig
from ..errors import CorruptFileError, WeightsError
from ..storage.files import read_json

CHANNELS = 3
_WEIGHTS = "diffusion_pytorch_model"
_SCHEDULER = "scheduler_config.json"
_USUAL_BETAS = {"beta_start": 1e-4, "beta_end": 0.02}
_MAX_HEADER = 2**24  # bytes

Size = Annotated[int, Field(ge=1, le=8192)]
Model = TypeVar("Model", bound=BaseModel)


class UNetDescription(BaseModel):
    """Keys of a ``UNet2DModel``'s ``config.json`` that decide whether it can serve, with diffusers' defaults."""

    model_config = ConfigDict(strict=True, frozen=True)

    sample_size: Size | list[Size] | None = None
    in_channels: Size = 3
    out_channels: Size = 3
    class_embed_type: str | None = None
    num_class_embeds: int | None = None
    block_out_channels: list[Size] = Field([224, 448, 672, 896], min_length=1, max_length=10)
    layers_per_block: Annotated[int, Field(ge=1, le=50)] = 2
    norm_num_groups: Size = 32
    attention_head_dim: Size | list[Size] | None = 8  # a list where levels have heads of their own widths


class SchedulerDescription(BaseModel):
    """Keys of a scheduler's file that decide by which noise the denoiser was trained, with diffusers' defaults."""

    model_config = ConfigDict(strict=True, frozen=True)

    class_name: str = Field("DDPMScheduler", alias="_class_name")
    num_train_timesteps: int = 1000
    beta_schedule: str = "linear"
    prediction_type: str = "epsilon"
    beta_start: float = _USUAL_BETAS["beta_start"]
    beta_end: float = _USUAL_BETAS["beta_end"]
    trained_betas: Any = None
    rescale_betas_zero_snr: bool = False
    variance_type: str | None = None


@dataclass(frozen=True)
class Description:
    """A denoiser's files, and what they say.

    Attributes:
        config: Its ``config.json``.
        weights: Its weights: one file, or an index and its shards.
        scheduler: The file that says its schedule, if any: the scheduler's, or the weights.
        unet: What ``config`` says.
        schedule: What ``scheduler`` says.
    """

    config: Path
    weights: tuple[Path, ...]
    scheduler: Path | None
    unet: UNetDescription
    schedule: SchedulerDescription | None

    @property
    def files(self) -> list[Path]:
        """All that an adopted denoiser depends on."""
        return sorted({self.config, *self.weights, *filter(None, [self.scheduler])})

    @property
    def variant(self) -> str | None:
        """What diffusers calls weights in half precision."""
        return "fp16" if ".fp16." in self.weights[0].name else None


def describe(folder: Path) -> Description:
    """Read what a folder says of its denoiser; of a pipeline, its ``unet/``.

    Raises:
        WeightsError: If a file is missing or of another kind than expected.
    """
    if not folder.is_dir():
        raise WeightsError(f"{folder}: there is no such folder, seen from {Path.cwd()}; expected a denoiser's.")
    if not (folder / "config.json").is_file() and (folder / "unet").is_dir():
        folder /= "unet"
    config, weights = folder / "config.json", find_weights(folder)
    places = (folder / _SCHEDULER, folder.parent / "scheduler" / _SCHEDULER)
    unet = parsed(UNetDescription, _unconditional(config), config)
    if stated := _stated_by_header(weights[0]):
        return Description(config, weights, weights[0], unet, parsed(SchedulerDescription, stated, weights[0]))
    scheduler = next((path for path in places if path.is_file()), None)
    schedule = parsed(SchedulerDescription, read_settings(scheduler), scheduler) if scheduler else None
    return Description(config, weights, scheduler, unet, schedule)


def find_weights(folder: Path, stem: str = _WEIGHTS) -> tuple[Path, ...]:
    """Return the weights of a folder: one safetensors file, or an index and its shards, half precision last.

    Args:
        folder: Where they lie.
        stem: How their names begin; transformers' begin with ``model``.

    Raises:
        WeightsError: If there are none, or of a kind that is not read.
    """
    for half in ("", ".fp16"):
        whole = folder / f"{stem}{half}.safetensors"
        index = folder / f"{stem}.safetensors.index{half}.json"
        if whole.is_file():
            return (whole,)
        if index.is_file():
            return (index, *_shards(index))
    raise WeightsError(f"{folder}: {_what_else(folder, stem)}")


def _shards(index: Path) -> list[Path]:
    names = read_settings(index).get("weight_map")
    if not isinstance(names, dict) or not names or not all(isinstance(name, str) for name in names.values()):
        raise WeightsError(f"{index}: found no weight_map, expected the names of shards.")
    shards = [index.parent / name for name in sorted(set(names.values()))]
    if missing := [shard.name for shard in shards if not shard.is_file()]:
        raise WeightsError(f"{index}: names the shards {', '.join(missing)}, which are missing.")
    return shards


def _what_else(folder: Path, stem: str) -> str:
    if stem == _WEIGHTS and list(folder.glob(f"{_WEIGHTS}*.bin*")):
        command = "from diffusers import UNet2DModel as U; U.from_pretrained('.').save_pretrained('safe')"
        return (
            f"found {_WEIGHTS}.bin, which is pickled and not read here. If you trust it, run there: "
            f'python -c "{command}", and name its folder safe/.'
        )
    found = ", ".join(sorted(path.name for path in folder.iterdir())[:8]) or "nothing"
    return (
        f"{stem}.safetensors is missing (found {found}). Name a folder that diffusers' save_pretrained wrote; the "
        "shipped weights come with `make restore`."
    )


def _unconditional(config: Path) -> dict[str, Any]:
    found = read_settings(config)
    if (name := found.get("_class_name", "UNet2DModel")) != "UNet2DModel":
        raise WeightsError(f"{config}: found {name}, expected UNet2DModel: of pixels, without text or other input.")
    return found


def read_settings(path: Path) -> dict[str, Any]:
    """Return a JSON file of a model's folder; raise ``WeightsError`` if it is missing or damaged."""
    try:
        return read_json(path)
    except CorruptFileError as error:
        raise WeightsError(str(error).replace(" Delete it and run the same command again.", "")) from error


def _stated_by_header(path: Path) -> Mapping[str, Any] | None:
    """Return the schedule that weights of this project name; None of others. Damage is the job's to find."""
    try:
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            about = json.loads(json.loads(file.read(min(size, _MAX_HEADER)))["__metadata__"]["about"])
        return dict(about["schedule"])
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return None


def parsed(model: type[Model], found: Mapping[str, Any], path: Path) -> Model:
    """Return what a file says, checked; raise ``WeightsError`` if diffusers would not write it."""
    try:
        return model.model_validate(found)
    except ValidationError as error:
        said = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()[:3])
        raise WeightsError(f"{path}: is not what diffusers writes ({said}).") from error


def require_fits(found: Description, settings: DenoiserConfig, image_size: int) -> None:
    """Raise ``WeightsError`` with every reason why a denoiser cannot serve, or is not the configured one.

    A folder of the user's own brings its architecture along; its size and schedule must be the configured ones.
    """
    reasons = [*_unfit(found, image_size), *other_schedule(found.schedule, found.scheduler, settings.schedule)]
    if settings.source != "folder":
        reasons += _other_architecture(found.unet, settings)
    if reasons:
        raise WeightsError("\n".join([f"{found.config.parent}: this denoiser cannot serve:", *reasons]))


def require_steerable(found: Description) -> ScheduleConfig:
    """Return the schedule of a denoiser that can serve whatever its size and architecture are.

    Raises:
        WeightsError: With every reason why it cannot: a network or schedule of another kind, or none that is known.
    """
    reasons, said = list(_unfit(found)), found.schedule
    if said is None:
        where = found.config.parent.parent / "scheduler"
        reasons.append(
            f"  {where}: found no {_SCHEDULER}, so that its noise schedule is unknown. Put the training's file there, "
            "or name it: from_pretrained(..., scheduler=DDPMScheduler(...))"
        )
    elif reason := another_kind(said):
        reasons.append(f"  {found.scheduler}: {reason}")
    if reasons or said is None:
        raise WeightsError("\n".join([f"{found.config.parent}: this denoiser cannot serve:", *reasons]))
    cosine = said.beta_schedule == "squaredcos_cap_v2"
    keys = [key for key in ScheduleConfig.model_fields if not (cosine and key in _USUAL_BETAS)]
    return ScheduleConfig.model_validate({key: getattr(said, key) for key in keys})


def _unfit(found: Description, image_size: int | None = None) -> Iterator[str]:
    unet, size = found.unet, found.unet.sample_size
    for coder in ("vae", "vqvae"):
        if (found.config.parent.with_name(coder) / "config.json").is_file():
            yield f"  it draws the latents of {coder}/ beside it, expected a denoiser of pixels"
    if unet.in_channels != CHANNELS:
        kind = {1: "grey images", 4: "latents", 6: "an image beside the noisy one", 9: "a masked image"}
        why = f", which is for {kind[unet.in_channels]}" if unet.in_channels in kind else ""
        yield f"  in_channels: found {unet.in_channels}{why}; expected {CHANNELS} (RGB)"
    elif unet.out_channels != CHANNELS and not (unet.out_channels == 2 * CHANNELS and _learns_variance(found)):
        also = f", or {2 * CHANNELS} where {_SCHEDULER} says variance_type learned or learned_range"
        yield f"  out_channels: found {unet.out_channels}, expected {CHANNELS}{also}"
    for key in ("class_embed_type", "num_class_embeds"):
        if (value := getattr(unet, key)) is not None:
            yield f"  {key}: found {value}, expected null: it is conditioned on a class"
    if image_size is None:
        if size is None or (isinstance(size, list) and len(set(size)) > 1):
            yield f"  sample_size: found {size}, expected the height and width of its square images"
    elif size not in (image_size, [image_size], [image_size] * 2):
        yield f"  sample_size: found {size}, expected data.image_size ({image_size})"


def _learns_variance(found: Description) -> bool:
    return found.schedule is not None and (found.schedule.variance_type or "").startswith("learned")


def _other_architecture(unet: UNetDescription, settings: DenoiserConfig) -> Iterator[str]:
    for key, wanted in settings.architecture.model_dump(mode="json").items():
        if (value := getattr(unet, key)) != wanted:
            yield f"  {key}: found {value}, denoiser.architecture.{key} is {wanted}"


def other_schedule(said: SchedulerDescription | None, where: Path | None, configured: ScheduleConfig) -> Iterator[str]:
    """Yield how the schedule that a file says, if there is one, differs from the configured one."""
    if said is None:
        return
    if reason := another_kind(said):
        yield f"  {where}: {reason}"
        return
    cosine = said.beta_schedule == configured.beta_schedule == "squaredcos_cap_v2"
    keys = [key for key in ScheduleConfig.model_fields if not (cosine and key in _USUAL_BETAS)]  # which it ignores
    stated = {key: getattr(said, key) for key in keys}
    wanted = {key: getattr(configured, key) for key in keys}
    if other := [key for key in stated if stated[key] != wanted[key]]:
        yield from (f"  {key}: {where} says {stated[key]}, denoiser.schedule.{key} is {wanted[key]}" for key in other)
        inner = ", ".join(f"{key}: {stated[key]}" for key in other)
        yield f"  To obey the file, put into your configuration: denoiser: {{schedule: {{{inner}}}}}"


def another_kind(said: SchedulerDescription) -> str | None:
    """Return why a schedule cannot be configured here, if so."""
    if "FlowMatch" in said.class_name or "flow" in said.prediction_type:
        return f"found {said.class_name}, a flow-matching model's; expected the noise schedule of a diffusion"
    if "beta_schedule" not in said.model_fields_set and not said.class_name.startswith(("DDPM", "DDIM", "PNDM")):
        return f"found {said.class_name}, which has no beta_schedule; expected a scheduler such as DDPMScheduler"
    for key in ("beta_schedule", "prediction_type"):
        allowed = ScheduleConfig.model_fields[key].annotation.__args__  # type: ignore[union-attr]
        if (value := getattr(said, key)) not in allowed:
            return f"{key}: found {value}, expected {' or '.join(map(str, allowed))} (denoiser.schedule.{key})"
    for key, usual in {"trained_betas": None, "rescale_betas_zero_snr": False}.items():
        if (value := getattr(said, key)) != usual:
            return f"{key}: found {value}, expected {usual}: no other is supported"
    return None
