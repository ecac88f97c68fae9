"""A denoiser of latents behind the seam: bits of diffusers' own pipelines, the prompt's activations, true gradients."""

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler, LDMPipeline, StableDiffusionPipeline
from torch import Tensor

from fewshot_diffusion import FewShotPipeline
from fewshot_diffusion.diffusion.denoiser import PixelDenoiser, load_denoiser, load_pixel_denoiser
from fewshot_diffusion.diffusion.guidance import ExactGuidance, ReadoutGuidance, guided, likelihood_gradient, unguided
from fewshot_diffusion.diffusion.sampling import sample_ddim
from fewshot_diffusion.diffusion.schedule import make_scheduler
from fewshot_diffusion.errors import ConfigError, WeightsError
from fewshot_diffusion.latent.denoiser import LatentDenoiser
from fewshot_diffusion.masks.heads import MaskHead, mask_log_likelihood
from fewshot_diffusion.runtime import CPU
from fewshot_diffusion.seeds import SampleNoise
from latent_helpers import SCHEDULE, SIZE, adopted, write_unprompted

TAPS = ["up_blocks.1", "mid_block"]


def noise(denoiser: LatentDenoiser, number: int = 2) -> SampleNoise:
    return SampleNoise(range(number), denoiser.sample_shape, denoiser.device)


def head_of(denoiser: LatentDenoiser, timesteps: list[int]) -> MaskHead:
    torch.manual_seed(0)
    return MaskHead(denoiser.describe_taps(TAPS), ["a", "b"], timesteps, SIZE, "bilinear", 8).requires_grad_(False)


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_at_scale_0_it_is_stable_diffusion_bit_for_bit(stable_diffusion: Path, tmp_path: Path, scale: float) -> None:
    denoiser = adopted(stable_diffusion, tmp_path, scale)
    theirs = StableDiffusionPipeline.from_pretrained(stable_diffusion)
    assert isinstance(theirs.scheduler, DDIMScheduler)
    drawn = {"num_inference_steps": 4, "output_type": "pt", "guidance_scale": scale}
    told = {"prompt": "blond hair", "negative_prompt": "no beard", "num_images_per_prompt": 2}
    wanted = theirs(**told, **drawn, latents=noise(denoiser).draw()).images
    head, masks = head_of(denoiser, [100]), torch.zeros(2, SIZE, SIZE, dtype=torch.uint8)
    guidance = ExactGuidance(denoiser, lambda maps, t: mask_log_likelihood(head(maps, t), masks), TAPS, 100)
    for predict in (unguided(denoiser), guided(guidance, 0.0, SCHEDULE.prediction_type)):
        scheduler = make_scheduler(SCHEDULE)
        x_0 = sample_ddim(predict, scheduler, noise(denoiser), 4, 0.0)  # type: ignore[arg-type]
        assert torch.equal((denoiser.to_images(x_0) / 2 + 0.5).clamp(0, 1), wanted)
    assert wanted.std() > 0.05


