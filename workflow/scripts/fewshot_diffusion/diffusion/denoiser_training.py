"""Training the unconditional denoiser, and refining it."""

from pathlib import Path

import torch
from diffusers import UNet2DModel
from torch import Tensor

from ..config.denoiser import DenoiserConfig, DenoiserTrainingConfig, ScheduleConfig
from ..data.image_set import load_image_set
from ..runtime import Runtime, make_runtime
from ..storage.checkpoints import CheckpointFolder
from ..storage.rows import Rows
from ..storage.tensors import pixel_digest
from ..storage.weights import save_module
from .denoiser import build_unet, unet_config
from .training import DenoiserTraining, run_training, training_identity


def train_denoiser(
    settings: DenoiserConfig, images: Path, checkpoints: Path, output: Path, device: str = "auto"
) -> None:
    """Train the unconditional denoiser and refine it as often as asked; the same command starts, resumes and repeats.

    Args:
        settings: Section denoiser, JSON: ``training`` first, then ``refinements`` in turn.
        images: Split that it is trained on, parquet.
        checkpoints: Folder that holds the states of all trainings, one of each of these.
        output: Weights folder to write.
        device: auto, cpu, cuda or cuda:<n>.

    Raises:
        StoppedError: If SIGTERM came: the state of the step that it came in is written.
    """
    pixels = load_image_set(images).images
    data = {"schedule": settings.schedule.model_dump(mode="json"), "images": pixel_digest(pixels)}
    shared = {"architecture"}
    about = data | {"recipe": settings.model_dump(mode="json", include=shared | {"training"})}
    runtime = _runtime(settings.training, device)
    kept = CheckpointFolder(checkpoints, training_identity(about, runtime))
    unet = fit_denoiser(pixels, settings, kept, runtime)
    for recipe in settings.refinements:
        runtime = _runtime(recipe, device)
        about = data | {"start": kept.identity, "recipe": recipe.model_dump(mode="json")}
        kept = CheckpointFolder(checkpoints, training_identity(about, runtime))
        refine_denoiser(unet, pixels, recipe, settings.schedule, kept, runtime)
    said = settings.model_dump(mode="json", include=shared | {"training", "refinements"})
    save_module(unet, unet_config(unet), output, data | {"recipe": said})


def fit_denoiser(
    images: Rows, settings: DenoiserConfig, checkpoints: CheckpointFolder, runtime: Runtime
) -> UNet2DModel:
    """Train a denoiser from scratch.

    Args:
        images: Training images, uint8 [N, 3, H, W], 0..255.
        settings: Architecture, schedule and ``training``.
        checkpoints: State of this training.
        runtime: Device and precision.

    Returns:
        The network with the moving average of its weights, frozen.
    """
    torch.manual_seed(settings.training.seed)
    unet = build_unet(settings.architecture, images.shape[-1])
    refine_denoiser(unet, images, settings.training, settings.schedule, checkpoints, runtime)
    return unet


def refine_denoiser(
    unet: UNet2DModel,
    images: Rows,
    recipe: DenoiserTrainingConfig,
    schedule: ScheduleConfig,
    checkpoints: CheckpointFolder,
    runtime: Runtime,
) -> None:
    """Train a network on, in place: it ends with the moving average of its weights, frozen.

    Args:
        unet: What the training begins at.
        images: Training images, uint8 [N, 3, H, W], 0..255.
        recipe: Length, rates, seed.
        schedule: Noise schedule and what the network predicts.
        checkpoints: State of this training.
        runtime: Device and precision.
    """
    torch.manual_seed(recipe.seed)
    unet.requires_grad_(True)

    def predict(x_t: Tensor, timesteps: Tensor, _index: Tensor) -> Tensor:
        output: Tensor = unet(x_t, timesteps).sample
        return output

    run_training(DenoiserTraining(unet, predict, recipe, schedule, runtime), images, checkpoints)
    unet.requires_grad_(False).eval()


def _runtime(recipe: DenoiserTrainingConfig, device: str) -> Runtime:
    return make_runtime(device, recipe.precision, recipe.cpu_threads, compile=recipe.compile)
