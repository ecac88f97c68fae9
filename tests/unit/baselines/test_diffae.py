"""The diffusion autoencoder: its decoder reads the latent, all of it learns, a sample is a function of its seed."""

import pytest
import torch

from baseline_helpers import SAMPLING, SCHEDULE, SIZE, baselines, random_images, small_diffae
from fewshot_diffusion.baselines.diffae import DiffAE
from fewshot_diffusion.baselines.models import build_baseline
from fewshot_diffusion.config.baselines import DiffAEConfig


def test_every_parameter_of_a_stage_gets_a_gradient_and_no_other_does() -> None:
    model = build_baseline("diffae", baselines(), SCHEDULE, SIZE)
    examples = {"images": random_images(3), "latents": torch.randn(3, 6)}
    for stage, kind in model.stages.items():
        model.zero_grad(set_to_none=True)
        loss = model.loss(stage, examples[kind], 0.0, torch.Generator().manual_seed(0))
        assert loss.shape == ()
        loss.backward()
        moved = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
        assert moved == {name for name, _ in model.named_parameters() if name.startswith(f"{stage}.")}


def test_a_loss_is_a_function_of_its_stream() -> None:
    model = small_diffae()
    streams = [torch.Generator().manual_seed(seed) for seed in (0, 0, 1)]
    first, again, other = (float(model.loss("autoencoder", random_images(3), 0.0, stream)) for stream in streams)
    assert first == again != other


def test_the_decoder_normalises_groups_by_timestep_and_latent() -> None:
    """Adaptive group norm: with its scale and shift taken away, neither the latent nor the timestep is seen."""
    model = small_diffae()
    decoder = model.autoencoder["decoder"]  # type: ignore[index]
    x_t, latents = random_images(2), torch.randn(2, 6, generator=torch.Generator().manual_seed(2))

    def decoded(latents: torch.Tensor, timestep: int = 500) -> torch.Tensor:
        return decoder(x_t, torch.tensor([timestep]), latents)  # type: ignore[no-any-return,operator]

    assert not torch.allclose(decoded(latents), decoded(-latents), atol=1e-4)
    assert not torch.allclose(decoded(latents), decoded(latents, 10), atol=1e-4)
    for name, parameter in decoder.named_parameters():  # type: ignore[union-attr]
        if "time_emb_proj" in name:
            parameter.zero_()
    assert torch.equal(decoded(latents), decoded(-latents, 10))


def test_a_sample_is_a_function_of_its_own_seed() -> None:
    model = small_diffae()
    latents = model.draw_latents([3, 5, 8], SAMPLING)
    images = model.decode(latents, [3, 5, 8], SAMPLING)
    assert latents.shape == (3, 6)
    assert images.shape == (3, 3, SIZE, SIZE)
    alone = model.draw_latents([5], SAMPLING)
    torch.testing.assert_close(alone[0], latents[1])
    torch.testing.assert_close(model.decode(alone, [5], SAMPLING)[0], images[1])
    assert not torch.allclose(model.decode(alone, [6], SAMPLING)[0], images[1])


def test_latents_are_normalised_by_what_the_model_has_seen_and_back() -> None:
    model, clean = small_diffae(), random_images(32)
    latents = model.encode(clean)
    torch.testing.assert_close(latents.mean(0), torch.zeros(6), atol=1e-5, rtol=0)
    torch.testing.assert_close(latents.std(0, correction=0), torch.ones(6), atol=1e-4, rtol=0)
    torch.testing.assert_close(model.unnormalised(latents), model.posterior_mean(clean))
    assert model.reconstruct(clean[:2], SAMPLING).shape == clean[:2].shape


def test_what_config_says_builds_the_model_again() -> None:
    model = small_diffae()
    config = model.config
    again = DiffAE(DiffAEConfig.model_validate(config["settings"]), SCHEDULE, config["image_size"])
    again.load_state_dict(model.state_dict(), strict=True)
    assert config["schedule"] == SCHEDULE.model_dump(mode="json")


@pytest.mark.parametrize(("key", "value"), [("latent_size", 0), ("pool_size", 9)])
def test_a_recipe_out_of_range_names_its_key(key: str, value: int) -> None:
    with pytest.raises(ValueError, match=key):
        baselines(**{key: value})
