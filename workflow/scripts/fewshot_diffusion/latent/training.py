"""Training a small latent diffusion in Stable Diffusion's layout: U-Net and text encoder on the latents of images."""

from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from ..config.denoiser import LatentRecipeConfig
from ..data.image_set import load_image_set
from ..diffusion.training import EncodedTraining, run_training, training_identity
from ..runtime import Runtime, make_runtime
from ..seeds import generator
from ..storage.checkpoints import CheckpointFolder
from ..storage.tensors import tensor_digest
from .autoencoder import encode_all, load_autoencoder
from .captions import caption_words, read_captions
from .layout import write_pipeline
from .networks import build_conditional_unet
from .text import build_text_encoder, tokens_of
from .tokenizer import write_tokenizer


@dataclass(frozen=True, kw_only=True)
class LatentFiles:
    """What a latent diffusion learns from.

    Attributes:
        images: Split that it is trained on, parquet.
        captions: Captions of these images, CSV.
        autoencoder: Weights folder of the autoencoder.
    """

    images: Path
    captions: Path
    autoencoder: Path


class TextToLatents(nn.Module):
    """What is trained: both learn from the same loss."""

    def __init__(self, unet: UNet2DConditionModel, text_encoder: CLIPTextModel) -> None:
        super().__init__()
        self.unet, self.text_encoder = unet, text_encoder

    def forward(self, x_t: Tensor, timesteps: Tensor, tokens: Tensor) -> Tensor:
        words = self.text_encoder(tokens)[0]
        output: Tensor = self.unet(x_t, timesteps, encoder_hidden_states=words).sample
        return output


def train_latent_denoiser(
    settings: LatentRecipeConfig, files: LatentFiles, checkpoints: Path, output: Path, device: str = "auto"
) -> None:
    """Train U-Net and text encoder of a latent diffusion; the same command starts, resumes and repeats.

    Args:
        settings: Model, schedule and recipe (CONFIG.denoiser.latent_recipe), JSON.
        files: Images, captions and autoencoder.
        checkpoints: Folder that holds the states of all trainings.
        output: Folder of a StableDiffusionPipeline to write.
        device: auto, cpu, cuda or cuda:<n>.
    """
    recipe, model = settings.training, settings.model
    runtime = make_runtime(device, recipe.precision, recipe.cpu_threads, compile=recipe.compile)
    image_set, autoencoder = load_image_set(files.images), load_autoencoder(files.autoencoder)
    latents = encode_all(runtime.place(autoencoder), image_set.images, runtime)
    write_tokenizer(caption_words(model.captions), model.text_encoder.max_tokens, output / "tokenizer")
    captions = read_captions(files.captions, image_set.ids.tolist())
    tokens = tokens_of(CLIPTokenizer.from_pretrained(output / "tokenizer"), [*captions, ""])
    about = {
        "recipe": settings.model_dump(mode="json"),
        "data": tensor_digest({"latents": latents, "tokens": tokens}),
    }
    state = CheckpointFolder(checkpoints, training_identity(about, runtime))
    learned = fit_text_to_latents(latents, tokens, settings, state, runtime)
    write_pipeline(output, (learned.unet, autoencoder, learned.text_encoder), settings.schedule)


def fit_text_to_latents(
    latents: Tensor, tokens: Tensor, settings: LatentRecipeConfig, checkpoints: CheckpointFolder, runtime: Runtime
) -> TextToLatents:
    """Train U-Net and text encoder from scratch, captions dropped with ``caption_dropout``. Resumable.

    Args:
        latents: x_0, float32 [N, C, h, w].
        tokens: Of each image's caption, and last of the empty one, int64 [N + 1, L].
        settings: Model, schedule and recipe.
        checkpoints: State of this training.
        runtime: Device and precision.

    Returns:
        Both, with the moving average of their weights, frozen.
    """
    model, recipe = settings.model, settings.training
    torch.manual_seed(recipe.seed)
    text_encoder = build_text_encoder(model.text_encoder, int(tokens.max()) + 1)
    size, channels = latents.shape[-1], latents.shape[1]
    unet = build_conditional_unet(model.unet, size, channels, model.text_encoder.hidden_size)
    learned, tokens = TextToLatents(unet, text_encoder), tokens.to(runtime.device)

    def predict(x_t: Tensor, timesteps: Tensor, index: Tensor) -> Tensor:
        stream = generator(f"caption dropout {recipe.seed}", training.step, runtime.device)
        dropped = torch.rand(index.shape, generator=stream, device=stream.device) < model.caption_dropout
        output: Tensor = learned(x_t, timesteps, tokens[index.masked_fill(dropped, len(tokens) - 1)])
        return output

    training = EncodedTraining(learned, predict, recipe, settings.schedule, runtime)
    run_training(training, latents, checkpoints)
    return learned.requires_grad_(False).eval()
