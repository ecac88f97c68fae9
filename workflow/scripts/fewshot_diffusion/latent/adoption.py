"""Taking over a latent diffusion: read through diffusers, checked, and held at one prompt."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..config.denoiser import ScheduleConfig
from ..config.latent import PromptConfig
from ..errors import WeightsError
from ..storage.weights import save_module
from .description import LatentDescription, describe_pipeline, require_serves
from .hub import find_pipeline
from .networks import CODERS, UNETS, LatentNetwork, images_of
from .text import embed_prompts, read_text_encoder


@dataclass(frozen=True)
class PipelineSource:
    """Where a pipeline comes from: a folder, or the hub.

    Attributes:
        folder: Of the pipeline.
        repository: owner/name on the hub, without a folder.
        revision: Commit, branch or tag there.
    """

    folder: Path | None = None
    repository: str | None = None
    revision: str | None = None

    def find(self) -> Path:
        """Return its folder, fetched if need be; raise ``WeightsError`` if it cannot be had."""
        return self.folder or find_pipeline(self.repository or "", revision=self.revision)


def adopt_latent_denoiser(
    prompt: PromptConfig, schedule: ScheduleConfig, source: PipelineSource, image_size: int, output: Path
) -> None:
    """Take over a latent diffusion: checked against the configuration, its prompt's embedding beside its weights.

    Args:
        prompt: What it is held at (CONFIG.denoiser.latent.held_at), JSON.
        schedule: Section denoiser.schedule, JSON: what it must have been trained on.
        source: Where the pipeline comes from.
        image_size: Height and width of the images, pixels.
        output: Weights folder to write.

    Raises:
        WeightsError: If it is no such pipeline, or another than the configuration describes.
    """
    folder = source.find()
    found = describe_pipeline(folder)
    require_serves(found, schedule, image_size)
    network = read_network(found, prompt)
    _require_finite(network, schedule.num_train_timesteps - 1, folder)
    for part in (network.unet, network.coder):
        _as_stored(part)
    about = {"schedule": schedule.model_dump(mode="json"), "adopted": digest_of(found)}
    save_module(network, network.config, output, about)


def read_network(found: LatentDescription, settings: PromptConfig) -> LatentNetwork:
    """Read network, coder and prompt in float32, frozen.

    Args:
        found: What the folder says.
        settings: Prompts and the weight of classifier-free guidance.

    Raises:
        WeightsError: If a weight is missing, left over or not finite.
    """
    unet, coder = (read_part(found, name) for name in ("unet", found.coder_name))
    if not found.has_prompt:
        return LatentNetwork.without_prompt(unet, coder)
    prompts = embed_prompts(
        *read_text_encoder(found.folder, found.variant), [settings.negative_prompt, settings.prompt]
    )
    return LatentNetwork(unet, coder, prompts, settings.model_dump(mode="json")).requires_grad_(False).eval()


def read_part(found: LatentDescription, name: str) -> Any:
    """Read ``unet`` or the coder through diffusers, in float32; frozen.

    Raises:
        WeightsError: If a weight is missing, left over or not finite.
    """
    folder, kind = found.folder / name, (UNETS | CODERS)[found.kinds[name != "unet"]]
    try:
        network, loading = kind.from_pretrained(
            folder,
            variant=found.variant if list(folder.glob("*.fp16.*")) else None,
            local_files_only=True,
            use_safetensors=True,
            low_cpu_mem_usage=False,
            torch_dtype=torch.float32,
            output_loading_info=True,
        )
    except Exception as error:  # whatever strange settings make diffusers and torch say
        raise WeightsError(f"{folder}: cannot be read as a diffusers {kind.__name__} ({error}).") from error
    odd = sorted(str(key) for keys in loading.values() for key in keys)
    odd += [key for key, weight in network.state_dict().items() if not weight.isfinite().all()]
    if odd:
        raise WeightsError(f"{folder}: weights are missing, left over or not finite: {', '.join(odd[:5])}.")
    if name == "unet" and not isinstance(
        size := network.config.sample_size, int
    ):  # height and width may be given, each
        network.register_to_config(sample_size=size[0])
    return network.requires_grad_(False).eval()


def digest_of(found: LatentDescription) -> str:
    """Return the SHA-256 over all files that an adopted denoiser depends on."""
    digest = hashlib.sha256()
    for path in found.files:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _as_stored(part: nn.Module) -> None:
    """Halve weights that were stored in half precision: nothing is lost."""
    if all(torch.equal(weight, weight.half().float()) for weight in part.state_dict().values()):
        part.half()


def _require_finite(network: LatentNetwork, timestep: int, folder: Path) -> None:
    size, channels = network.unet.config.sample_size, network.unet.config.in_channels
    noise = torch.randn(1, channels, size, size, generator=torch.Generator().manual_seed(0))
    conditions: dict[str, Tensor] = {"encoder_hidden_states": network.prompts[1:]} if len(network.prompts) else {}
    try:
        with torch.no_grad():
            output = network.unet(noise, timestep, **conditions).sample
            image = images_of(network.coder, output)
    except Exception as error:  # of parts that do not fit each other
        raise WeightsError(f"{folder}: nothing passes through it ({error}).") from error
    if output.shape != noise.shape or not image.isfinite().all():
        raise WeightsError(f"{folder}: of noise it makes no image, or none that is finite: its weights are broken.")
