"""FewShotPipeline: diffusers' pipeline without guidance, the rules' bytes with it; what it reads, keeps and refuses."""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from diffusers import (
    DDIMPipeline,
    DDIMScheduler,
    DDPMPipeline,
    DDPMScheduler,
    DiffusionPipeline,
    FlowMatchEulerDiscreteScheduler,
    UNet2DConditionModel,
    UNet2DModel,
)
from diffusers.utils import hub_utils
from PIL import Image
from torch import Tensor

from attribute_helpers import head_settings, save_denoiser
from fewshot_diffusion import FewShotPipeline
from fewshot_diffusion.attributes.directions import directed
from fewshot_diffusion.attributes.features import extract_attribute_features, noised_shots
from fewshot_diffusion.attributes.guidance import attribute_guidance
from fewshot_diffusion.attributes.heads import load_head, train_attribute_head
from fewshot_diffusion.attributes.shots import ShotFiles
from fewshot_diffusion.config.attributes import AttributeHeadConfig
from fewshot_diffusion.config.masks import MaskHeadConfig, MaskTapsConfig
from fewshot_diffusion.data.image_set import ImageSet, save_image_set
from fewshot_diffusion.data.mask_set import MaskSet, save_masks
from fewshot_diffusion.diffusion.denoiser import PixelDenoiser, unet_config
from fewshot_diffusion.diffusion.guidance import guided, unguided
from fewshot_diffusion.diffusion.sampling import count_forwards, draw_units, plan_units
from fewshot_diffusion.errors import ConfigError, DataError, FewshotError, WeightsError
from fewshot_diffusion.judges import AttributeClassifier
from fewshot_diffusion.masks.features import extract_mask_features
from fewshot_diffusion.masks.guidance import ExactGuide, ReadoutGuide
from fewshot_diffusion.masks.heads import load_mask_head, train_mask_head
from fewshot_diffusion.masks.pairs import GuideFiles
from fewshot_diffusion.masks.row import GuideKey
from fewshot_diffusion.pipeline import layout
from fewshot_diffusion.pipeline.steering import guidance_of, terms_of
from fewshot_diffusion.storage.checkpoints import CheckpointFolder
from fewshot_diffusion.storage.weights import weights_digest
from support import ROOT, smoke_config

TRAINED = {"beta_schedule": "squaredcos_cap_v2", "prediction_type": "v_prediction"}
BRIGHT = torch.arange(12) % 2 == 0
QUICK = {"taps": ["mid_block", "up_blocks.0"], "readout_timesteps": [40, 400], "readout_draws": 1, "l2": [0.1]}
MASK_RECIPE = {"updates": 5, "readout_timesteps": [100, 500], "readout_draws": 1}
CLASSES = ["dark", "bright"]


def shots() -> Tensor:
    """Twelve images, every other one of them bright."""
    stream = torch.Generator().manual_seed(1)
    noise = torch.randint(100, (12, 3, 16, 16), generator=stream)
    return (noise + 100 * BRIGHT.view(-1, 1, 1, 1)).to(torch.uint8)


def masks() -> Tensor:
    return shots()[:, 0] // 100


@pytest.fixture
def pipe(tiny_unet: UNet2DModel) -> FewShotPipeline:
    return quiet(FewShotPipeline(tiny_unet, DDPMScheduler(**TRAINED)))


@pytest.fixture
def fitted(pipe: FewShotPipeline) -> FewShotPipeline:
    """Two attributes and part masks, in both modes."""
    for mode in ("exact", "readout"):
        pipe.fit("Bright", shots(), BRIGHT, mode, **QUICK)
        pipe.fit("First", shots(), torch.arange(12) < 6, mode, **{**QUICK, "taps": "up_blocks.0"})
        pipe.fit_masks(shots()[:4], masks()[:4], CLASSES, mode, **MASK_RECIPE)
    return pipe


def quiet(pipe: Any) -> Any:
    pipe.set_progress_bar_config(disable=True)
    return pipe


def pixels(images: list[Image.Image]) -> Tensor:
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)


# --- without guidance it is diffusers', with seeds the rules' ---


