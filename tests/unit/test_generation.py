"""Generated sets and their filter: prefixes, caps, one function for features, what the cache saves."""

from pathlib import Path

import pytest
import torch
import yaml
from diffusers import UNet2DModel
from torch.utils.flop_counter import FlopCounterMode

from fewshot_diffusion.classes.filter import (
    ClassFeatures,
    RejectionHead,
    load_rejection_head,
    rejection_maps,
    score,
    train_rejection_head,
)
from fewshot_diffusion.classes.filter_report import calibration_rows
from fewshot_diffusion.classes.generation import (
    CLASS_STRIDE,
    GeneratedSet,
    generate_class,
    is_accepted,
    load_generated,
    save_generated,
    units_of_class,
)
from fewshot_diffusion.config.classification import RejectionConfig
from fewshot_diffusion.config.denoiser import ArchitectureConfig, ScheduleConfig
from fewshot_diffusion.config.model import load_config
from fewshot_diffusion.data.class_set import ClassSet
from fewshot_diffusion.diffusion.denoiser import Denoiser, build_unet
from fewshot_diffusion.diffusion.sampling import WorkUnit
from fewshot_diffusion.errors import DataError, WeightsError
from fewshot_diffusion.runtime import CPU
from fewshot_diffusion.storage.weights import save_module
from fewshot_diffusion.tooling.stored_sets import install_generated

DEFAULT = load_config(yaml.safe_load(Path("config/config.yaml").read_text()))
SAMPLING = DEFAULT.classification.sampling
CLASSES = ["round", "square", "long"]
SHAPE = {"tap": "mid_block", "timesteps": [300, 800], "hidden_channels": 32, "dropout": 0.2, "precision": "float32"}
SETTINGS = RejectionConfig(
    **SHAPE, epochs=30, batch_size=8, learning_rate=3e-3, weight_decay=0, threshold=0.2, max_attempts=4
)


# --- work units of a class ------------------------------------------------------------------------------------------


def draw_seeds(unit: WorkUnit) -> torch.Tensor:
    return torch.tensor([seed % 251 for seed in unit.seeds], dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 2, 2)


def accept_every_third(images: torch.Tensor) -> torch.Tensor:
    good = images[:, 0, 0, 0] % 3 == 0
    return torch.where(good, 0.9, 0.05).log()[:, None].expand(-1, len(CLASSES))


def generate(wanted: int, max_samples: int = 1000, score_of=accept_every_third):  # type: ignore[no-untyped-def]
    return generate_class(1, "square", wanted, max_samples, 4, 0.2, draw_seeds, score_of)


def test_more_extend_fewer_and_redraw_none() -> None:
    few, many = generate(3), generate(9)
    assert len(few[1]) < len(many[1])
    for before, after in zip(few, many, strict=True):
        assert torch.equal(before, after[: len(before)])


def test_seeds_of_classes_never_meet() -> None:
    first = next(iter(units_of_class(0, 20))).seeds
    second = next(iter(units_of_class(1, 20))).seeds
    assert first.start == CLASS_STRIDE
    assert second.start == 2 * CLASS_STRIDE
    assert sum(len(unit.seeds) for unit in units_of_class(0, 1000)) < CLASS_STRIDE


def test_a_class_that_accepts_nothing_stops_with_its_name() -> None:
    def reject_all(images: torch.Tensor) -> torch.Tensor:
        return torch.full((len(images), 3), -9.0)

    with pytest.raises(DataError, match=r"class 'square': 0 of 40 samples have p >= 0\.2, expected 5"):
        generate(5, max_samples=40, score_of=reject_all)


def test_a_sample_on_the_threshold_is_kept() -> None:
    assert is_accepted(torch.tensor([0.2, 0.19, 0.9]).log(), 0.2).tolist() == [True, False, True]


def test_the_papers_threshold_is_the_default() -> None:
    assert DEFAULT.classification.rejection.threshold == 0.2
    assert DEFAULT.classification.rejection.timesteps == [300, 800]


def generated_set(number: int = 24) -> GeneratedSet:
    labels = torch.arange(number) // (number // 3)
    log_prob = torch.linspace(-3, 0, number)[torch.randperm(number, generator=torch.Generator().manual_seed(0))]
    images = torch.arange(number, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 4, 4).contiguous()
    seeds = (labels + 1) * CLASS_STRIDE + torch.arange(number)
    return GeneratedSet(images, labels, seeds, log_prob, is_accepted(log_prob, 0.2), CLASSES)