def test_the_library_s_pipeline_is_theirs_too_and_comes_back_with_its_prompt(
    stable_diffusion: Path, tmp_path: Path
) -> None:
    drawn = {"num_inference_steps": 3, "output_type": "pt"}
    told = {"prompt": "blond hair", "negative_prompt": "no beard"}
    pipe = FewShotPipeline.from_pretrained(stable_diffusion, **told, classifier_free_scale=3.0)
    theirs = StableDiffusionPipeline.from_pretrained(stable_diffusion)
    wanted = theirs(**told, **drawn, guidance_scale=3.0, generator=torch.Generator().manual_seed(0)).images
    images = torch.randint(256, (4, 3, SIZE, SIZE), dtype=torch.uint8)
    pipe.fit_masks(images, images[:, 0] // 128, ["dark", "bright"], updates=2)
    assert torch.equal(
        pipe(num_images=1, guidance_scale=0, generator=torch.Generator().manual_seed(0), **drawn).images, wanted
    )
    steered = pipe(masks=images[:, 0] // 128, seeds=[0, 1], guidance_scale=400, **drawn).images
    assert not torch.equal(steered, pipe(num_images=2, seeds=[0, 1], guidance_scale=0, **drawn).images)
    pipe.save_pretrained(tmp_path)
    again = FewShotPipeline.from_pretrained(tmp_path)
    assert torch.equal(again(masks=images[:, 0] // 128, seeds=[0, 1], guidance_scale=400, **drawn).images, steered)
    assert StableDiffusionPipeline.from_pretrained(tmp_path).unet.config.in_channels == 4
    with pytest.raises(WeightsError, match="the weights are of denoiser"):  # its head reads the prompt's activations
        FewShotPipeline.from_pretrained(tmp_path, prompt="a cartoon portrait")
    with pytest.raises(ConfigError, match="classifier_free_scale"):
        FewShotPipeline.from_pretrained(stable_diffusion, classifier_free_scale=0.5)


def test_latent_diffusions_without_a_prompt_are_diffusers_own_bit_for_bit(tmp_path: Path) -> None:
    folder = write_unprompted(tmp_path / "theirs")
    drawn: dict[str, Any] = {"num_inference_steps": 3, "output_type": "np"}
    wanted = LDMPipeline.from_pretrained(folder)(2, torch.Generator().manual_seed(0), **drawn).images
    pipe = FewShotPipeline.from_pretrained(folder)
    found = pipe(num_images=2, guidance_scale=0, generator=torch.Generator().manual_seed(0), **drawn).images
    assert (found == wanted).all()
    pipe.save_pretrained(tmp_path / "mine")
    assert LDMPipeline.from_pretrained(tmp_path / "mine").unet.config.sample_size == 8
    with pytest.raises(ConfigError, match="reads no prompt"):
        FewShotPipeline.from_pretrained(folder, prompt="blond hair")


def test_activations_are_those_of_the_prompt(stable_diffusion: Path, tmp_path: Path) -> None:
    denoiser, x_t = adopted(stable_diffusion, tmp_path / "a"), torch.randn(2, 4, 8, 8)
    output, maps = denoiser.predict_with_features(x_t, 300, TAPS)
    assert torch.equal(output, denoiser.predict(x_t, 300))
    alone = adopted(stable_diffusion, tmp_path / "b", scale=1.0)
    for found, wanted in zip(maps, alone.features(x_t, 300, TAPS), strict=True):
        torch.testing.assert_close(found, wanted)
    other = adopted(stable_diffusion, tmp_path / "c", prompt="a cartoon portrait")
    assert not torch.allclose(other.features(x_t, 300, TAPS)[0], maps[0], atol=1e-3)
    assert [tap.reduction for tap in denoiser.describe_taps(TAPS)] == [2, 4]


@pytest.mark.parametrize("mode", ["exact", "readout"])
def test_the_gradient_is_with_respect_to_the_latents(stable_diffusion: Path, tmp_path: Path, mode: str) -> None:
    denoiser = adopted(stable_diffusion, tmp_path)
    denoiser.network.double()
    stream = torch.Generator().manual_seed(0)

    def likelihood(maps: Any, _timestep: int) -> Tensor:
        return -maps[0].square().mean((1, 2, 3)) + maps[1].sin().mean((1, 2, 3))

    readout = ReadoutGuidance(denoiser, likelihood, TAPS)
    guidance = ExactGuidance(denoiser, likelihood, TAPS, 100) if mode == "exact" else readout
    x_t, direction = torch.randn(2, 1, 4, 8, 8, generator=stream, dtype=torch.float64)
    alpha = torch.tensor(0.3, dtype=torch.float64)
    x_t.requires_grad_()
    gradient = likelihood_gradient(guidance(x_t, 400, alpha)[1], x_t)
    ends = [guidance(x_t.detach() + sign * 1e-5 * direction, 400, alpha)[1] for sign in (1, -1)]
    numeric = float(ends[0] - ends[1]) / 2e-5
    assert float((gradient * direction).sum()) == pytest.approx(numeric, rel=1e-5)


def test_weights_say_whether_they_are_of_latents(stable_diffusion: Path, tmp_path: Path) -> None:
    held = adopted(stable_diffusion, tmp_path)
    found = load_denoiser(tmp_path, CPU)
    assert isinstance(found, LatentDenoiser)
    assert (found.digest, found.image_size, found.sample_shape) == (held.digest, SIZE, (4, 8, 8))
    with pytest.raises(WeightsError, match="found a denoiser of latents, expected one of pixels"):
        load_pixel_denoiser(tmp_path, CPU)
    assert not isinstance(found, PixelDenoiser)
    coded = found.encode(torch.randint(256, (3, 3, SIZE, SIZE), dtype=torch.uint8))
    assert coded.shape == (3, 4, 8, 8)
    assert found.decode(coded).shape == (3, 3, SIZE, SIZE)
