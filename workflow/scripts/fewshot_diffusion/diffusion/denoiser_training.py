"""Training the unconditional denoiser, and refining one."""

from pathlib import Path

import torch
from diffusers import UNet2DModel
from torch import Tensor

from ..config.denoiser import DenoiserConfig
from ..data.image_set import load_image_set
from ..errors import ConfigError
from ..runtime import Runtime, make_runtime
from ..storage.checkpoints import CheckpointFolder
from ..storage.rows import Rows
from ..storage.tensors import pixel_digest
from ..storage.weights import save_module, weights_digest
from .denoiser import build_unet, load_pixel_denoiser, unet_config
from .training import DenoiserTraining, run_training, training_identity


def train_denoiser(
    settings: DenoiserConfig,
    images: Path,
    checkpoints: Path,
    output: Path,
    start: Path | None = None,
    device: str = "auto",
) -> None:
    """Train the unconditional denoiser, or refine one; the same command starts, resumes and repeats.

    Args:
        settings: Section denoiser, JSON: ``training``, or ``refinement`` if there is a start.
        images: Split that it is trained on, parquet.
        checkpoints: Folder that holds the states of all trainings.
        output: Weights folder to write.
        start: Weights folder that the refinement begins at.
        device: auto, cpu, cuda or cuda:<n>.

    Raises:
        ConfigError: If there is a start and no recipe of the refinement.
        WeightsError: If the start is no denoiser of pixels.
    """
    stage, recipe = ("refinement", settings.refinement) if start else ("training", settings.training)
    if recipe is None:
        raise ConfigError("denoiser.refinement: found null, expected how the denoiser is refined: --start names one.")
    runtime = make_runtime(device, recipe.precision, recipe.cpu_threads, compile=recipe.compile)
    pixels = load_image_set(images).images
    about = {
        "schedule": settings.schedule.model_dump(mode="json"),
        "recipe": settings.model_dump(mode="json", include={"architecture", stage}),
        "images": pixel_digest(pixels),
        **({"start": weights_digest(start)} if start else {}),
    }
    kept = CheckpointFolder(checkpoints, training_identity(about, runtime))
    first = load_pixel_denoiser(start, runtime).unet if start else None
    unet = fit_denoiser(pixels, settings, kept, runtime, first)
    save_module(unet, unet_config(unet), output, about)


def fit_denoiser(
    images: Rows,
    settings: DenoiserConfig,
    checkpoints: CheckpointFolder,
    runtime: Runtime,
    first: UNet2DModel | None = None,
) -> UNet2DModel:
    """Train a denoiser from scratch, or refine one.

    Args:
        images: Training images, uint8 [N, 3, H, W], 0..255.
        settings: Architecture, schedule and recipe: ``refinement``, if there is a first network.
        checkpoints: State of this training.
        runtime: Device and precision.
        first: The network that is refined, in place.

    Returns:
        The network with the moving average of its weights, frozen.
    """
    recipe = settings.refinement if first else settings.training
    assert recipe
    torch.manual_seed(recipe.seed)
    unet = first.requires_grad_(True) if first else build_unet(settings.architecture, images.shape[-1])

    def predict(x_t: Tensor, timesteps: Tensor, _index: Tensor) -> Tensor:
        output: Tensor = unet(x_t, timesteps).sample
        return output

    run_training(DenoiserTraining(unet, predict, recipe, settings.schedule, runtime), images, checkpoints)
    return unet.requires_grad_(False).eval()
