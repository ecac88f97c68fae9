"""The text encoder: of a small latent diffusion, and of any in Stable Diffusion's layout."""

from pathlib import Path

import torch
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from ..config.latent import TextEncoderConfig
from ..errors import WeightsError


def build_text_encoder(settings: TextEncoderConfig, vocabulary: int) -> CLIPTextModel:
    """Return an untrained text encoder; the last token of its vocabulary ends a prompt."""
    config = CLIPTextConfig(
        vocab_size=vocabulary,
        hidden_size=settings.hidden_size,
        intermediate_size=4 * settings.hidden_size,
        projection_dim=settings.hidden_size,
        num_hidden_layers=settings.num_hidden_layers,
        num_attention_heads=settings.num_attention_heads,
        max_position_embeddings=settings.max_tokens,
        bos_token_id=vocabulary - 2,
        eos_token_id=vocabulary - 1,
        pad_token_id=vocabulary - 1,
    )
    return CLIPTextModel(config)


def tokens_of(tokenizer: CLIPTokenizer, texts: list[str]) -> Tensor:
    """Return the tokens of texts as Stable Diffusion reads them, padded or cut, int64 [N, L]."""
    longest = tokenizer.model_max_length
    found: Tensor = tokenizer(
        texts, padding="max_length", max_length=longest, truncation=True, return_tensors="pt"
    ).input_ids
    return found


def read_text_encoder(folder: Path, variant: str | None = None) -> tuple[CLIPTokenizer, CLIPTextModel]:
    """Read tokenizer and text encoder of a pipeline's folder, in float32; frozen.

    Raises:
        WeightsError: If they cannot be read.
    """
    half = variant if list((folder / "text_encoder").glob("*.fp16.*")) else None
    try:
        tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)
        encoder = CLIPTextModel.from_pretrained(
            folder / "text_encoder", variant=half, local_files_only=True, use_safetensors=True, dtype=torch.float32
        )
    except Exception as error:  # whatever strange settings make transformers say
        raise WeightsError(f"{folder}: its text encoder or tokenizer cannot be read ({error}).") from error
    return tokenizer, encoder.requires_grad_(False).eval()


def embed_prompts(tokenizer: CLIPTokenizer, encoder: CLIPTextModel, prompts: list[str]) -> Tensor:
    """Return the embeddings of prompts, float32 [N, L, D].

    Each is computed alone, as diffusers does: beside others its last bits could differ.
    """
    with torch.no_grad():
        return torch.cat([encoder(tokens_of(tokenizer, [prompt]).to(encoder.device))[0] for prompt in prompts])
