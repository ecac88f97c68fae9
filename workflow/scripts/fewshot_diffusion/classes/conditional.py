"""The class-conditional denoiser: the unconditional one with a label embedding, and classifier-free guidance."""

import hashlib
from pathlib import Path

import torch
from diffusers import UNet2DModel
from torch import Tensor, nn

from ..config.classes import FinetuningConfig
from ..diffusion.denoiser import Denoiser, unet_config, unet_of_config
from ..diffusion.guidance import Predictor
from ..diffusion.training import DenoiserTraining, run_training
from ..errors import WeightsError
from ..runtime import Runtime
from ..seeds import generator
from ..storage.weights import check_reads, load_module


def make_conditional(unet: UNet2DModel, classes: int) -> UNet2DModel:
    """Return a copy of an unconditional denoiser with a label embedding of K + 1 rows, zero at the start.

    Row K is the null label. All rows are zero, so that the copy equals the original at step 0, whatever the labels.

    Args:
        unet: Unconditional denoiser.
        classes: K.
    """
    config = unet_config(unet) | {"num_class_embeds": classes + 1}
    copy = unet_of_config(config)
    missing, unexpected = copy.load_state_dict(unet.state_dict(), strict=False)
    if unexpected or any(not name.startswith("class_embedding.") for name in missing):
        raise WeightsError(f"the denoiser does not fit its class-conditional copy: {[*missing, *unexpected]}")
    assert isinstance(copy.class_embedding, nn.Embedding)
    nn.init.zeros_(copy.class_embedding.weight)
    return copy


def finetune_conditional(
    denoiser: Denoiser,
    images: Tensor,
    labels: Tensor,
    classes: int,
    settings: FinetuningConfig,
    checkpoints: Path,
    identity: str,
    runtime: Runtime,
) -> UNet2DModel:
    """Fine-tune a denoiser with labels, each dropped to the null label with ``settings.label_dropout``. Resumable.

    Args:
        denoiser: Unconditional denoiser; it is not changed.
        images: uint8 [N, 3, H, W], 0..255.
        labels: int64 [N], 0..K-1.
        classes: K.
        settings: Recipe.
        checkpoints: Folder of the training state.
        identity: Digest of everything that the result depends on.
        runtime: Device and precision.
    """
    torch.manual_seed(settings.seed)
    unet = make_conditional(denoiser.unet, classes).requires_grad_(True)

    def predict(x_t: Tensor, timesteps: Tensor, index: Tensor) -> Tensor:
        stream = generator(f"label dropout {settings.seed}", training.step)
        shown = drop_labels(labels[index], classes, settings.label_dropout, stream)
        output: Tensor = unet(x_t, timesteps, class_labels=shown.to(x_t.device)).sample
        return output

    reads_labels = [name for name, _ in unet.named_parameters() if "class_embedding" in name or "time_emb_proj" in name]
    rates = dict.fromkeys(reads_labels, settings.label_rate)
    training = DenoiserTraining(
        unet, predict, settings, denoiser.schedule, runtime, rates, timestep_power=settings.timestep_power
    )
    run_training(training, images, checkpoints, identity)
    return unet.requires_grad_(False).eval()


def drop_labels(labels: Tensor, null_label: int, probability: float, stream: torch.Generator) -> Tensor:
    """Return a copy of ``labels`` [B] in which each is the null label with ``probability``."""
    return labels.masked_fill(torch.rand(labels.shape, generator=stream) < probability, null_label)


def load_conditional(folder: Path, unconditional: Denoiser) -> Denoiser:
    """Load the class-conditional denoiser that was fine-tuned from ``unconditional``, on its device.

    Raises:
        WeightsError: If it was fine-tuned from another denoiser.
    """
    check_reads(folder, unconditional.digest)
    unet = load_module(unet_of_config, folder).to(unconditional.unet.device)
    digest = hashlib.sha256(f"{unconditional.digest}{(folder / 'provenance.json').read_text()}".encode()).hexdigest()
    return Denoiser(unet, unconditional.schedule, digest)


def classifier_free(conditional: Denoiser, labels: Tensor, guidance_scale: float, runtime: Runtime) -> Predictor:
    """Return a predictor with classifier-free guidance: null + w (conditional - null), in the denoiser's raw output.

    The output is linear in eps, so that guiding eps or v is the same. Both halves are one batch.

    Args:
        conditional: Class-conditional denoiser with K + 1 label rows.
        labels: int64 [B], 0..K-1; they are read, never written.
        guidance_scale: w >= 0; at 1 the null half is not computed.
        runtime: Device and precision.

    Source: Ho and Salimans 2022, "Classifier-Free Diffusion Guidance", eq. 6 with w = 1 + their w.
    """
    null = torch.full_like(labels, conditional.unet.config.num_class_embeds - 1)
    both = torch.cat([labels, null])

    def forward(x_t: Tensor, timestep: int, shown: Tensor) -> Tensor:
        with torch.no_grad(), runtime.autocast():
            output: Tensor = conditional.unet(x_t, timestep, class_labels=shown.to(x_t.device)).sample
        return output.to(x_t.dtype)

    def predict(x_t: Tensor, timestep: int, alpha_bar_t: Tensor) -> Tensor:
        if guidance_scale == 1:
            return forward(x_t, timestep, labels)
        wanted, plain = forward(torch.cat([x_t, x_t]), timestep, both).chunk(2)
        return plain + guidance_scale * (wanted - plain)

    return predict
