"""Pipelines of the hub: what a latent diffusion needs of a repository, and no more."""

from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HFValidationError

from ..errors import WeightsError

WANTED = ["*.json", "unet/*", "vae/*", "vqvae/*", "scheduler/*", "text_encoder/*", "tokenizer/*"]
UNWANTED = ["*.bin", "*.msgpack", "*.h5", "*.ckpt", "*.onnx*", "*non_ema*", "*.fp16.*"]


def find_pipeline(repository: str, **options: Any) -> Path:
    """Return the folder of what the hub has of a repository, fetched if it is not in its cache.

    Args:
        repository: owner/name.
        options: Of ``huggingface_hub.snapshot_download``: revision, token, cache_dir, local_files_only.

    Raises:
        WeightsError: If it cannot be had.
    """
    try:
        return Path(snapshot_download(repository, allow_patterns=WANTED, ignore_patterns=UNWANTED, **options))
    except (OSError, ValueError, HFValidationError) as error:  # the hub's errors are of these kinds
        raise WeightsError(
            f"{repository}: cannot be had from the hub ({error}). Without a network, fetch it elsewhere and set "
            "denoiser.latent.source to folder."
        ) from error