@pytest.mark.parametrize("clip_sample", [False, True])
@pytest.mark.parametrize("eta", [0.0, 0.7])
@pytest.mark.parametrize("one_each", [False, True])
def test_at_scale_0_it_is_the_ddim_pipeline_bit_for_bit(
    fitted: FewShotPipeline, eta: float, clip_sample: bool, one_each: bool
) -> None:
    """Of the same generators, scheduler and weights, those of a DDPM; whatever is fitted."""
    trained = DDPMScheduler(**TRAINED, clip_sample=clip_sample)
    own, theirs = quiet(FewShotPipeline(fitted.unet, trained)), quiet(DDIMPipeline(fitted.unet, trained))
    own.heads = fitted.heads

    def generator() -> Any:
        streams = [torch.Generator().manual_seed(seed) for seed in (5, 6, 7)]
        return streams if one_each else streams[0]

    options = {"eta": eta, "num_inference_steps": 4}
    for output_type in ("np", "pil"):
        expected = theirs(batch_size=3, generator=generator(), output_type=output_type, **options).images
        for call in ({}, {"wanted": "Bright", "guidance_scale": 0}):
            call = {"num_images": 3, "generator": generator(), "output_type": output_type} | options | call
            found = own(**call).images
            assert np.array_equal(np.stack(found), np.stack(expected))
    steered = own("Bright", num_images=3, generator=generator(), output_type="pt", return_dict=False, **options)[0]
    assert steered.shape == (3, 3, 16, 16) and not np.array_equal(steered.permute(0, 2, 3, 1).numpy(), expected)


@pytest.mark.parametrize("how", ["unguided", "exact", "readout", "masks exact", "masks readout"])
def test_with_seeds_it_draws_the_samples_of_the_rules(fitted: FewShotPipeline, tmp_path: Path, how: str) -> None:
    denoiser, interval = fitted.denoiser, (100, 950)
    changes = {"num_inference_steps": 3, "unit_size": 2, "eta": 0.5, "clip_sample": True, "guidance_interval": interval}
    settings = smoke_config().sampling.model_copy(update={**changes, "timestep_spacing": "leading"})
    mode, head = how.split()[-1], fitted.heads["Bright"].get(how)
    call: dict[str, Any] = {}
    plain = unguided(denoiser)

    def predictor_of(unit: Any) -> Any:
        if how == "unguided":
            return plain
        if head is not None:
            return guided(attribute_guidance(mode, denoiser, head.head, True), 20.0, "v_prediction", plain, interval)
        guide = {"exact": ExactGuide, "readout": ReadoutGuide}[mode](denoiser, fitted.heads["masks"][mode].head)
        wanted = masks()[[seed % 3 for seed in unit.seeds]]
        return guided(guide.guidance(wanted), 20.0, "v_prediction", plain, interval)

    expected = draw_units(plan_units(0, 3, 2), predictor_of, denoiser, settings, CheckpointFolder(tmp_path, "mine"))[0]
    if how != "unguided":
        call = {"wanted": "Bright", "mode": mode} if head else {"masks": masks()[:3], "mode": mode}
    found = fitted(**call, seeds=range(6), batch_size=2, guidance_scale=20, eta=0.5, num_inference_steps=3).images
    assert torch.equal(pixels(found), expected.images)


def test_heads_of_exact_steer_directly_at_less_than_their_cost(fitted: FewShotPipeline) -> None:
    denoiser, x_t, alpha_bar_t = fitted.denoiser, torch.randn(2, 3, 16, 16), torch.tensor(0.3)
    steps = {}
    for mode in ("exact", "direct"):
        terms = terms_of(fitted.heads, {"Bright": True}, mode)
        steps[mode] = guided(guidance_of(denoiser, terms, first=0), 20.0, "v_prediction")
    rule = attribute_guidance("direct", denoiser, fitted.heads["Bright"]["exact"].head, True)
    expected = guided(rule, 20.0, "v_prediction")(x_t, 600, alpha_bar_t)
    torch.testing.assert_close(steps["direct"](x_t, 600, alpha_bar_t), expected)
    costs = {mode: count_forwards(step, denoiser) for mode, step in steps.items()}
    assert 1 < costs["direct"] < costs["exact"] - 0.5
    call = {"seeds": range(2), "num_inference_steps": 2}
    drawn = [pixels(fitted("Bright", mode=mode, **call).images) for mode in ("direct", "exact")]
    assert not torch.equal(*drawn)
    shown = fitted(masks=masks()[:2], mode="direct", guidance_scale=400, num_inference_steps=2).images
    assert len(shown) == 2
    exact, direct = (fitted.predict_proba("Bright", shots(), mode) for mode in ("exact", "direct"))
    assert torch.equal(exact, direct)


