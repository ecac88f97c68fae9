"""Training a generative baseline: its stages one after another, each by the denoiser's own loop. Resumable."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from ..config.baselines import BaselineRecipeConfig, BaselinesConfig, BaselineTrainingConfig
from ..config.denoiser import DenoiserTrainingConfig
from ..data.image_set import load_image_set
from ..diffusion.training import Training, run_training, training_identity
from ..images import to_signed
from ..progress import Progress
from ..runtime import Runtime, make_runtime
from ..seeds import generator
from ..storage.checkpoints import CheckpointFolder
from ..storage.files import About
from ..storage.rows import Rows
from ..storage.tensors import pixel_digest
from ..storage.weights import save_module
from .base import LatentModel
from .models import build_baseline

BATCH_SIZE = 50

Read = Callable[[Tensor], Tensor]
"""Images, [B, 3, H, W] in -1..1 -> [B, ...]."""


@dataclass(eq=False)
class StageTraining(Training):
    """Training of one stage; the rest of the model stays as it is.

    Attributes:
        owner: The whole model, of which ``model`` is the submodule that the stage trains.
        stage: Its name.
    """

    model: nn.Module
    owner: LatentModel
    stage: str
    settings: DenoiserTrainingConfig
    runtime: Runtime
    rates: Mapping[str, float] = field(default_factory=dict)

    def loss(self, images: Rows) -> Tensor:
        """Return the stage's loss of a batch of its examples."""
        stream = generator(f"baseline {self.stage} training {self.settings.seed}", self.step, self.runtime.device)
        _, clean = self.draw_clean(images, stream)
        with self.runtime.autocast():
            return self.owner.loss(self.stage, clean, self.step / self.total_steps, stream)

    def clean(self, taken: Tensor) -> Tensor:
        """Return what was taken as the stage is trained on it: images in -1..1, latents as they are."""
        return super().clean(taken) if self.owner.stages[self.stage] == "images" else taken


def train_baseline(
    settings: BaselineRecipeConfig, images: Path, checkpoints: Path, output: Path, device: str = "auto"
) -> None:
    """Train all stages of a generative baseline; the same command starts, resumes and repeats.

    Args:
        settings: Its recipe, and the schedule of its diffusions (CONFIG.baseline_recipe), JSON.
        images: Split that it is trained on, parquet.
        checkpoints: Folder that holds the states of all trainings.
        output: Weights folder to write.
        device: auto, cpu, cuda or cuda:<n>.
    """
    training = settings.section.training
    runtime = make_runtime(device, training.precision, training.cpu_threads)
    pixels = load_image_set(images).images
    about = {
        "baseline": settings.baseline,
        "schedule": settings.schedule.model_dump(mode="json"),
        "recipe": settings.recipe.model_dump(mode="json"),
        "training": training.model_dump(mode="json"),
        "images": pixel_digest(pixels),
    }
    model = fit_baseline(pixels, settings, checkpoints, about, runtime)
    save_module(model.half(), model.config, output, about)  # half the space; what is read is float32 again


def fit_baseline(
    images: Rows, settings: BaselineRecipeConfig, checkpoints: Path, about: About, runtime: Runtime
) -> LatentModel:
    """Train a baseline from scratch.

    Args:
        images: Training images, uint8 [N, 3, H, W], 0..255.
        settings: Its recipe, and the schedule of its diffusions.
        checkpoints: Folder that holds the states of all trainings.
        about: All that the weights depend on; stages on images do not depend on recipes of those on latents.
        runtime: Device and precision.

    Returns:
        The model with the moving average of its weights, frozen.
    """
    section, name = settings.section, settings.baseline
    torch.manual_seed(section.training.seed)
    model = runtime.place(build_baseline(name, section, settings.schedule, images.shape[-1]))
    recipe, later = about["recipe"], [stage for stage, kind in model.stages.items() if kind == "latents"]
    first = {**about, "recipe": {key: value for key, value in recipe.items() if key not in later}}
    examples, on_images = images, True
    for stage, kind in model.stages.items():
        if kind == "latents" and on_images:
            examples, on_images = normalised_latents(model, images, runtime), False
        identity = training_identity({**(first if on_images else about), "stage": stage}, runtime)
        trained, how = getattr(model, stage), stage_training(section, name, stage)
        run_training(
            StageTraining(trained, model, stage, how, runtime), examples, CheckpointFolder(checkpoints, identity)
        )
        trained.requires_grad_(False).eval()
    if on_images:
        normalised_latents(model, images, runtime)
    return model.requires_grad_(False).eval()


def stage_training(settings: BaselinesConfig, baseline: str, stage: str) -> BaselineTrainingConfig:
    """Return how a stage is trained: as its own section in the recipe says, or, on images, as all baselines are."""
    own = getattr(settings.recipe(baseline), stage, None)
    training: BaselineTrainingConfig = own.training if own is not None else settings.training
    return training


def normalised_latents(model: LatentModel, images: Rows, runtime: Runtime) -> Tensor:
    """Let a model take the moments of the latents of its training images; return these, float32 [N, D] on the host."""
    means = over_images(model.posterior_mean, images, runtime).to(runtime.device)
    model.normalise(means)
    return model.normalised(means).cpu()


def over_images(read: Read, images: Rows, runtime: Runtime) -> Tensor:
    """Return what a frozen network makes of many images, float32 [N, ...] on the host.

    Args:
        read: Maps images, [B, 3, H, W] in -1..1, to [B, ...].
        images: uint8 [N, 3, H, W], 0..255.
        runtime: Device and precision.
    """
    found = []
    for batch in Progress(list(images.split(runtime.feature_batch or BATCH_SIZE)), desc="reading", unit="batch"):
        with torch.no_grad(), runtime.autocast():
            found.append(read(to_signed(batch.to(runtime.device))).float().cpu())
    return torch.cat(found)
