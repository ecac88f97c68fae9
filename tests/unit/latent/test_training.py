"""A latent diffusion is trained from drawn images and captions: it learns, goes on where it stopped, and is read."""

from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline

from fewshot_diffusion.config.denoiser import DenoiserTrainingConfig, LatentRecipeConfig, ScheduleConfig
from fewshot_diffusion.config.latent import CaptionsConfig, LatentModelConfig
from fewshot_diffusion.data.image_set import load_image_set
from fewshot_diffusion.data.sources import make_images
from fewshot_diffusion.diffusion import training
from fewshot_diffusion.errors import StoppedError
from fewshot_diffusion.latent.autoencoder import encode_all, load_autoencoder, train_autoencoder
from fewshot_diffusion.latent.captions import make_captions
from fewshot_diffusion.latent.training import LatentFiles, train_latent_denoiser
from fewshot_diffusion.runtime import CPU
from latent_helpers import AUTOENCODER, TEXT, UNET
from support import smoke_config

CAPTIONS = CaptionsConfig(opening="a face", phrases={"hairColor": {"d6b370": "blond hair"}}, kept=1.0)
MODEL = LatentModelConfig(captions=CAPTIONS, autoencoder=AUTOENCODER, text_encoder=TEXT, unet=UNET, caption_dropout=0.2)
RECIPE = LatentRecipeConfig(
    model=MODEL,
    schedule=ScheduleConfig(),
    training=DenoiserTrainingConfig(
        num_images=48, batch_size=8, learning_rate=1e-3, warmup_images=8, decay_from=0.5, ema_decay=0.5,
        random_flip=False, checkpoint_images=8, precision="float32",
    ),
)  # fmt: skip


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> LatentFiles:
    folder, dataset = tmp_path_factory.mktemp("latent"), smoke_config().data.dataset([])
    make_images(dataset, (0, 32), folder / "train.parquet")
    make_captions(dataset, CAPTIONS, (0, 32), folder / "train.csv")
    train_autoencoder(AUTOENCODER, folder / "train.parquet", folder / "autoencoder", "cpu")
    return LatentFiles(
        images=folder / "train.parquet", captions=folder / "train.csv", autoencoder=folder / "autoencoder"
    )


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_training_that_stopped_ends_with_the_same_bytes(
    files: LatentFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_latent_denoiser(RECIPE, files, tmp_path / "one", tmp_path / "whole", "cpu")
    stops = iter([False, False, True])
    with monkeypatch.context() as patched:
        patched.setattr(training, "noticing_sigterm", lambda: nullcontext(lambda: next(stops)))
        with pytest.raises(StoppedError, match="after step 3 of 6"):
            train_latent_denoiser(RECIPE, files, tmp_path / "two", tmp_path / "resumed", "cpu")
    assert not (tmp_path / "resumed" / "model_index.json").exists()
    train_latent_denoiser(RECIPE, files, tmp_path / "two", tmp_path / "resumed", "cpu")
    assert contents(tmp_path / "resumed") == contents(tmp_path / "whole")
    drawn = StableDiffusionPipeline.from_pretrained(tmp_path / "whole")(
        "a face", num_inference_steps=2, output_type="pt"
    )
    assert drawn.images.shape == (1, 3, 16, 16)


def test_latents_have_unit_variance(files: LatentFiles) -> None:
    autoencoder, images = load_autoencoder(files.autoencoder), load_image_set(files.images).images
    latents = encode_all(autoencoder, images, CPU)
    assert latents.shape == (32, 4, 8, 8)
    assert float(latents.std()) == pytest.approx(1, abs=0.01)
    decoded = autoencoder.decode(latents / autoencoder.config.scaling_factor).sample
    assert torch.isfinite(decoded).all()
