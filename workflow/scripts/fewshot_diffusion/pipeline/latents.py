"""Pipelines of latents: Stable Diffusion held at one prompt, and latent diffusions without any."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from diffusers import AutoencoderKL, DDIMScheduler, DiffusionPipeline, SchedulerMixin, UNet2DModel, VQModel
from diffusers import UNet2DConditionModel as ConditionalUNet
from pydantic import ValidationError
from transformers import CLIPTextModel, CLIPTokenizer

from ..config.latent import PromptConfig
from ..errors import ConfigError
from ..latent.adoption import read_part
from ..latent.denoiser import LatentDenoiser
from ..latent.description import LatentDescription, describe_pipeline, require_known_schedule
from ..latent.networks import LatentNetwork
from ..latent.text import embed_prompts, read_text_encoder
from ..storage.files import read_json, write_json
from .layout import state_digest
from .pipeline import FewShotPipeline

PROMPT_FILE = "prompt.json"


class LatentPipeline(FewShotPipeline):
    """What pipelines of latents share."""

    _network: LatentNetwork

    @property
    def denoiser(self) -> LatentDenoiser:
        """The denoiser as all that is steered sees it, on the pipeline's device."""
        runtime = self._runtime()
        return LatentDenoiser(self._schedule, self._digest, runtime, self._network.to(runtime.device))

    def _begin(self, parts: Mapping[str, Any], found: LatentDescription, precision: str) -> None:
        """Take parts that a folder holds; the rest of a pipeline's ``__init__`` makes the network of them."""
        DiffusionPipeline.__init__(self)
        scheduler = DDIMScheduler.from_config(parts["scheduler"].config, clip_sample=False)
        self.register_modules(**{**parts, "scheduler": scheduler})
        self._schedule, self.precision, self.heads = require_known_schedule(found), precision, {}

    def _hold(self, network: LatentNetwork) -> None:
        self._network = network.requires_grad_(False).eval()
        config = {key: value for key, value in network.config.items() if key != "text"}  # no head depends on it
        self._digest = state_digest([config, self._schedule.model_dump(mode="json")], network)


class PromptPipeline(LatentPipeline):
    """Stable Diffusion, held at one prompt: prompt and classifier-free guidance stay, what heads say is added.

    Without guidance it is diffusers' StableDiffusionPipeline with DDIM's scheduler, bit for bit.

    Attributes:
        held_at: Prompts and the weight of classifier-free guidance.
    """

    written_as = "StableDiffusionPipeline"
    model_cpu_offload_seq = "text_encoder->unet->vae"

    def __init__(
        self,
        unet: ConditionalUNet,
        vae: AutoencoderKL,
        text_encoder: CLIPTextModel,
        tokenizer: CLIPTokenizer,
        scheduler: SchedulerMixin,
        told: tuple[LatentDescription, PromptConfig, str] | None = None,
    ) -> None:
        """Take what ``read_latents`` read; ``told``: what the folder says, prompts, and precision."""
        found, self.held_at, precision = _told(told)
        parts = {"unet": unet, "vae": vae, "text_encoder": text_encoder, "tokenizer": tokenizer, "scheduler": scheduler}
        self._begin(parts, found, precision)
        prompts = embed_prompts(tokenizer, text_encoder, [self.held_at.negative_prompt, self.held_at.prompt])
        self._hold(LatentNetwork(unet, vae, prompts, self.held_at.model_dump(mode="json")))

    def save_pretrained(self, save_directory: str | Path, **options: Any) -> None:
        """Write the pipeline as diffusers does; its heads and its prompt beside."""
        super().save_pretrained(save_directory, **options)
        write_json(Path(save_directory) / PROMPT_FILE, self.held_at.model_dump(mode="json"))


class UnpromptedPipeline(LatentPipeline):
    """A latent diffusion without a prompt: diffusers' LDMPipeline where nothing steers, bit for bit."""

    written_as = "LDMPipeline"

    def __init__(
        self,
        unet: UNet2DModel,
        vqvae: VQModel | AutoencoderKL,
        scheduler: SchedulerMixin,
        told: tuple[LatentDescription, PromptConfig, str] | None = None,
    ) -> None:
        """Take what ``read_latents`` read; ``told``: what the folder says, and precision."""
        found, _, precision = _told(told)
        self._begin({"unet": unet, "vqvae": vqvae, "scheduler": scheduler}, found, precision)
        self._hold(LatentNetwork.without_prompt(unet, vqvae))


def read_latents(
    folder: Path, scheduler: SchedulerMixin | None, precision: str, prompt: Mapping[str, Any]
) -> LatentPipeline:
    """Read a pipeline of latents from its folder.

    Args:
        folder: In the layout of StableDiffusionPipeline or LDMPipeline.
        scheduler: In place of the folder's: its spacing of timesteps; the noise schedule is the folder's.
        precision: auto, float32 or bfloat16.
        prompt: ``prompt``, ``negative_prompt`` and ``classifier_free_scale``; those not named are as it was
            saved, else empty and 7.5, diffusers' own.

    Raises:
        ConfigError: If a value is out of range, or a prompt is given to what reads none.
        WeightsError: If it cannot be steered; says every reason.
    """
    found = describe_pipeline(folder)
    require_known_schedule(found)
    if prompt and not found.has_prompt:
        raise ConfigError(f"{', '.join(prompt)}: {folder} holds a latent diffusion that reads no prompt; leave it out.")
    saved = read_json(folder / PROMPT_FILE) if (folder / PROMPT_FILE).is_file() else {}
    try:
        held_at = PromptConfig.model_validate({"prompt": "", "classifier_free_scale": 7.5, **saved, **prompt})
    except ValidationError as error:
        raise ConfigError("; ".join(f"{item['loc'][0]}: {item['msg']}" for item in error.errors())) from error
    unet, coder = (read_part(found, name) for name in ("unet", found.coder_name))
    scheduler = scheduler or DDIMScheduler.from_pretrained(folder / "scheduler")
    told = (found, held_at, precision)
    if not found.has_prompt:
        return UnpromptedPipeline(unet, coder, scheduler, told)
    tokenizer, text_encoder = read_text_encoder(folder, found.variant)
    return PromptPipeline(unet, coder, text_encoder, tokenizer, scheduler, told)


def _told(told: Any) -> tuple[LatentDescription, PromptConfig, str]:
    if told is None:
        raise ConfigError("told: found nothing, expected what from_pretrained reads; call FewShotPipeline's.")
    return cast(tuple[LatentDescription, PromptConfig, str], told)