def test_several_heads_add_their_log_likelihoods_by_value_and_weight(fitted: FewShotPipeline) -> None:
    denoiser, x_t, alpha_bar_t = fitted.denoiser, torch.randn(3, 3, 16, 16), torch.tensor(0.3)
    for mode in ("exact", "readout"):
        wanted, weights = {"Bright": True, "First": False}, {"Bright": 2.5, "masks": 7.0}
        terms = terms_of(fitted.heads, wanted, mode, weights, masks()[:2])
        output, found = guidance_of(denoiser, terms, first=1)(x_t, 600, alpha_bar_t)
        alone = {
            name: attribute_guidance(mode, denoiser, fitted.heads[name][mode].head, value)(x_t, 600, alpha_bar_t)[1]
            for name, value in wanted.items()
        }
        guide = {"exact": ExactGuide, "readout": ReadoutGuide}[mode](denoiser, fitted.heads["masks"][mode].head)
        shown = guide.guidance(masks()[[1, 0, 1]])(x_t, 600, alpha_bar_t)[1]
        torch.testing.assert_close(found, 2.5 * alone["Bright"] + alone["First"] + 7 * shown)
        torch.testing.assert_close(output, denoiser.predict(x_t, 600))
    drawn = fitted({"Bright": True, "First": False}, masks=masks()[:2], weights={"masks": 40}, num_inference_steps=2)
    assert len(drawn.images) == 2, "as many as there are masks"


@pytest.mark.parametrize(("share", "number"), [(0.0, 0), (0.25, 1), (0.5, 2), (0.9, 4), (1.0, 4)])
def test_a_share_of_the_batch_may_be_wanted(fitted: FewShotPipeline, share: float, number: int) -> None:
    """The samples nearest to the attribute are guided towards it, each as it would be alone, the others away."""
    denoiser, x_t, alpha_bar_t = fitted.denoiser, torch.randn(4, 3, 16, 16), torch.tensor(0.3)
    maps = denoiser.predict_with_features(x_t, 600, ["up_blocks.0"])[1]
    logit = fitted.heads["First"]["readout"].head(maps, 600).detach()

    def guided_by(wanted: bool | float) -> Tensor:
        samples = x_t.clone().requires_grad_()
        terms = terms_of(fitted.heads, {"First": wanted}, "readout")
        log_prob = guidance_of(denoiser, terms, first=0)(samples, 600, alpha_bar_t)[1]
        (gradient,) = torch.autograd.grad(log_prob.sum(), samples)
        return gradient

    shown = logit >= logit.sort(descending=True).values[number - 1] if number else torch.zeros(4, dtype=torch.bool)
    expected = torch.where(shown.view(-1, 1, 1, 1), guided_by(True), guided_by(False))
    assert not torch.allclose(guided_by(True), guided_by(False), rtol=1e-3)
    torch.testing.assert_close(guided_by(share), expected)


def test_samples_of_a_share_depend_on_each_other(fitted: FewShotPipeline) -> None:
    drawn = [fitted({"First": wanted}, seeds=range(2), num_inference_steps=2).images for wanted in (0.5, True)]
    assert not torch.equal(*map(pixels, drawn))


