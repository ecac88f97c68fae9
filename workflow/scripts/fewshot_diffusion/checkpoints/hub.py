"""Folders of diffusers as they lie on the Hugging Face hub: of a pipeline or a U-Net, new or old, whole or in parts.

Weights are taken from safetensors before ``.bin``, in full before half precision; files are never run. Layers of
attention may have the names that they had before 2023.
"""

from pathlib import Path
from typing import Any

from diffusers import DDPMScheduler, UNet2DModel

from ..errors import FewshotError, WeightsError
from ..storage.files import read_json
from .files import State, read_state
from .layout import Places, convert_state, require_finite

_STEM = "diffusion_pytorch_model"
_FILES = tuple(
    name
    for kind in ("safetensors", "bin")
    for variant in ("", "fp16.")
    for name in (
        f"{_STEM}.{variant}{kind}",
        f"{_STEM}.{kind}.index.{variant}json",
        f"{_STEM}.{variant}{kind}.index.json",
    )
)
_OLD = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
_PREDICTIONS = ("epsilon", "v_prediction", "sample")
_CONDITIONAL = ("num_class_embeds", "class_embed_type")


def read_folder(folder: Path) -> tuple[UNet2DModel, dict[str, Any]]:
    """Return the network and the content of ``scheduler_config.json`` of a folder from the hub.

    Raises:
        WeightsError: If a file is missing, or is not of an unconditional ``UNet2DModel`` and its schedule.
        CorruptFileError: If a JSON file cannot be read.
    """
    unet = folder / "unet" if (folder / "unet").is_dir() else folder
    config = _config(unet / "config.json")
    schedule, state, places = _schedule(unet), _state(unet), Places({}, {})
    try:
        network = convert_state(state, config, places)
        require_finite(network, places)
    except WeightsError as error:
        raise WeightsError(f"{unet}: {error}") from error
    except Exception as error:  # whatever strange settings make diffusers and torch say
        raise WeightsError(f"{unet / 'config.json'}: diffusers cannot build this network ({error}).") from error
    return network, schedule


def _config(path: Path) -> dict[str, Any]:
    config = read_json(path)
    if config.get("_class_name") != "UNet2DModel":
        raise WeightsError(f"{path}: describes a {config.get('_class_name')}, expected a UNet2DModel.")
    for key in _CONDITIONAL:
        if config.get(key) is not None:
            raise WeightsError(f"{path}: {key} is {config[key]}: a class-conditional network, expected unconditional.")
    return config


def _schedule(unet: Path) -> dict[str, Any]:
    places = [unet / "scheduler_config.json", unet.parent / "scheduler" / "scheduler_config.json"]
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        raise WeightsError(f"{unet}: no scheduler_config.json; expected {places[0]} or {places[1]}.")
    stated = read_json(path)
    if missing := [key for key in ("num_train_timesteps", "beta_schedule") if key not in stated]:
        raise WeightsError(f"{path}: {', '.join(missing)}: missing; a schedule of another kind of diffusion.")
    if (kind := stated.get("prediction_type", "epsilon")) not in _PREDICTIONS:
        raise WeightsError(f"{path}: prediction_type: found {kind}, expected one of {', '.join(_PREDICTIONS)}.")
    try:
        DDPMScheduler.from_config(stated)
    except Exception as error:  # whatever strange settings make diffusers and torch say
        raise WeightsError(f"{path}: diffusers cannot build this schedule ({error}).") from error
    return stated


def _state(unet: Path) -> State:
    path = next((unet / name for name in _FILES if (unet / name).is_file()), None)
    if path is None:
        raise WeightsError(f"{unet}: no weights; expected {_FILES[0]}, in parts, .fp16, or .bin.")
    parts = _parts(path) if path.suffix == ".json" else [path]
    try:
        return {_new_name(name): tensor for part in parts for name, tensor in read_state(part).items()}
    except FewshotError as error:
        raise WeightsError(f"{error} Another file of {unet} may do: delete this one.") from error


def _parts(index: Path) -> list[Path]:
    named = read_json(index).get("weight_map")
    names = sorted({str(name) for name in named.values()}) if isinstance(named, dict) else []
    if not names or any(Path(name).name != name for name in names):
        raise WeightsError(f"{index}: weight_map names {names or 'no files'}, expected files of the same folder.")
    return [index.parent / name for name in names]


def _new_name(name: str) -> str:
    module, _, kind = name.rpartition(".")
    place, _, layer = module.rpartition(".")
    return f"{place}.{_OLD[layer]}.{kind}" if layer in _OLD and ".attentions." in f".{place}." else name
