"""Masks and denoisers of latents: diffusers' ControlNet on masks, and heads that compare where they read."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from fewshot_diffusion.config.denoiser import DenoiserTrainingConfig
from fewshot_diffusion.config.masks import MaskHeadConfig, MaskTapsConfig
from fewshot_diffusion.data.mask_set import masks_at
from fewshot_diffusion.diffusion.denoiser import Denoiser
from fewshot_diffusion.errors import ConfigError
from fewshot_diffusion.latent.denoiser import LatentDenoiser
from fewshot_diffusion.masks.controlnet import controlled, controlled_predictor, fit_controlnet, load_controlnet
from fewshot_diffusion.masks.features import mask_features
from fewshot_diffusion.masks.guidance import ExactGuide
from fewshot_diffusion.masks.heads import fit_mask_head, mask_log_likelihood
from fewshot_diffusion.masks.latent_controlnet import LatentControlNet
from fewshot_diffusion.masks.pairs import Pairs
from fewshot_diffusion.storage.checkpoints import CheckpointFolder
from fewshot_diffusion.storage.weights import save_module
from latent_helpers import adopted, write_stable_diffusion, write_unprompted

CLASSES = ["background", "left", "right"]
SETTINGS = DenoiserTrainingConfig(
    num_images=16, batch_size=4, learning_rate=1e-2, warmup_images=0, decay_from=1.0, ema_decay=0.0,
    random_flip=False, checkpoint_images=4, precision="float32",
)  # fmt: skip


@pytest.fixture(scope="module")
def denoiser(tmp_path_factory: pytest.TempPathFactory) -> LatentDenoiser:
    folder = tmp_path_factory.mktemp("latents")
    return adopted(write_stable_diffusion(folder / "theirs"), folder / "ours")


@pytest.fixture
def pairs() -> Pairs:
    images = torch.randint(256, (4, 3, 16, 16), generator=torch.Generator().manual_seed(1)).to(torch.uint8)
    return Pairs(images, (images[:, 0] // 86).to(torch.uint8), CLASSES)


def shown(pairs: Pairs) -> Tensor:
    return torch.as_tensor(pairs.masks[:2])


def test_a_controlnet_changes_nothing_at_step_0_and_something_when_trained(
    denoiser: LatentDenoiser, pairs: Pairs, tmp_path: Path
) -> None:
    x_t = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    timesteps = torch.tensor([321, 321])
    untrained = LatentControlNet.beside(denoiser, CLASSES)
    untrained.copy_encoder(denoiser)
    with torch.no_grad():
        assert torch.equal(
            controlled(denoiser, untrained.eval(), x_t, timesteps, shown(pairs)), denoiser.predict(x_t, 321)
        )
    states = [CheckpointFolder(tmp_path, name) for name in ("one", "two")]
    trained, again = (fit_controlnet(denoiser, pairs, SETTINGS, state) for state in states)
    save_module(trained, trained.config, tmp_path / "controlnet", {"denoiser": "d", "classes": CLASSES, "shots": 4})
    loaded = load_controlnet(tmp_path / "controlnet", "d", CLASSES, 4)
    alpha = torch.tensor(0.5)
    outputs = [controlled_predictor(denoiser, one, shown(pairs))(x_t, 321, alpha) for one in (trained, again, loaded)]
    assert torch.equal(outputs[0], outputs[1])
    assert torch.equal(outputs[0], outputs[2])
    assert not torch.allclose(outputs[0], denoiser.predict(x_t, 321), atol=1e-3)
    other = controlled_predictor(denoiser, trained, torch.as_tensor(pairs.masks[2:]))(x_t, 321, alpha)
    assert not torch.equal(other, outputs[0])


def test_what_has_no_controlnet_is_said(tiny_denoiser: Denoiser, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="found a PixelDenoiser, expected one of latents"):
        LatentControlNet.beside(tiny_denoiser, CLASSES)
    unprompted = adopted(write_unprompted(tmp_path / "theirs"), tmp_path / "ours")
    with pytest.raises(ConfigError, match="found a UNet2DModel of latents, expected one that reads a prompt"):
        LatentControlNet.beside(unprompted, CLASSES)


def test_masks_are_compared_where_the_finest_tap_is(denoiser: LatentDenoiser, pairs: Pairs) -> None:
    recipe = MaskHeadConfig(
        hidden_channels=8, updates=4, batch_size=2, learning_rate=1e-3, flip=True, readout_timesteps=[100, 500],
        readout_draws=1, precision="float32",
    )  # fmt: skip
    taps = MaskTapsConfig(taps=["up_blocks.1", "mid_block"], feature_timestep=50, compared_at="taps")
    features = mask_features(denoiser, pairs, "exact", taps, recipe)
    assert features.masks.shape == (8, 8, 8)
    head, _ = fit_mask_head(features, "nearest", recipe)
    logits = head([part[0, :2] for part in features.maps], 50)
    assert logits.shape == (2, 3, 8, 8)
    small = masks_at(shown(pairs), 8)
    assert torch.equal(mask_log_likelihood(logits, shown(pairs)), mask_log_likelihood(logits, small))
    found = ExactGuide(denoiser, head).segment(torch.as_tensor(pairs.images))
    assert (found.shape, found.dtype) == ((4, 16, 16), torch.uint8)
    whole = mask_features(denoiser, pairs, "exact", taps.model_copy(update={"compared_at": "image"}), recipe)
    assert torch.equal(whole.masks[:4], torch.as_tensor(pairs.masks))


def test_masks_come_to_another_size_by_their_nearest_pixels() -> None:
    masks = torch.tensor([[[0, 0, 5, 5], [0, 0, 5, 5], [9, 9, 2, 2], [9, 9, 2, 2]]], dtype=torch.uint8)
    assert masks_at(masks, 2).tolist() == [[[0, 5], [9, 2]]]
    assert torch.equal(masks_at(masks_at(masks, 2), 4), masks)
    assert masks_at(masks, 4) is masks