def test_one_times_is_a_prefix_of_two_times_in_every_class() -> None:
    one, two = generated_set().take(2), generated_set().take(4)
    for label in range(3):
        mine, more = one[0][one[1] == label], two[0][two[1] == label]
        assert torch.equal(mine, more[: len(mine)])
    unfiltered = generated_set().take(4, filtered=False)[0]
    assert unfiltered[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19]
    with pytest.raises(DataError, match="class 'round': found"):
        generated_set().take(9)


def test_shards_join_to_the_same_set_in_any_order(tmp_path: Path) -> None:
    whole = generated_set()
    paths = []
    for label in range(3):
        mine = whole.labels == label
        part = GeneratedSet(
            *(values[mine] for values in (whole.images, whole.labels, whole.seeds, whole.log_prob, whole.accepted)),
            CLASSES,
        )
        paths.append(tmp_path / f"{label}.safetensors")
        save_generated(part, paths[-1], {})
    for order in (paths, paths[::-1]):
        read = load_generated(order)
        assert torch.equal(read.images, whole.images)
        assert torch.equal(read.seeds, whole.seeds)
        assert read.classes == CLASSES


# --- the filter -----------------------------------------------------------------------------------------------------


@pytest.fixture
def denoiser(tiny_unet: UNet2DModel) -> Denoiser:
    return Denoiser(tiny_unet, ScheduleConfig(), "d" * 64)


def shades(number: int = 24) -> ClassSet:
    """Dark, middle and light noise: easy classes."""
    stream = torch.Generator().manual_seed(3)
    labels = torch.arange(number) % 3
    images = torch.randint(60, (number, 3, 16, 16), generator=stream) + 90 * labels[:, None, None, None]
    return ClassSet(images.clamp(0, 255).to(torch.uint8), labels, torch.arange(number), CLASSES)


def fitted(denoiser: Denoiser, data: ClassSet) -> RejectionHead:
    maps = [
        rejection_maps(denoiser, images, "mid_block", [300, 800], CPU) for images in (data.images, data.images.flip(-1))
    ]
    return train_rejection_head(ClassFeatures(torch.stack(maps), data.labels, CLASSES), SETTINGS, CPU)


def test_it_learns_and_is_used_with_the_features_it_was_trained_on(denoiser: Denoiser) -> None:
    data = shades()
    head = fitted(denoiser, data)
    log_prob = score(denoiser, head, data.images, CPU)
    assert (log_prob.argmax(1) == data.labels).double().mean() > 0.9
    cached = rejection_maps(denoiser, data.images, "mid_block", [300, 800], CPU)
    assert torch.equal(log_prob, head.log_prob(cached))


def test_normalisation_is_part_of_the_head() -> None:
    """Training and sampling cannot differ in it: the head sees directions, whatever the scale of its input."""
    torch.manual_seed(0)
    head = RejectionHead(8, CLASSES, SHAPE).eval()
    maps = torch.randn(2, 8, 8, 8)
    assert torch.allclose(head(maps), head(7.5 * maps), atol=1e-5)
    assert not torch.allclose(head(maps), head(maps + 3), atol=1e-3)


def test_both_timestep_labels_are_read(denoiser: Denoiser) -> None:
    images = shades().images[:2]
    both = rejection_maps(denoiser, images, "mid_block", [300, 800], CPU)
    one = rejection_maps(denoiser, images, "mid_block", [300], CPU)
    assert torch.equal(both[:, : one.shape[1]], one)
    assert both.shape[1] == 2 * one.shape[1]
    assert not torch.equal(both[:, one.shape[1] :], one)


def test_batches_do_not_matter(denoiser: Denoiser) -> None:
    images = shades(6).images
    one, six = (rejection_maps(denoiser, images, "mid_block", [300], CPU, batch_size=size) for size in (1, 6))
    assert torch.allclose(one.float(), six.float(), rtol=2e-3, atol=1e-3)  # the cache is float16


