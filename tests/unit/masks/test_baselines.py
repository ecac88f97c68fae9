"""Generative baselines that follow masks: decoders of latents, the gradient in latents, and the jobs around them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pandas as pd
import pytest
import torch
from torch import Tensor

from attribute_helpers import save_denoiser
from baseline_helpers import SAMPLING, small_diffae, write_diffae
from fewshot_diffusion.baselines.base import LatentModel
from fewshot_diffusion.baselines.d2c import D2C
from fewshot_diffusion.config.baselines import D2CConfig
from fewshot_diffusion.config.denoiser import ScheduleConfig
from fewshot_diffusion.config.masks import LatentDecoderConfig, MaskBaseline, MaskSweepConfig
from fewshot_diffusion.data.image_set import ImageSet, save_image_set
from fewshot_diffusion.data.mask_set import MaskSet, load_masks, save_masks
from fewshot_diffusion.diffusion.denoiser import Denoiser
from fewshot_diffusion.diffusion.samples import load_samples, seconds_per_sample
from fewshot_diffusion.diffusion.sampling import WorkUnit
from fewshot_diffusion.errors import CorruptFileError, WeightsError
from fewshot_diffusion.images import to_signed
from fewshot_diffusion.masks import sweep
from fewshot_diffusion.masks.baselines.decoder import LatentDecoder, fit_latent_decoder, train_mask_decoder
from fewshot_diffusion.masks.baselines.guidance import LatentGuide
from fewshot_diffusion.masks.baselines.latents import (
    DecoderKey,
    LatentPairFiles,
    PairLatents,
    extract_mask_latents,
    load_pair_latents,
)
from fewshot_diffusion.masks.baselines.prior import NETWORKS, LatentPrior
from fewshot_diffusion.masks.baselines.sampling import FollowedMasks, draw_unit, sample_mask_baseline
from fewshot_diffusion.masks.baselines.sweep import LatentCandidates, choose_mask_baseline_scale
from fewshot_diffusion.masks.heads import mask_log_likelihood
from fewshot_diffusion.masks.metrics import confusion, miou
from fewshot_diffusion.masks.pairs import Pairs
from fewshot_diffusion.masks.row import GuideKey, MaskRow
from fewshot_diffusion.runtime import CPU
from fewshot_diffusion.storage.tables import read_csv, write_csv
from latent_model_helpers import D2C_RECIPE

CLASSES = ["background", "square", "other"]
Squares = Callable[[int], Pairs]
ROW = MaskRow("diffae", "main", 4, 30.0)
EVERY_STEP = (0, 999)


def small_d2c() -> LatentModel:
    torch.manual_seed(0)
    return D2C(D2CConfig.model_validate(D2C_RECIPE), ScheduleConfig(), 16).requires_grad_(False).eval()


MODELS: dict[str, Callable[[], LatentModel]] = {"diffae": small_diffae, "d2c": small_d2c}


def decoder_recipe(**changes: Any) -> LatentDecoderConfig:
    values = {"hidden_channels": 8, "updates": 3, "batch_size": 4, "learning_rate": 5e-3, "weight_decay": 0.0}
    return LatentDecoderConfig.model_validate({**values, "noise": 0.0, "flip": True, "precision": "float32", **changes})


def random_guide(baseline: str) -> LatentGuide:
    """Return a decoder whose every weight matters, beside an untrained prior."""
    prior = LatentPrior(baseline, MODELS[baseline](), CPU)
    torch.manual_seed(1)
    decoder = LatentDecoder(prior.shape, CLASSES, 16, 8)
    for parameter in decoder.parameters():
        parameter.data.normal_(std=0.3)
    return LatentGuide(prior, decoder.requires_grad_(False).eval())


def test_every_baseline_of_the_configuration_has_a_network() -> None:
    assert set(NETWORKS) == set(MODELS) == set(get_args(MaskBaseline))


@pytest.mark.parametrize("shape", [[6], [4, 4, 4], [4, 8, 8]])
@pytest.mark.parametrize("size", [16, 24])
def test_a_decoder_says_a_class_of_every_pixel(shape: list[int], size: int) -> None:
    decoder = LatentDecoder(shape, CLASSES, size, 8)
    latents = torch.randn(2, *shape)
    assert decoder(latents).shape == (2, 3, size, size)
    assert torch.equal(decoder(latents), decoder(latents.flatten(1))), "a prior draws maps, an encoder flat latents"
    again = LatentDecoder(**decoder.config)
    again.load_state_dict(decoder.state_dict())
    assert torch.equal(again(latents), decoder(latents))


def test_a_decoder_learns_the_masks_of_a_few_latents(squares: Squares) -> None:
    masks, values = squares(4).masks, torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
    latents = PairLatents(values, masks, (6,), CLASSES)  # type: ignore[arg-type]
    decoder, report = fit_latent_decoder(latents, decoder_recipe(updates=250, hidden_channels=16))
    assert report["pixel_accuracy"] > 0.97
    assert (decoder(values).argmax(1) == masks).float().mean() > 0.97  # type: ignore[attr-defined]
    shaken, _ = fit_latent_decoder(latents, decoder_recipe(noise=1.0))
    plain, _ = fit_latent_decoder(latents, decoder_recipe())
    assert not torch.equal(shaken.last.weight, plain.last.weight)


@pytest.mark.parametrize("baseline", MODELS)
def test_without_guidance_the_latents_are_the_models_own(baseline: str) -> None:
    guide, seeds = random_guide(baseline), [5, 9, 2]
    own = guide.prior.model.draw_latents(seeds, SAMPLING)
    masks = torch.ones(3, 16, 16, dtype=torch.uint8)
    outside = guide.predictor(masks, 100.0, (1000, 1000))
    for predictor in (guide.prior.plain, guide.predictor(masks, 0.0, EVERY_STEP), outside):
        assert torch.equal(guide.prior.draw(seeds, predictor, SAMPLING), own)


@pytest.mark.parametrize("baseline", MODELS)
def test_the_gradient_leads_to_the_wanted_mask(baseline: str, masks: Tensor) -> None:
    """On a prior that knows nothing, more lambda is more likelihood of each sample's own mask.

    The last timestep is left out, where 1 / sqrt(alpha_bar_t) makes any gradient too large.
    """
    guide, seeds, interval = random_guide(baseline), [0, 1, 2], (0, 950)
    sampling = SAMPLING.model_copy(update={"num_inference_steps": 10})
    found = []
    for scale in (0.0, 3.0, 30.0):
        latents = guide.prior.draw(seeds, guide.predictor(masks, scale, interval), sampling)
        found.append(mask_log_likelihood(guide.decoder(latents), masks))
    assert (found[0] < found[1]).all() and (found[1] < found[2]).all(), found


@pytest.mark.parametrize("baseline", MODELS)
def test_a_sample_is_a_function_of_its_seed_and_its_mask(baseline: str, masks: Tensor) -> None:
    guide, wanted = random_guide(baseline), MaskSet(masks, torch.arange(3), CLASSES)

    def drawn(seeds: range, micro_batch: int | None = None) -> Tensor:
        sampling = SAMPLING.model_copy(update={"micro_batch": micro_batch})
        return draw_unit(WorkUnit(0, seeds), guide, wanted, 30.0, sampling)

    together = drawn(range(3, 9)).int()
    assert together.shape == (6, 3, 16, 16)
    for other in (torch.cat([drawn(range(3, 6)), drawn(range(6, 9))]), drawn(range(3, 9), micro_batch=2)):
        assert (together - other.int()).abs().max() <= 1, "rounding of sums alone"
    shifted = MaskSet(masks.roll(1, 0), torch.arange(3), CLASSES)
    assert not torch.equal(draw_unit(WorkUnit(0, range(3, 9)), guide, shifted, 30.0, SAMPLING).int(), together)


@pytest.fixture
def root(tmp_path: Path, squares: Squares, tiny_denoiser: Denoiser) -> Path:
    """Weights of a baseline and a denoiser, six pairs of which four are chosen, and a trained decoder."""
    pairs, ids = squares(6), torch.arange(6) + 10
    save_image_set(ImageSet(pairs.images, ids, pd.DataFrame(index=range(6))), tmp_path / "images.parquet", {})
    save_masks(MaskSet(pairs.masks, ids, CLASSES), tmp_path / "masks.parquet", {})
    write_csv(tmp_path / "pairs.csv", pd.DataFrame({"id": [12, 10, 15, 11]}))
    save_denoiser(tiny_denoiser, tmp_path / "denoiser")
    files = LatentPairFiles(
        images=tmp_path / "images.parquet",
        masks=tmp_path / "masks.parquet",
        pairs=tmp_path / "pairs.csv",
        weights=write_diffae(tmp_path / "diffae"),
    )
    which = DecoderKey("diffae", 4)
    extract_mask_latents(decoder_recipe(), which, files, tmp_path / "latents.safetensors", "cpu")
    train_mask_decoder(decoder_recipe(), which, tmp_path / "latents.safetensors", tmp_path / "decoder", "cpu")
    return tmp_path


def sample(root: Path, name: str, scale: float = 30.0, seeds_per_mask: int = 2, row: MaskRow = ROW) -> Path:
    wanted = FollowedMasks(
        masks=root / "masks.parquet",
        seeds_per_mask=seeds_per_mask,
        weights=root / "diffae",
        guide=root / "decoder",
        denoiser=root / "denoiser",
    )
    chosen = MaskRow(**row.key, guidance_scale=scale)
    sampling = SAMPLING.model_copy(update={"unit_size": 3})
    sample_mask_baseline(sampling, chosen, wanted, root / f"units-{name}", root / f"{name}.parquet", "cpu")
    return root / f"{name}.parquet"


def test_latents_are_those_of_the_chosen_pairs_and_their_mirror_images(root: Path, squares: Squares) -> None:
    found, _ = load_pair_latents(root / "latents.safetensors", {"baseline": "diffae", "shots": 4})
    order, pairs = torch.tensor([2, 0, 5, 1]), squares(6)
    images, masks = pairs.images[order], pairs.masks[order]
    seen = torch.cat([images, images.flip(-1)])
    torch.testing.assert_close(found.values, small_diffae().encode(to_signed(seen)), rtol=1e-3, atol=1e-3)
    assert torch.equal(found.masks, torch.cat([masks, masks.flip(-1)]))
    assert (found.shape, found.classes) == ((6,), CLASSES)
    with pytest.raises(CorruptFileError, match="was made for shots"):
        load_pair_latents(root / "latents.safetensors", {"baseline": "diffae", "shots": 6})


def test_samples_are_a_set_like_any_other(root: Path) -> None:
    """Kept units are not redone, more samples of each mask extend a set, and their cost is counted."""
    whole, one = load_samples([sample(root, "whole")]), load_samples([sample(root, "one", seeds_per_mask=1)])
    assert whole.seeds.tolist() == list(range(6)) and one.seeds.tolist() == [0, 1, 2]
    assert torch.equal(whole.pixels[:3], one.pixels)
    assert whole.forwards_per_sample == one.forwards_per_sample > 0
    assert seconds_per_sample([root / "whole.timing.json"]) > 0
    before = (root / "whole.parquet").read_bytes()
    assert sample(root, "whole").read_bytes() == before
    assert not torch.equal(load_samples([sample(root, "free", 0.0)]).pixels, whole.pixels)


def test_a_decoder_of_another_model_or_of_other_pairs_is_refused(root: Path) -> None:
    with pytest.raises(WeightsError, match="the weights are of shots 4, expected 5"):
        sample(root, "other", row=MaskRow("diffae", "main", 5, 30.0))
    config = (root / "diffae" / "config.json").read_text()
    (root / "diffae" / "config.json").write_text(config + "\n")  # a model of another digest
    with pytest.raises(WeightsError, match="the weights are of weights"):
        sample(root, "other")


def test_a_scale_is_chosen_as_for_other_methods(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class AllSquare:
        def to(self, _device: object) -> "AllSquare":
            return self

        def segment(self, images: Tensor) -> Tensor:
            return torch.ones(len(images), 16, 16, dtype=torch.uint8)

    monkeypatch.setattr(sweep, "load_segmenter", lambda _folder, role, _classes: {"tuning_judge": AllSquare()}[role])
    settings = MaskSweepConfig(guidance_scales=[1, 10], masks=3, first_seed=0, tolerance=0.02)
    files = LatentCandidates(
        samples=[sample(root, f"{scale:g}", scale, seeds_per_mask=1) for scale in (1.0, 10.0)],
        masks=root / "masks.parquet",
        segmenter=root,
        guide=root / "decoder",
        weights=root / "diffae",
    )
    key = GuideKey("diffae", "main", 4)
    choose_mask_baseline_scale(settings, key, files, root / "sweep.csv", "cpu")
    table = read_csv(root / "sweep.csv")
    assert list(table.columns) == sweep.MASK_SWEEP_COLUMNS
    assert table["guidance_scale"].tolist() == [1, 10]
    assert table["chosen"].tolist() == [True, False], "the smallest of equals"
    prior = LatentPrior("diffae", small_diffae(), CPU)
    guide = LatentGuide.load(prior, root / "diffae", root / "decoder", 4, CLASSES)
    shown = load_masks(root / "masks.parquet").pixels[:3]
    expected = [miou(confusion(shown, guide.segment(load_samples([path]).pixels), 3)) for path in files.samples]
    assert table["own_miou"].tolist() == pytest.approx(expected, rel=1e-3)
