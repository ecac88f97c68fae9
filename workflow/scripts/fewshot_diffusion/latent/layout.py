"""The folder of a StableDiffusionPipeline, part by part, as diffusers and transformers write it."""

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel, __version__
from safetensors.torch import save_file
from torch import nn
from transformers import CLIPTextModel

from ..config.denoiser import ScheduleConfig
from ..diffusion.denoiser import unet_config
from ..diffusion.schedule import make_scheduler
from ..storage.files import atomic_path, write_json
from ..storage.weights import WEIGHTS_FILE

INDEX = "model_index.json"
TEXT_WEIGHTS = "model.safetensors"


def write_pipeline(
    folder: Path,
    parts: tuple[UNet2DConditionModel, AutoencoderKL, CLIPTextModel],
    schedule: ScheduleConfig,
) -> None:
    """Write what ``StableDiffusionPipeline.from_pretrained`` reads: weights in float16, but the text encoder's.

    Args:
        folder: Where; its tokenizer is there already.
        parts: U-Net, autoencoder and text encoder.
        schedule: What the U-Net was trained on.
    """
    unet, autoencoder, text_encoder = parts
    described = {"unet": unet_config(unet), "vae": unet_config(autoencoder), "text_encoder": _config_of(text_encoder)}
    files = {"unet": WEIGHTS_FILE, "vae": WEIGHTS_FILE, "text_encoder": TEXT_WEIGHTS}
    for (name, file), part in zip(files.items(), parts, strict=True):
        write_json(folder / name / "config.json", described[name])
        _write_weights(part, folder / name / file)
    scheduler = json.loads(make_scheduler(schedule).to_json_string())
    write_json(folder / "scheduler" / "scheduler_config.json", {**scheduler, "steps_offset": 1})  # as its pipeline asks
    write_json(folder / INDEX, _index())


def _index() -> dict[str, Any]:
    parts = {
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
        "scheduler": ["diffusers", "DDIMScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
    }
    left_out = {key: [None, None] for key in ("safety_checker", "feature_extractor", "image_encoder")}
    named = {"_class_name": "StableDiffusionPipeline", "_diffusers_version": __version__}
    return {**named, **parts, **left_out, "requires_safety_checker": False}


def _config_of(text_encoder: CLIPTextModel) -> dict[str, Any]:
    return {**dict(json.loads(text_encoder.config.to_json_string())), "architectures": ["CLIPTextModel"]}


def _write_weights(part: nn.Module, path: Path) -> None:
    # transformers computes in the type that weights are stored in, and diffusers in float32: the two must meet.
    kind = torch.float32 if path.name == TEXT_WEIGHTS else torch.float16
    tensors = {name: tensor.to(kind).cpu().contiguous() for name, tensor in part.state_dict().items()}
    with atomic_path(path) as temporary:
        # Both read weights whose header says that they are torch's; it says no more, since the order of keys varies.
        save_file(tensors, temporary, metadata={"format": "pt"})