def test_steering_adds_the_difference_of_means_at_the_cost_of_no_guidance(
    pipe: FewShotPipeline, tmp_path: Path
) -> None:
    fitted = pipe.fit("Bright", shots(), BRIGHT, "steering", **{**QUICK, "taps": "mid_block", "flip": False})
    denoiser, settings = pipe.denoiser, AttributeHeadConfig.model_validate(fitted.report["settings"])
    (_, x_t), (_, later) = noised_shots(denoiser, shots(), settings)
    maps = denoiser.features(x_t, 40, ["mid_block"])[0].detach()
    torch.testing.assert_close(fitted.head.at(40), maps[BRIGHT].mean(0) - maps[~BRIGHT].mean(0), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(fitted.head.at(220), (fitted.head.at(40) + fitted.head.at(400)) / 2)

    predict, seen = directed(denoiser, {fitted.head: -2.0}), []
    entered = pipe.unet.up_blocks[0].resnets[0].register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    output = predict(later, 400, torch.tensor(0.5))
    entered.remove()
    (plain,) = denoiser.features(later, 400, ["mid_block"])
    torch.testing.assert_close(seen[0][:, :16], plain - 2 * fitted.head.at(400))  # the skip comes behind it
    assert not torch.equal(output, denoiser.predict(later, 400))
    assert count_forwards(predict, denoiser) <= 1.05

    pipe.save_pretrained(tmp_path)
    found = quiet(FewShotPipeline.from_pretrained(tmp_path))
    drawn = [one("Bright", seeds=range(2), num_inference_steps=3).images for one in (pipe, found)]
    assert torch.equal(*map(pixels, drawn)), "by the only mode there is"
    assert not torch.equal(pixels(drawn[0]), pixels(pipe(seeds=range(2), num_inference_steps=3).images))
    with pytest.raises(ConfigError, match="steering knows true and false"):
        pipe({"Bright": 0.5})
    with pytest.raises(ConfigError, match="expected a head of an attribute"):
        pipe.predict_proba("Bright", shots())


# --- what is learned is what the rules learn ---


@pytest.mark.parametrize("mode", ["exact", "readout"])
def test_heads_have_the_bytes_of_the_rules_heads(tiny_denoiser: PixelDenoiser, tmp_path: Path, mode: str) -> None:
    """Through the files of the jobs, and through a pipeline that reads the same denoiser's folder."""
    ids, folder = torch.arange(12), tmp_path / "denoiser"
    save_denoiser(tiny_denoiser, folder)
    pipe = FewShotPipeline.from_pretrained(folder)
    save_image_set(ImageSet(shots(), ids, pd.DataFrame({"Bright": BRIGHT})), tmp_path / "pool", {})
    pd.DataFrame({"id": ids, "label": BRIGHT}).to_csv(tmp_path / "shots.csv", index=False)
    settings = head_settings(**{**QUICK, "positive_shots": 6, "negative_shots": 6})
    files = ShotFiles("Bright", tmp_path / "shots.csv", tmp_path / "pool")
    extract_attribute_features(settings, mode, files, folder, tmp_path / "cache", "cpu")
    train_attribute_head(settings, mode, "Bright", tmp_path / "cache", tmp_path / "head")
    expected = load_head(tmp_path / "head", {"mode": mode})[0].state_dict()
    options = settings.model_dump(exclude={"positive_shots", "negative_shots", "precision"})
    assert_equal(pipe.fit("Bright", shots(), BRIGHT, mode, **options).head.state_dict(), expected)

    save_masks(MaskSet(masks(), ids, CLASSES), tmp_path / "masks", {})
    recipe = MaskHeadConfig(batch_size=3, learning_rate=0.01, flip=True, precision="float32", **MASK_RECIPE)
    taps = MaskTapsConfig(taps=["up_blocks.1", "mid_block"], feature_timestep=50)
    row, pairs = (
        GuideKey(mode, "any", 12),
        GuideFiles(denoiser=folder, images=tmp_path / "pool", masks=tmp_path / "masks", flip_pairs=[(0, 1)]),
    )
    extract_mask_features(recipe, taps, row, pairs, tmp_path / "maps", "cpu")
    train_mask_head(recipe, "nearest", row, tmp_path / "maps", tmp_path / "mask_head", "cpu")
    wanted = load_mask_head(tmp_path / "mask_head", row, weights_digest(folder), CLASSES).state_dict()
    options = recipe.model_dump(exclude={"precision"}) | taps.model_dump() | {"flip_pairs": [(0, 1)]}
    assert_equal(pipe.fit_masks(shots(), masks(), CLASSES, mode, **options).head.state_dict(), wanted)


def assert_equal(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], value) for name, value in expected.items())


def test_images_and_labels_may_come_in_many_forms(pipe: FewShotPipeline, tmp_path: Path) -> None:
    pictures = [Image.fromarray(image) for image in shots().permute(0, 2, 3, 1).numpy()]
    for i, picture in enumerate(pictures):
        picture.save(tmp_path / f"{i:02d}.png")
    (tmp_path / "labels.csv").write_text("no image")
    expected = pipe.fit("Bright", shots(), BRIGHT, **QUICK).head.state_dict()
    named = {f"{i:02d}.png": int(BRIGHT[i]) for i in range(12)}
    for images, labels in [
        (shots().permute(0, 2, 3, 1).numpy(), BRIGHT.numpy()),
        (list(shots()), BRIGHT.tolist()),
        (pictures, pd.Series(BRIGHT.numpy())),
        ([tmp_path / f"{i:02d}.png" for i in range(12)], BRIGHT.float()),
        (tmp_path, BRIGHT.int().tolist()),
        (str(tmp_path), named),
    ]:
        assert_equal(pipe.fit("Bright", images, labels, **QUICK).head.state_dict(), expected)
    wide = [picture.resize((64, 32)) for picture in pictures]
    assert pipe.predict_proba("Bright", wide).shape == (12,), "cut and resized"


