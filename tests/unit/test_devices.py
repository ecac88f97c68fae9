"""On a device, training and sampling never wait for it: nothing is drawn on the host, copied, or asked in a step."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from fewshot_diffusion import residence
from fewshot_diffusion.classes.classifier import ClassifierRecipe, train_classifier
from fewshot_diffusion.classes.conditional import ClassDenoiser, classifier_free, finetune, make_conditional
from fewshot_diffusion.classes.filter import ClassFeatures, fit_filter
from fewshot_diffusion.config.classes import FilterConfig, FinetuningConfig
from fewshot_diffusion.config.denoiser import ArchitectureConfig, DenoiserConfig, DenoiserTrainingConfig, ScheduleConfig
from fewshot_diffusion.config.masks import MaskHeadConfig, MaskTapsConfig, SegmenterConfig
from fewshot_diffusion.config.supervised import SupervisedConfig
from fewshot_diffusion.data.class_set import ClassSet
from fewshot_diffusion.diffusion.denoiser import PixelDenoiser, build_unet
from fewshot_diffusion.diffusion.denoiser_training import fit_denoiser
from fewshot_diffusion.diffusion.features import FeatureTap
from fewshot_diffusion.diffusion.guidance import (
    CleanImageGuidance,
    ExactGuidance,
    Predictor,
    ReadoutGuidance,
    guided,
    unguided,
)
from fewshot_diffusion.diffusion.sampling import sample_ddim
from fewshot_diffusion.diffusion.schedule import make_scheduler
from fewshot_diffusion.masks.controlnet import ControlNet, controlled_predictor, fit_controlnet
from fewshot_diffusion.masks.features import mask_features
from fewshot_diffusion.masks.heads import MaskHead, fit_mask_head, mask_log_likelihood
from fewshot_diffusion.masks.pairs import Pairs
from fewshot_diffusion.masks.segmenter import fit_segmenter
from fewshot_diffusion.runtime import CPU, Runtime
from fewshot_diffusion.seeds import SampleNoise
from fewshot_diffusion.storage.checkpoints import CheckpointFolder
from standin import DEVICE, Stream, Watch

THERE = Runtime(DEVICE, torch.float32)
IMAGES = torch.randint(0, 256, (12, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
LABELS = torch.arange(12) % 3
PAIRS = Pairs(IMAGES, IMAGES[:, 0] // 64, list("wxyz"), [(1, 2)])
ARCHITECTURE = ArchitectureConfig(block_out_channels=(16, 32), norm_num_groups=8, attention_head_dim=8)
RECIPE = {
    "batch_size": 4, "learning_rate": 1e-3, "warmup_images": 8, "decay_from": 0.5, "ema_decay": 0.9,
    "checkpoint_images": 1000, "precision": "float32",
}  # fmt: skip
SUPERVISED = {"batch_size": 4, "learning_rate": 1e-3, "weight_decay": 0.05}


@pytest.fixture(autouse=True)
def streams(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "Generator", Stream)


def tiny_denoiser(runtime: Runtime) -> PixelDenoiser:
    torch.manual_seed(0)
    unet = build_unet(ARCHITECTURE, 16).requires_grad_(False).eval()
    return PixelDenoiser(ScheduleConfig(), "0" * 64, runtime, runtime.place(unet))


# --- training: what it takes `steps` steps to make --------------------------------------------------------------------


def train_unconditional(steps: int, runtime: Runtime, folder: Path) -> nn.Module:
    training = DenoiserTrainingConfig(**RECIPE, num_images=4 * steps, random_flip=True, timestep_power=2)
    settings = DenoiserConfig(source="train", architecture=ARCHITECTURE, schedule=ScheduleConfig(), training=training)
    return fit_denoiser(IMAGES, settings, CheckpointFolder(folder, f"{steps}"), runtime)


def train_conditional(steps: int, runtime: Runtime, folder: Path) -> nn.Module:
    settings = FinetuningConfig(**RECIPE, num_images=4 * steps, random_flip=False, label_dropout=0.3, label_rate=9)
    real = ClassSet(IMAGES, LABELS, torch.arange(12), list("abc"))
    return finetune(tiny_denoiser(runtime), real, settings, CheckpointFolder(folder, f"{steps}"))


def train_controlnet(steps: int, runtime: Runtime, folder: Path) -> nn.Module:
    settings = DenoiserTrainingConfig(**RECIPE, num_images=4 * steps, random_flip=False)
    return fit_controlnet(tiny_denoiser(runtime), PAIRS, settings, CheckpointFolder(folder, f"{steps}"))


def train_classes(epochs: int, runtime: Runtime, _folder: Path) -> nn.Module:
    recipe = ClassifierRecipe("resnet18", 16, SupervisedConfig(**SUPERVISED, epochs=epochs), 0.2)
    return train_classifier(recipe, list("abc"), IMAGES, LABELS, runtime)


def train_segmenter(epochs: int, runtime: Runtime, _folder: Path) -> nn.Module:
    return fit_segmenter(PAIRS, SegmenterConfig(**SUPERVISED, epochs=epochs, block_out_channels=(8, 16)), runtime)


def train_filter(epochs: int, runtime: Runtime, _folder: Path) -> nn.Module:
    maps = torch.randn(2, 12, 8, 4, 4, generator=torch.Generator().manual_seed(2)).half()
    settings = FilterConfig(
        **SUPERVISED, epochs=epochs, tap="mid_block", timesteps=[300], hidden_channels=32, dropout=0, threshold=0.2,
        max_attempts=4,
    )  # fmt: skip
    return fit_filter(ClassFeatures(maps, LABELS, list("abc")), settings, runtime)


def train_head(updates: int, runtime: Runtime, _folder: Path) -> nn.Module:
    settings = MaskHeadConfig(
        updates=updates, batch_size=4, learning_rate=2e-3, flip=True, readout_timesteps=[50, 500], readout_draws=1
    )
    taps = MaskTapsConfig(taps=["up_blocks.1", "mid_block"], feature_timestep=100)
    features = mask_features(tiny_denoiser(CPU), PAIRS, "readout", taps, settings)
    return fit_mask_head(features, "nearest", settings, runtime)[0]


TRAININGS = {
    "unconditional": train_unconditional,
    "conditional": train_conditional,
    "controlnet": train_controlnet,
    "mixed classifier": train_classes,
    "segmenter": train_segmenter,
    "filter": train_filter,
    "mask head": train_head,
}


OF_HOST = {"mixed classifier": "host draw", "mask head": "host draw"}  # torchvision's numbers; all before the loop


@pytest.mark.slow
@pytest.mark.parametrize("name", TRAININGS)
def test_steps_of_a_training_never_wait_and_learn_what_the_cpu_s_do(name: str, tmp_path: Path) -> None:
    """What three steps or epochs count more than one is what two count."""

    def counted(steps: int) -> tuple[nn.Module, Counter[str]]:
        with Watch() as watch:
            return TRAININGS[name](steps, THERE, tmp_path / "there"), watch.counts

    (model, more), (_, less) = counted(3), counted(1)
    assert more["copy"] > 0, "what goes there once is seen"
    grown = {kind for kind, count in more.items() if count > less[kind]}
    assert grown <= {"device draw", OF_HOST.get(name)}
    assert "device draw" in grown or name == "mask head"
    if name != "mixed classifier":  # what torchvision mixes has another seed on a device
        here = TRAININGS[name](3, CPU, tmp_path / "here")
        apart = [
            (one.cpu() - two).abs().flatten() for one, two in zip(model.parameters(), here.parameters(), strict=True)
        ]
        # Adam makes steps of nothing but rounding where a gradient vanishes: a few numbers may differ.
        assert float(torch.cat(apart).median()) < 1e-5


# --- sampling ---------------------------------------------------------------------------------------------------------


def steered(method: str, runtime: Runtime) -> Predictor:
    """Return a predictor of three samples."""
    denoiser, taps = tiny_denoiser(runtime), ["up_blocks.1", "mid_block"]
    masks, plain = PAIRS.masks[:3].to(runtime.device), unguided(denoiser)
    torch.manual_seed(1)
    read = [FeatureTap("up_blocks.1", 16, 1), FeatureTap("mid_block", 32, 2)]
    head = MaskHead(read, PAIRS.classes, [100, 900], 16).requires_grad_(False).to(runtime.device)

    def log_likelihood(maps: list[Tensor], timestep: int) -> Tensor:
        logits = maps[0].repeat(1, 2, 1, 1) if method == "clean_image" else head(maps, timestep)
        return mask_log_likelihood(logits, masks)

    guidance = {
        "exact": ExactGuidance(denoiser, log_likelihood, taps, 100),
        "readout": ReadoutGuidance(denoiser, log_likelihood, taps),
        "clean_image": CleanImageGuidance(denoiser, log_likelihood),
    }
    if method == "controlnet":
        controlnet = ControlNet(dict(denoiser.unet.config), PAIRS.classes).requires_grad_(False)
        return controlled_predictor(denoiser, runtime.place(controlnet), masks)
    return guided(guidance[method], 9.0, "v_prediction", plain) if method in guidance else plain


@pytest.mark.parametrize("method", ["unguided", "exact", "readout", "clean_image", "controlnet"])
def test_steps_of_sampling_never_wait_and_draw_what_the_cpu_s_do(method: str) -> None:
    def drawn(runtime: Runtime, watch: Watch) -> Tensor:
        inner = steered(method, runtime)

        def predict(x_t: Tensor, timestep: int, alpha_bar_t: Tensor) -> Tensor:
            if timestep == 666:
                watch.counts.clear()  # the first step begins
            return inner(x_t, timestep, alpha_bar_t)

        noise = SampleNoise(range(3), (3, 16, 16), runtime.device, ahead=4)
        with watch:
            return sample_ddim(predict, make_scheduler(ScheduleConfig(), True, "leading"), noise, 3, 0.4)

    found = drawn(THERE, watch := Watch())
    assert watch.counts == {"copy": 1}, "at the end, whether all was finite"
    torch.testing.assert_close(found.cpu(), drawn(CPU, Watch()), rtol=0, atol=1e-4)


def test_labels_of_classes_are_there_before_the_first_step() -> None:
    unet = THERE.place(make_conditional(tiny_denoiser(CPU).unet, 3))
    predict = classifier_free(ClassDenoiser(ScheduleConfig(), "", THERE, unet), torch.tensor([0, 2]), 2.0)
    x_t, alpha_bar_t = torch.zeros(2, 3, 16, 16, device=DEVICE), torch.ones((), device=DEVICE)
    with Watch() as watch:
        predict(x_t, 500, alpha_bar_t)
    assert not watch.counts


# --- where examples live ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("free", "fits"), [(2 * IMAGES.numel(), True), (2 * IMAGES.numel() - 1, False)])
def test_examples_that_do_not_fit_stay_on_the_host_and_batches_are_the_same(
    monkeypatch: pytest.MonkeyPatch, free: int, fits: bool
) -> None:
    monkeypatch.setattr(residence, "free_memory", lambda device: free)
    settled, index = residence.settle(IMAGES, DEVICE), torch.tensor([3, 0, 3]).to(DEVICE)
    assert settled.device == (DEVICE if fits else torch.device("cpu"))
    batch = residence.take(settled, index)
    assert batch.device == DEVICE
    assert torch.equal(batch.cpu(), IMAGES[[3, 0, 3]])


def test_the_watch_sees_what_would_wait() -> None:
    there: Tensor = torch.zeros(3, device=DEVICE)
    waits: dict[str, Callable[[], object]] = {
        "question": lambda: bool(there[0]),
        "copy": lambda: there.cpu(),
        "host draw": lambda: torch.rand(2),
        "device draw": lambda: torch.rand(2, device=DEVICE),
    }
    for kind, act in waits.items():
        with Watch() as watch:
            act()
        assert watch.counts == {kind: 1}
    with Watch() as watch:
        there.copy_(torch.ones(3))
    assert watch.counts == {"copy": 1}
    with Watch() as watch:
        there[there > 0]
    assert watch.counts["question"]
