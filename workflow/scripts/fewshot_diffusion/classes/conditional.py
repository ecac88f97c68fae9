"""The class-conditional denoiser: the unconditional one with a label embedding, and classifier-free guidance.

The network itself is copied and fine-tuned here, where all else goes through ``Denoiser``.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import UNet2DModel
from torch import Tensor, nn

from ..config.classes import FinetuningConfig
from ..data.class_set import ClassSet
from ..data.shots import ClassShots
from ..diffusion.denoiser import PixelDenoiser, load_pixel_denoiser, unet_config
from ..diffusion.guidance import Predictor
from ..diffusion.schedule import label_of
from ..diffusion.training import DenoiserTraining, run_training, training_identity
from ..diffusion.unets import unet_of_config
from ..errors import WeightsError
from ..runtime import make_runtime
from ..seeds import generator as stream_of
from ..storage.checkpoints import CheckpointFolder
from ..storage.files import About
from ..storage.tensors import pixel_digest
from ..storage.weights import load_module, save_module, weights_digest


@dataclass(frozen=True)
class ClassDenoiser(PixelDenoiser):
    """A class-conditional denoiser of pixels with K + 1 label rows, the last of which stands for no class."""

    @property
    def null_label(self) -> int:
        """K."""
        return int(self.unet.config.num_class_embeds) - 1

    def predict_classes(self, x_t: Tensor, timestep: int, labels: Tensor) -> Tensor:
        """Return the raw output for labels, int64 [B], 0..K; shape and dtype of ``x_t``; it needs no gradient."""
        with torch.no_grad(), self.runtime.autocast():
            output: Tensor = self.unet(x_t, label_of(timestep, x_t), class_labels=labels.to(x_t.device)).sample
        return output.to(x_t.dtype)


def train_generator(
    settings: FinetuningConfig,
    real: ClassShots,
    denoiser: Path,
    checkpoints: Path,
    output: Path,
    device: str = "auto",
) -> None:
    """Fine-tune the unconditional denoiser as class-conditional; the same command starts, resumes and repeats.

    Args:
        settings: Section classes.conditional, JSON.
        real: Real labelled images.
        denoiser: Weights folder of the unconditional denoiser.
        checkpoints: Folder that holds the states of all trainings.
        output: Weights folder to write.
        device: auto, cpu, cuda or cuda:<n>.
    """
    runtime = make_runtime(device, settings.precision, settings.cpu_threads, compile=settings.compile)
    unconditional, shots = load_pixel_denoiser(denoiser, runtime), real.read()
    about = {
        "denoiser": unconditional.digest,
        "recipe": settings.model_dump(mode="json"),
        "images": pixel_digest(shots.images, shots.labels),
    }
    folder = CheckpointFolder(checkpoints, training_identity(about, runtime))
    unet = finetune(unconditional, shots, settings, folder)
    save_module(unet, unet_config(unet), output, about)


def finetune(
    denoiser: PixelDenoiser, real: ClassSet, settings: FinetuningConfig, checkpoints: CheckpointFolder
) -> UNet2DModel:
    """Fine-tune a denoiser with labels, each dropped to the null label with ``settings.label_dropout``. Resumable.

    Args:
        denoiser: Unconditional denoiser; it is not changed.
        real: Labelled images.
        settings: Recipe.
        checkpoints: State of this training.
    """
    torch.manual_seed(settings.seed)
    null_label = len(real.classes)
    unet = make_conditional(denoiser.unet, null_label).requires_grad_(True)
    labels = real.labels.to(denoiser.device)

    def predict(x_t: Tensor, timesteps: Tensor, index: Tensor) -> Tensor:
        stream = stream_of(f"label dropout {settings.seed}", training.step, denoiser.device)
        shown = drop_labels(labels[index], null_label, settings.label_dropout, stream)
        output: Tensor = unet(x_t, timesteps, class_labels=shown).sample
        return output

    reads_labels = [name for name, _ in unet.named_parameters() if "class_embedding" in name or "time_emb_proj" in name]
    rates = dict.fromkeys(reads_labels, settings.label_rate)
    training = DenoiserTraining(unet, predict, settings, denoiser.schedule, denoiser.runtime, rates)
    run_training(training, real.images, checkpoints)
    return unet.requires_grad_(False).eval()


def make_conditional(unet: UNet2DModel, classes: int) -> UNet2DModel:
    """Return a copy of an unconditional denoiser with a label embedding of K + 1 rows, zero at the start.

    Row K is the null label. All rows are zero, so that the copy equals the original at step 0, whatever the labels.

    Args:
        unet: Unconditional denoiser.
        classes: K.
    """
    copy = unet_of_config(unet_config(unet) | {"num_class_embeds": classes + 1})
    missing, unexpected = copy.load_state_dict(unet.state_dict(), strict=False)
    if unexpected or any(not name.startswith("class_embedding.") for name in missing):
        raise WeightsError(f"the denoiser does not fit its class-conditional copy: {[*missing, *unexpected]}")
    assert isinstance(copy.class_embedding, nn.Embedding)
    nn.init.zeros_(copy.class_embedding.weight)
    return copy


def drop_labels(labels: Tensor, null_label: int, probability: float, stream: torch.Generator) -> Tensor:
    """Return a copy of ``labels`` [B] in which each is the null label with ``probability``."""
    dropped = torch.rand(labels.shape, generator=stream, device=stream.device) < probability
    return labels.masked_fill(dropped, null_label)


def load_generator(folder: Path, unconditional: PixelDenoiser, expected: About | None = None) -> ClassDenoiser:
    """Load the class-conditional denoiser that was fine-tuned from ``unconditional``, on its device.

    Args:
        folder: Weights folder.
        unconditional: The denoiser that it must come from.
        expected: What else it must say of itself, such as its ``images``.

    Raises:
        WeightsError: If it was fine-tuned from another denoiser, or on other images.
    """
    unet, _ = load_module(unet_of_config, folder, expected={"denoiser": unconditional.digest, **(expected or {})})
    schedule, runtime = unconditional.schedule, unconditional.runtime
    return ClassDenoiser(schedule, weights_digest(folder), runtime, unet.to(runtime.device))


def classifier_free(conditional: ClassDenoiser, labels: Tensor, classifier_free_scale: float) -> Predictor:
    """Return a predictor with classifier-free guidance: null + w (conditional - null), in the denoiser's raw output.

    The output is linear in eps, so that guiding eps or v is the same. Both halves are one batch.

    Args:
        conditional: Class-conditional denoiser.
        labels: int64 [B], 0..K-1; they are read, never written.
        classifier_free_scale: w >= 0; at 1 the null half is not computed.

    Source: Ho and Salimans 2022, "Classifier-Free Diffusion Guidance", eq. 6 with w = 1 + their w.
    """
    labels = labels.to(conditional.device)
    both = torch.cat([labels, torch.full_like(labels, conditional.null_label)])

    def predict(x_t: Tensor, timestep: int, alpha_bar_t: Tensor) -> Tensor:
        if classifier_free_scale == 1:
            return conditional.predict_classes(x_t, timestep, labels)
        wanted, plain = conditional.predict_classes(torch.cat([x_t, x_t]), timestep, both).chunk(2)
        return plain + classifier_free_scale * (wanted - plain)

    return predict
