"""A latent diffusion in Stable Diffusion's layout that is as small as can be, its every weight random and non-zero."""

from pathlib import Path

import torch
from diffusers import LDMPipeline, UNet2DModel, VQModel
from torch import nn

from fewshot_diffusion.config.denoiser import ScheduleConfig
from fewshot_diffusion.config.latent import AutoencoderConfig, ConditionalUNetConfig, PromptConfig, TextEncoderConfig
from fewshot_diffusion.diffusion.schedule import make_scheduler
from fewshot_diffusion.latent.adoption import PipelineSource, adopt_latent_denoiser
from fewshot_diffusion.latent.denoiser import LatentDenoiser, load_latent_denoiser
from fewshot_diffusion.latent.layout import write_pipeline
from fewshot_diffusion.latent.networks import build_autoencoder, build_conditional_unet
from fewshot_diffusion.latent.text import build_text_encoder
from fewshot_diffusion.latent.tokenizer import write_tokenizer
from fewshot_diffusion.runtime import CPU

SIZE = 16  # pixels; the latents have 8
SCHEDULE = ScheduleConfig(
    beta_schedule="scaled_linear", prediction_type="epsilon", beta_start=0.00085, beta_end=0.012
)  # Stable Diffusion's own
TEXT = TextEncoderConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, max_tokens=12)
UNET = ConditionalUNetConfig(block_out_channels=(8, 16), norm_num_groups=4, attention_heads=2)
AUTOENCODER = AutoencoderConfig(
    block_out_channels=(8, 16), norm_num_groups=4, kl_weight=1e-3, epochs=1, batch_size=8, learning_rate=1e-3,
    weight_decay=0.0, precision="float32",
)  # fmt: skip
WORDS = ["a cartoon portrait", "blond hair", "no beard"]


def randomised(network: nn.Module, seed: int = 0) -> nn.Module:
    """Return a network whose every weight matters; vectors are biases and the normalisations' gains."""
    stream = torch.Generator().manual_seed(seed)
    for parameter in network.parameters():
        noise = torch.randn(parameter.shape, generator=stream)
        parameter.data = 0.5 + 0.3 * noise if parameter.dim() == 1 else noise / parameter[0].numel() ** 0.5
    return network.requires_grad_(False).eval()


def write_stable_diffusion(folder: Path, schedule: ScheduleConfig = SCHEDULE) -> Path:
    """Write a pipeline's folder and return it."""
    write_tokenizer(WORDS, TEXT.max_tokens, folder / "tokenizer")
    vocabulary = (folder / "tokenizer" / "vocab.json").read_text().count(":") + 5
    autoencoder = randomised(build_autoencoder(AUTOENCODER, SIZE), 1)
    autoencoder.register_to_config(scaling_factor=0.5)
    parts = (
        randomised(build_conditional_unet(UNET, SIZE // 2, 4, TEXT.hidden_size)),
        autoencoder,
        randomised(build_text_encoder(TEXT, vocabulary), 2),
    )
    write_pipeline(folder, parts, schedule)
    return folder


def write_unprompted(folder: Path) -> Path:
    """Write the folder of an LDMPipeline and return it."""
    unet = UNet2DModel(
        sample_size=8, in_channels=4, out_channels=4, block_out_channels=(8, 16), layers_per_block=1,
        down_block_types=("DownBlock2D",) * 2, up_block_types=("UpBlock2D",) * 2, norm_num_groups=4,
        attention_head_dim=8,
    )  # fmt: skip
    vqvae = VQModel(
        block_out_channels=(8, 16), down_block_types=("DownEncoderBlock2D",) * 2, latent_channels=4, norm_num_groups=4,
        up_block_types=("UpDecoderBlock2D",) * 2, num_vq_embeddings=32,
    )  # fmt: skip
    LDMPipeline(randomised(vqvae, 1), randomised(unet), make_scheduler(SCHEDULE)).save_pretrained(folder)
    return folder


def adopted(folder: Path, output: Path, scale: float = 3.0, prompt: str = "blond hair") -> LatentDenoiser:
    """Take a pipeline over and load it."""
    held_at = PromptConfig(prompt=prompt, negative_prompt="no beard", classifier_free_scale=scale)
    adopt_latent_denoiser(held_at, SCHEDULE, PipelineSource(folder), SIZE, output)
    return load_latent_denoiser(output, CPU)