def test_a_head_belongs_to_its_denoiser(denoiser: Denoiser, tmp_path: Path) -> None:
    head = RejectionHead(8, CLASSES, SHAPE)
    save_module(head, head.config, tmp_path, {"denoiser": denoiser.digest})
    assert load_rejection_head(tmp_path, denoiser.digest).classes == CLASSES
    with pytest.raises(WeightsError, match="was trained with denoiser"):
        load_rejection_head(tmp_path, "e" * 64)


def test_reliability_counts_every_image_once_and_ends_with_the_accuracy(denoiser: Denoiser) -> None:
    data = shades()
    rows = calibration_rows("shades", denoiser, fitted(denoiser, data), data, CPU)
    assert rows["n"].iloc[:-1].sum() == rows["n"].iloc[-1] == len(data)
    assert rows["accuracy"].iloc[-1] > 0.9


def test_cached_features_cost_at_most_a_fortieth_of_recomputing_them() -> None:
    """The released code runs both full passes on every image in every epoch; counted on the default's shapes."""
    settings = DEFAULT.classification.rejection
    unet = build_unet(ArchitectureConfig.model_validate(DEFAULT.denoiser.architecture.model_dump()), 64).eval()
    images, labels = torch.zeros(2, 3, 64, 64, dtype=torch.uint8), torch.tensor([0, 1])
    denoiser = Denoiser(unet, ScheduleConfig(), "")
    with FlopCounterMode(display=False) as full, torch.no_grad():
        for timestep in settings.timesteps:
            unet(images.float(), timestep)
    with FlopCounterMode(display=False) as cached:
        maps = rejection_maps(denoiser, images, settings.tap, settings.timesteps, CPU)
    features = ClassFeatures(torch.stack([maps, maps]), labels, CLASSES)
    with FlopCounterMode(display=False) as training:
        train_rejection_head(features, settings.model_copy(update={"epochs": 1, "batch_size": 2}), CPU)
    once = 2 * cached.get_total_flops()  # of the images and of their mirror images
    every_epoch = settings.epochs * full.get_total_flops()
    head = settings.epochs * training.get_total_flops()
    print(
        f"features once: 1/{every_epoch / once:.0f}; with the head's own training 1/{every_epoch / (once + head):.0f}"
    )
    assert once + head <= every_epoch / 40


def stored_shard(tmp_path: Path, denoiser: Denoiser, /, **changed: object) -> Path:
    log_prob = torch.tensor([0.5, 0.1, 0.9]).log()
    generated = GeneratedSet(
        torch.zeros(3, 3, 4, 4, dtype=torch.uint8), torch.zeros(3, dtype=torch.int64), torch.arange(3), log_prob,
        torch.tensor(changed.pop("accepted", [True, False, True])), CLASSES,
    )  # fmt: skip
    about = {"denoiser": denoiser.digest, "settings": SAMPLING.model_dump(exclude={"shards"}), "threshold": 0.2}
    save_generated(generated, tmp_path / "stored.safetensors", {**about, **changed})
    return tmp_path / "stored.safetensors"


def test_a_stored_shard_is_taken_byte_for_byte(tmp_path: Path, denoiser: Denoiser) -> None:
    source, output = stored_shard(tmp_path, denoiser), tmp_path / "results" / "1-of-1.safetensors"
    # The number of jobs is no part of what a sample is.
    install_generated(source, output, denoiser, SAMPLING.model_copy(update={"shards": 7}), 0.2)
    assert output.read_bytes() == source.read_bytes()


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"denoiser": "another"}, "denoiser is another"),
        ({"settings": SAMPLING.model_copy(update={"guidance_scale": 9.0}).model_dump(exclude={"shards"})}, "settings"),
        ({"threshold": 0.4}, r"threshold is 0\.4, but the configuration has 0\.2"),
        ({"accepted": [True, True, True]}, "its filter's decisions do not follow"),
    ],
)
def test_a_stored_shard_of_another_drawing_is_refused(
    tmp_path: Path, denoiser: Denoiser, changed: dict[str, object], named: str
) -> None:
    with pytest.raises(DataError, match=named):
        install_generated(
            stored_shard(tmp_path, denoiser, **changed), tmp_path / "out.safetensors", denoiser, SAMPLING, 0.2
        )
    assert not (tmp_path / "out.safetensors").exists()
