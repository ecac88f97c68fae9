"""A model of one's own and what people have beside it, tiny: photos of noise, every other one bright, labels, masks."""

from pathlib import Path
from typing import Any

import numpy as np
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel
from PIL import Image

TRAINED = {"beta_schedule": "squaredcos_cap_v2", "prediction_type": "v_prediction"}
SIDE = 20  # pixels of the photos: the model's are 16


def write_model(folder: Path, unet: UNet2DModel) -> Path:
    """Write a pipeline as diffusers does."""
    DDPMPipeline(unet, DDPMScheduler(**TRAINED)).save_pretrained(folder)
    return folder


def write_photos(folder: Path, number: int) -> list[str]:
    """Write photos, of which every other one is bright, and their masks: bright pixels are of class 1."""
    noise = np.random.default_rng(0).integers(0, 100, (number, SIDE, SIDE, 3), dtype=np.uint8)
    noise[::2] += 120
    for place in ("photos", "masks"):
        (folder / place).mkdir(parents=True, exist_ok=True)
    for i, pixels in enumerate(noise):
        Image.fromarray(pixels).save(folder / "photos" / f"p{i}.png")
        Image.fromarray((pixels[..., 0] > 110).astype(np.uint8)).save(folder / "masks" / f"p{i}.png")
    return [f"p{i}.png" for i in range(number)]


def write_labels(path: Path, names: list[str], header: str = "Bright") -> Path:
    """Write whether each photo is bright."""
    path.write_text("\n".join([f"file,{header}", *(f"{name},{1 - i % 2}" for i, name in enumerate(names))]) + "\n")
    return path


def keys(section: dict[str, Any]) -> int:
    """Return how many values an overlay sets."""
    return sum(keys(value) if isinstance(value, dict) else 1 for value in section.values())