def test_the_tap_that_predicts_the_shots_best_is_chosen_and_said(
    pipe: FewShotPipeline, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "fewshot_diffusion")
    head = pipe.fit("Bright", shots(), BRIGHT, taps="auto")
    losses = {tap: fit["log_loss"] for tap, fit in head.report["compared"].items()}
    assert list(losses) == ["mid_block", "up_blocks.0", "up_blocks.1"] and len(set(losses.values())) == 3
    assert head.taps == head.report["settings"]["taps"] == [min(losses, key=lambda tap: losses[tap])]
    assert f"Bright (exact) reads {head.taps[0]}: accuracy" in caplog.text
    assert pipe.fit("Bright", shots(), BRIGHT).taps == ["up_blocks.1"], "the usual one"


def test_heads_tell_of_images_what_they_see(fitted: FewShotPipeline) -> None:
    for mode in ("exact", "readout"):
        probability = fitted.predict_proba("Bright", shots(), mode)
        right = float(((probability > 0.5) == BRIGHT).double().mean())
        assert fitted.score("Bright", shots(), BRIGHT, mode) == right > 0.7
        found = fitted.predict_masks(shots(), mode)
        assert found.shape == (12, 16, 16) and found.dtype == torch.uint8
        assert 0 < fitted.score("masks", shots(), masks(), mode) <= 1
        assert fitted.score("masks", shots(), found, mode) == 1


@pytest.mark.parametrize("kind", ["function", "classifier", "folder"])
def test_a_judge_says_which_share_is_as_wanted(fitted: FewShotPipeline, tmp_path: Path, kind: str) -> None:
    seen: list[Tensor] = []

    class Judge(AttributeClassifier):
        def probability(self, images: Tensor, attribute: str, batch_size: int = 128) -> Tensor:
            seen.append(images)
            return torch.tensor({"Bright": [0.9, 0.8, 0.1, 0.7], "First": [0.1, 0.9, 0.1, 0.2]}[attribute])

    judge: Any = Judge(["Bright", "First"])
    if kind == "function":
        judge = lambda images: seen.append(images) or torch.tensor([0.9, 0.1, 0.3, 0.7])  # noqa: E731
    options = {"seeds": range(4), "num_inference_steps": 2, "guidance_scale": 5.0}
    if kind == "folder":
        with pytest.raises(WeightsError, match=r"config\.json"):
            fitted.evaluate(tmp_path, "Bright", **options)
        return
    found = fitted.evaluate(judge, {"Bright": True, "First": False}, **options)
    assert found["share"] == 0.5 and found["n"] == 4 and 0 < found["ci_low"] < 0.5 < found["ci_high"] < 1
    drawn = fitted({"Bright": True, "First": False}, **options).images
    assert torch.equal(seen[0], pixels(drawn))


# --- what it keeps and finds again ---


def test_a_saved_pipeline_comes_back_with_its_heads_and_diffusers_reads_the_rest(
    fitted: FewShotPipeline, tmp_path: Path
) -> None:
    call = {"wanted": {"Bright": True}, "masks": masks()[:2], "seeds": range(2), "num_inference_steps": 2}
    fitted.save_pretrained(tmp_path / "mine")
    found = quiet(FewShotPipeline.from_pretrained(tmp_path / "mine"))
    assert {name: list(modes) for name, modes in found.heads.items()} == {
        name: ["exact", "readout"] for name in ("Bright", "First", "masks")
    }
    assert found.heads["Bright"]["exact"].report == fitted.heads["Bright"]["exact"].report
    for mode in ("exact", "readout"):
        assert torch.equal(pixels(found(**call, mode=mode).images), pixels(fitted(**call, mode=mode).images))
    for kind in (DDIMPipeline, DiffusionPipeline):
        theirs = kind.from_pretrained(tmp_path / "mine")
        assert type(theirs) is DDIMPipeline and theirs.scheduler.config.prediction_type == "v_prediction"
        assert_equal(theirs.unet.state_dict(), fitted.unet.state_dict())
    del found.heads["First"]
    found.save_pretrained(tmp_path / "mine")
    folders = sorted(path.name for path in (tmp_path / "mine" / "heads").iterdir())
    assert folders == ["Bright", "Bright.readout", "masks", "masks.readout"]
    assert {path.name for path in (tmp_path / "mine/heads/Bright").iterdir()} == {
        "config.json", "diffusion_pytorch_model.safetensors",
    }  # fmt: skip
    fitted.unet.conv_out.bias.data += 1
    fitted.unet.save_pretrained(tmp_path / "mine" / "unet")
    with pytest.raises(WeightsError, match="the weights are of denoiser"):
        FewShotPipeline.from_pretrained(tmp_path / "mine")


def test_what_is_pushed_to_the_hub_is_what_is_saved_and_can_be_fetched(
    fitted: FewShotPipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As far as it can be tried without a connection."""
    pushed: dict[str, bytes] = {}

    def upload(folder_path: str, **_options: object) -> None:
        paths = (path for path in Path(folder_path).rglob("*") if path.is_file())
        pushed.update({str(path.relative_to(folder_path)): path.read_bytes() for path in paths})

    card = SimpleNamespace(save=lambda path: Path(path).write_text("card"))
    monkeypatch.setattr(hub_utils, "create_repo", lambda *_, **__: SimpleNamespace(repo_id="me/mine"))
    monkeypatch.setattr(hub_utils, "load_or_create_model_card", lambda *_, **__: card)
    monkeypatch.setattr(hub_utils, "populate_model_card", lambda found: found)
    monkeypatch.setattr(hub_utils, "upload_folder", upload)
    fitted.push_to_hub("me/mine")
    assert {"model_index.json", "unet/config.json", "scheduler/scheduler_config.json", "README.md"} < pushed.keys()
    assert {name for name in pushed if name.startswith("heads/masks/")} == {
        "heads/masks/config.json", "heads/masks/diffusion_pytorch_model.safetensors",
    }  # fmt: skip

    def fetch(name: str, allow_patterns: list[str], **options: object) -> str:
        assert (name, options) == ("me/mine", {"revision": "main"})
        for path, data in pushed.items():
            if any(Path(path).match(pattern) or path.startswith(pattern.rstrip("*")) for pattern in allow_patterns):
                (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
                (tmp_path / path).write_bytes(data)
        return str(tmp_path)

    monkeypatch.setattr(layout, "snapshot_download", fetch)
    assert set(FewShotPipeline.from_pretrained("me/mine", revision="main").heads) == {"Bright", "First", "masks"}


LAYOUTS: dict[str, Callable[[UNet2DModel, Path], Path]] = {
    "DDPMPipeline": lambda unet, folder: saved(DDPMPipeline(unet, DDPMScheduler(**TRAINED)), folder),
    "DDIMPipeline": lambda unet, folder: saved(DDIMPipeline(unet, DDIMScheduler(**TRAINED)), folder),
    "unet/ of a pipeline": lambda unet, folder: saved(DDPMPipeline(unet, DDPMScheduler(**TRAINED)), folder) / "unet",
    "a network and a scheduler": lambda unet, folder: saved(unet, saved(DDPMScheduler(**TRAINED), folder)),
}


def saved(part: Any, folder: Path) -> Path:
    part.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("kind", LAYOUTS)
def test_layouts_of_diffusers_are_read_as_they_are(tiny_unet: UNet2DModel, tmp_path: Path, kind: str) -> None:
    pipe = quiet(FewShotPipeline.from_pretrained(LAYOUTS[kind](tiny_unet, tmp_path / "mine")))
    expected = quiet(DDIMPipeline(tiny_unet, DDPMScheduler(**TRAINED)))
    options = {"num_inference_steps": 3, "output_type": "np"}
    found, known = (one(generator=torch.Generator().manual_seed(0), **options).images for one in (pipe, expected))
    np.testing.assert_allclose(found, known, atol=1e-6)  # weights elsewhere in memory may round otherwise


def test_a_scheduler_may_be_named_and_of_a_learned_variance_the_mean_is_kept(tmp_path: Path) -> None:
    torch.manual_seed(0)
    tiny = {"block_out_channels": (8, 16), "norm_num_groups": 4, "layers_per_block": 1, "attention_head_dim": 8}
    tiny |= {"down_block_types": ("DownBlock2D",) * 2, "up_block_types": ("UpBlock2D",) * 2}
    six = UNet2DModel(sample_size=[16, 16], out_channels=6, **tiny)
    six.save_pretrained(tmp_path / "unet")
    learned = DDPMScheduler(**TRAINED, variance_type="learned_range")
    with pytest.raises(WeightsError, match=r"found no scheduler_config\.json.*from_pretrained\(..., scheduler="):
        FewShotPipeline.from_pretrained(tmp_path)
    pipe = quiet(FewShotPipeline.from_pretrained(tmp_path, scheduler=learned))
    assert pipe.denoiser.sample_shape == (3, 16, 16)
    x_t = torch.randn(2, 3, 16, 16)
    assert torch.equal(pipe.denoiser.predict(x_t, 5).detach(), six(x_t, 5).sample[:, :3].detach())


# --- what is refused ---


def wrong(tmp_path: Path, unet: UNet2DModel, what: str) -> FewShotPipeline:
    """Read a folder of another kind."""
    config, scheduler = unet_config(unet), DDPMScheduler(**TRAINED)
    made: Any = unet
    if what == "classes":
        made = UNet2DModel.from_config({**config, "num_class_embeds": 4})
    if what == "latents":
        made = UNet2DModel.from_config({**config, "in_channels": 4, "out_channels": 4})
    if what == "text":
        made = UNet2DConditionModel(
            sample_size=8, block_out_channels=(8, 16), norm_num_groups=4, cross_attention_dim=8,
            down_block_types=("DownBlock2D",) * 2, up_block_types=("UpBlock2D",) * 2,
        )  # fmt: skip
    if what == "flow":
        scheduler = FlowMatchEulerDiscreteScheduler()
    if what == "betas":
        scheduler = DDPMScheduler(trained_betas=[0.1, 0.2], **TRAINED)
    folder = saved(made, tmp_path / "mine" / "unet").parent
    if what != "no scheduler":
        scheduler.save_pretrained(folder / "scheduler")
    if what == "pickled":
        (folder / "unet" / "diffusion_pytorch_model.safetensors").rename(folder / "unet/diffusion_pytorch_model.bin")
    return FewShotPipeline.from_pretrained(folder)


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("classes", "num_class_embeds: found 4, expected null: it is conditioned on a class"),
        ("latents", "in_channels: found 4, which is for latents; expected 3"),
        ("text", "found UNet2DConditionModel, expected UNet2DModel: of pixels, without text"),
        ("flow", "found FlowMatchEulerDiscreteScheduler, a flow-matching model's"),
        ("betas", "trained_betas: found .*, expected None"),
        ("no scheduler", "found no scheduler_config.json"),
        ("pickled", "which is pickled and not read here"),
    ],
)
def test_layouts_that_cannot_serve_are_refused_in_one_message(
    tiny_unet: UNet2DModel, tmp_path: Path, what: str, said: str
) -> None:
    with pytest.raises(WeightsError, match=said):
        wrong(tmp_path, tiny_unet, what)


def test_parts_that_cannot_serve_are_refused_too(tiny_unet: UNet2DModel) -> None:
    for unet, scheduler, said in [
        (tiny_unet, FlowMatchEulerDiscreteScheduler(), "flow-matching"),
        (UNet2DModel.from_config({**unet_config(tiny_unet), "num_class_embeds": 2}), DDPMScheduler(**TRAINED), "class"),
        (torch.nn.Linear(1, 1), DDPMScheduler(**TRAINED), "found a Linear, expected a UNet2DModel"),
        (UNet2DModel.from_config(tiny_unet.config).half(), DDPMScheduler(**TRAINED), 'say precision="bfloat16"'),
    ]:
        with pytest.raises(WeightsError, match=said):
            FewShotPipeline(unet, scheduler)
    with pytest.raises(WeightsError, match="is no folder here, and cannot be had from the hub"):
        FewShotPipeline.from_pretrained("nobody/nothing", local_files_only=True)


Pipe = FewShotPipeline


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        (lambda p: p.fit("A", shots(), [True] * 12), DataError, "labels: found 12 true of 12, expected both"),
        (lambda p: p.fit("A", shots(), [True, False]), DataError, "labels: found 2 of 12 images"),
        (lambda p: p.fit("A", shots(), [2] * 12), DataError, "each true or false, 1 or 0"),
        (lambda p: p.fit("A", shots()[..., :8], BRIGHT), DataError, r"found torch.uint8 \[12, 3, 16, 8\]"),
        (lambda p: p.fit("A", shots().float(), BRIGHT), DataError, "found torch.float32"),
        (lambda p: p.fit("A", [3] * 12, BRIGHT), DataError, r"images\[0\]: found a int"),
        (lambda p: p.fit("A", ROOT / "nowhere", BRIGHT), DataError, "nowhere: found no images"),
        (lambda p: p.fit("A", shots(), {"a.png": True}), DataError, "expected images to be their folder"),
        (lambda p: p.fit("A", shots(), BRIGHT, taps="mid_blok"), ConfigError, "no module 'mid_blok'"),
        (lambda p: p.fit("A", shots(), BRIGHT, poolsize=2), ConfigError, "fit: poolsize: Extra inputs"),
        (lambda p: p.fit("A", shots(), BRIGHT, "fast"), ConfigError, "found 'fast', expected exact or readout or"),
        (lambda p: p({"Bright": 1.5}), ConfigError, "Bright: found 1.5, expected true, false, or a share"),
        (lambda p: p.fit("masks", shots(), BRIGHT), ConfigError, "the head of fit_masks"),
        (lambda p: p.fit("Bright ", shots(), BRIGHT), ConfigError, "'Bright' is called so in files"),
        (lambda p: p.fit_masks(shots(), masks()[:, :8], CLASSES), DataError, r"masks: found torch.uint8 \[12, 8, 16\]"),
        (lambda p: p.fit_masks(shots(), masks() + 1, CLASSES), DataError, "found class id 2, expected 0..1"),
        (lambda p: p.fit_masks(shots(), masks()[:3], CLASSES), ConfigError, "found 3 of 12 images"),
        (lambda p: p("Beard"), ConfigError, r"Beard: found no head .*Bright\)\. Call fit\('Beard', images, labels\)"),
        (lambda p: p(masks=masks()), ConfigError, r"masks: found no head .*fit_masks\(images, masks, classes\)"),
        (lambda p: p("Bright", mode="readout"), ConfigError, "fitted are Bright in exact. Fit .*mode='readout'"),
        (lambda p: p.fit("A", shots(), BRIGHT, "direct"), ConfigError, "found 'direct', expected exact or readout or"),
        (lambda p: p("Bright", weights={"Beard": 2}), ConfigError, "weights: found 'Beard', expected .*: Bright"),
        (lambda p: p("Bright", num_images=2, seeds=range(3)), ConfigError, "num_images for 2, seeds for 3 samples"),
        (lambda p: p(output_type="latent", num_inference_steps=1), ConfigError, "expected pil, np or pt"),
        (lambda p: p.predict_proba("Beard", shots()), ConfigError, "found no head"),
        (
            lambda p: p.evaluate(lambda _: [1], "Bright", num_images=2, num_inference_steps=1),
            DataError,
            r"\[1\].*\[2\]",
        ),
    ],
)
def test_what_cannot_be_done_is_said(
    pipe: FewShotPipeline, call: Callable[[Pipe], object], error: type[FewshotError], said: str
) -> None:
    pipe.fit("Bright", shots(), BRIGHT, **QUICK)
    with pytest.raises(error, match=said):
        call(pipe)


def test_heads_that_read_at_different_timesteps_are_not_joined(pipe: FewShotPipeline) -> None:
    for name, timestep in (("A", 50), ("B", 100)):
        pipe.fit(name, shots(), BRIGHT, feature_timestep=timestep, **QUICK)
    with pytest.raises(ConfigError, match=r"found \{'A': 50, 'B': 100\}, expected one"):
        pipe({"A": True, "B": True}, num_inference_steps=1)


def test_the_library_is_imported_without_torch() -> None:
    code = "import sys, fewshot_diffusion; print('torch' in sys.modules, fewshot_diffusion.__all__)"
    folder = ROOT / "workflow" / "scripts"
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False ['FewShotPipeline']"
    with pytest.raises(ImportError):
        from fewshot_diffusion import Nothing  # noqa: F401


# --- what the documents say ---


@pytest.mark.parametrize("document", ["README.md", "docs/your-model.md"])
def test_the_lines_that_people_read_run(
    tiny_unet: UNet2DModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, document: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Image.Image, "show", lambda _: None)
    saved(DDPMPipeline(tiny_unet, DDPMScheduler(**TRAINED)), tmp_path / "my-model")
    (tmp_path / "photos").mkdir()
    for i, image in enumerate(shots().permute(0, 2, 3, 1).numpy()):
        Image.fromarray(image).save(tmp_path / "photos" / f"{i:02d}.png")
    names = [f"{i:02d}.png" for i in range(12)]
    pd.DataFrame({"file": names, "Blond": BRIGHT.int()}).to_csv(tmp_path / "labels.csv", index=False)
    (block,) = re.findall(r"```python\n(.*?)```", (ROOT / document).read_text(), re.DOTALL)
    assert len(block.strip().splitlines()) <= 10
    exec(compile(block, document, "exec"), {})
    sheet = Image.open(tmp_path / "sheet.png")
    assert sheet.size == (4 * 16, 4 * 16)
    assert json.loads((tmp_path / "my-model-steered/heads/Blond/config.json").read_text())["attribute"] == "Blond"
