"""Generated sets: drawn by clipped DDIM with classifier-free guidance, judged by their own class, prefixes, caps."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from fewshot_diffusion.classes import generation
from fewshot_diffusion.classes.conditional import ClassDenoiser, make_conditional
from fewshot_diffusion.classes.filter import RejectionHead, score
from fewshot_diffusion.classes.generated_set import GeneratedSet, is_accepted, load_generated, made_with, save_generated
from fewshot_diffusion.classes.generation import CLASS_STRIDE, ClassModels, ClassShare, Quota, fill_quota, generate
from fewshot_diffusion.config.classes import ClassSamplingConfig
from fewshot_diffusion.diffusion.denoiser import Denoiser
from fewshot_diffusion.diffusion.sampling import WorkUnit
from fewshot_diffusion.diffusion.schedule import make_scheduler
from fewshot_diffusion.errors import CorruptFileError, DataError
from fewshot_diffusion.images import to_uint8
from fewshot_diffusion.runtime import CPU
from fewshot_diffusion.seeds import SampleNoise
from fewshot_diffusion.storage.checkpoints import CheckpointFolder

CLASSES = ["round", "square", "long"]
SAMPLING = ClassSamplingConfig(
    num_inference_steps=4, classifier_free_scale=2.5, unit_size=3, shards=1, precision="float32"
)
UNIT = WorkUnit(0, range(1_000_000, 1_000_003))


@pytest.fixture
def models(tiny_denoiser: Denoiser) -> ClassModels:
    unet = make_conditional(tiny_denoiser.unet, len(CLASSES))
    unet.class_embedding.weight.data.normal_(generator=torch.Generator().manual_seed(2))
    generator = ClassDenoiser(tiny_denoiser.schedule, "c" * 64, CPU, unet.requires_grad_(False).eval())
    torch.manual_seed(0)
    shape = {"tap": "mid_block", "timesteps": [300], "hidden_channels": 32, "dropout": 0.2, "precision": "float32"}
    return ClassModels(tiny_denoiser, generator, RejectionHead(16, CLASSES, shape).requires_grad_(False).eval())


def ddim_by_hand(
    denoiser: Denoiser, label: int, scale: float, clip: bool = True, times: tuple[int, ...] = (999, 749, 499, 249)
) -> Tensor:
    """x_{t'} = sqrt(alpha_bar_{t'}) x0_hat + sqrt(1 - alpha_bar_{t'}) eps, with x0_hat clipped and eps to match."""
    alphas = make_scheduler(denoiser.schedule).alphas_cumprod
    x_t = SampleNoise(UNIT.seeds, (3, 16, 16), CPU.device).draw()
    for timestep, alpha, after in zip(
        times, alphas[list(times)], [*alphas[list(times[1:])], torch.tensor(1.0)], strict=True
    ):
        with torch.no_grad():
            wanted, null = (
                denoiser.unet(x_t, timestep, class_labels=torch.full((3,), row)).sample for row in (label, len(CLASSES))
            )
        x0_hat = alpha.sqrt() * x_t - (1 - alpha).sqrt() * (null + scale * (wanted - null))
        x0_hat = x0_hat.clamp(-1, 1) if clip else x0_hat
        eps = (x_t - alpha.sqrt() * x0_hat) / (1 - alpha).sqrt()
        x_t = after.sqrt() * x0_hat + (1 - after).sqrt() * eps
    return x_t


def test_samples_are_clipped_guided_ddim_from_pure_noise(models: ClassModels) -> None:
    drawn = generation.sample_unit(models.generator, 1, UNIT, SAMPLING)
    assert torch.allclose(drawn, ddim_by_hand(models.generator, 1, 2.5), atol=1e-3)
    assert drawn.abs().max() <= 1


def test_class_scale_clipping_and_spacing_all_show(models: ClassModels) -> None:
    drawn = generation.sample_unit(models.generator, 1, UNIT, SAMPLING)
    others: list[dict[str, Any]] = [{"label": 2}, {"scale": 1.0}, {"clip": False}, {"times": (750, 500, 250, 0)}]
    for other in others:
        assert not torch.allclose(
            drawn, ddim_by_hand(models.generator, **{"label": 1, "scale": 2.5} | other), atol=0.05
        )


def test_what_is_drawn_is_scored_by_its_own_class(models: ClassModels, tmp_path: Path) -> None:
    made = generate(models, range(3), SAMPLING, Quota(3, 4, 0.0), CheckpointFolder(tmp_path, "id"))
    assert made.labels.tolist() == [0] * 3 + [1] * 3 + [2] * 3
    assert made.seeds.tolist() == [CLASS_STRIDE * (label + 1) + seed for label in range(3) for seed in range(3)]
    every = score(models.denoiser, models.head, made.images)
    others = every[torch.arange(9)[:, None], (made.labels[:, None] + torch.tensor([1, 2])) % 3]
    assert torch.allclose(made.log_prob, every[torch.arange(9), made.labels], atol=1e-3)  # of float16 activations
    assert (others - made.log_prob[:, None]).abs().min() > 0.01
    for label in range(3):
        unit = WorkUnit(0, range((label + 1) * CLASS_STRIDE, (label + 1) * CLASS_STRIDE + 3))
        drawn = to_uint8(generation.sample_unit(models.generator, label, unit, SAMPLING))
        assert torch.equal(made.images[made.labels == label], drawn)


def test_jobs_share_the_classes_and_one_without_any_writes_an_empty_shard(models: ClassModels, tmp_path: Path) -> None:
    shares = [list(ClassShare(f"{position}-of-9", Path()).labels(8)) for position in (1, 2, 8, 9)]
    assert shares == [[0], [1], [7], []]
    assert list(ClassShare("2-of-3", Path()).labels(8)) == [1, 4, 7]
    made = generate(models, [], SAMPLING, Quota(3, 4, 0.0), CheckpointFolder(tmp_path, "id"))
    assert made.images.shape == (0, 3, 16, 16)
    save_generated(made, tmp_path / "empty", {})
    save_generated(generated_set(), tmp_path / "full", {})
    assert torch.equal(load_generated([tmp_path / "empty", tmp_path / "full"]).seeds, generated_set().seeds)


def draw_seeds(unit: WorkUnit) -> Tensor:
    return torch.tensor([seed % 251 for seed in unit.seeds], dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 2, 2)


def accept_every_third(images: Tensor) -> Tensor:
    """Good images show class 1; the other classes say the opposite."""
    good = torch.where(images[:, 0, 0, 0] % 3 == 0, 0.9, 0.05)
    return torch.stack([1 - good, good, 1 - good], 1).log()


def fill(
    wanted: int, max_attempts: int = 1000, log_prob_of: Callable[[Tensor], Tensor] = accept_every_third
) -> tuple[Tensor, Tensor, Tensor]:
    return fill_quota(
        generation.units_of_class(1, 4), 1, "square", Quota(wanted, max_attempts, 0.2), draw_seeds, log_prob_of
    )


def test_whole_units_are_drawn_until_enough_of_the_wanted_class_are_accepted() -> None:
    images, seeds, log_prob = fill(5)
    good = images[:, 0, 0, 0] % 3 == 0
    assert torch.equal(is_accepted(log_prob, 0.2), good)
    assert int(good.sum()) >= 5 > int(good[:-4].sum())
    assert seeds.tolist() == list(range(2 * CLASS_STRIDE, 2 * CLASS_STRIDE + len(images)))


def test_more_extend_fewer_and_redraw_none() -> None:
    few, many = fill(3), fill(9)
    assert len(few[1]) < len(many[1])
    for before, after in zip(few, many, strict=True):
        assert torch.equal(before, after[: len(before)])


def test_seeds_of_classes_never_meet() -> None:
    assert next(iter(generation.units_of_class(0, 20))).seeds.start == CLASS_STRIDE
    assert next(iter(generation.units_of_class(1, 20))).seeds.start == 2 * CLASS_STRIDE
    assert sum(len(unit.seeds) for unit in generation.units_of_class(0, 1000)) < CLASS_STRIDE


def test_a_class_that_accepts_nothing_stops_with_its_name() -> None:
    with pytest.raises(DataError, match=r"class 'square': 0 of 40 samples have p >= 0\.2, expected 5"):
        fill(5, max_attempts=8, log_prob_of=lambda images: torch.full((len(images), 3), -9.0))


def test_a_sample_on_the_threshold_is_kept() -> None:
    assert is_accepted(torch.tensor([0.2, 0.19, 0.9]).log(), 0.2).tolist() == [True, False, True]


def generated_set(number: int = 24) -> GeneratedSet:
    labels = torch.arange(number) // (number // 3)
    log_prob = torch.linspace(-3, 0, number)[torch.randperm(number, generator=torch.Generator().manual_seed(0))]
    images = torch.arange(number, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 4, 4).contiguous()
    seeds = (labels + 1) * CLASS_STRIDE + torch.arange(number)
    return GeneratedSet(images, labels, seeds, log_prob, is_accepted(log_prob, 0.2), CLASSES)


def shards(folder: Path, **about: object) -> list[Path]:
    """One shard per class."""
    whole, paths = generated_set(), []
    for label in range(3):
        mine = whole.labels == label
        names = ("images", "labels", "seeds", "log_prob", "accepted")
        part = replace(whole, **{name: getattr(whole, name)[mine] for name in names})
        paths.append(folder / f"{label}.parquet")
        save_generated(part, paths[-1], {"generator": "g", **about})
    return paths


def test_one_times_is_a_prefix_of_two_times_in_every_class() -> None:
    one, two = generated_set().take(2), generated_set().take(4)
    for label in range(3):
        mine, more = one[0][one[1] == label], two[0][two[1] == label]
        assert torch.equal(mine, more[: len(mine)])
    kept = set(generated_set().images[generated_set().accepted][:, 0, 0, 0].tolist())
    assert set(two[0][:, 0, 0, 0].tolist()) <= kept
    unfiltered = generated_set().take(4, filtered=False)[0]
    assert unfiltered[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19]
    with pytest.raises(DataError, match="class 'round': found"):
        generated_set().take(9)


def test_shards_join_to_the_same_set_in_any_order(tmp_path: Path) -> None:
    paths, whole = shards(tmp_path), generated_set()
    for order in (paths, paths[::-1]):
        read = load_generated(order, {"generator": "g"})
        for name in ("images", "labels", "seeds", "log_prob", "accepted"):
            assert torch.equal(getattr(read, name), getattr(whole, name))
        assert read.classes == CLASSES


def test_a_shard_in_anothers_place_is_refused(tmp_path: Path) -> None:
    mine, other = shards(tmp_path / "mine"), shards(tmp_path / "other", generator="h")
    with pytest.raises(CorruptFileError, match="was made for generator 'h', expected 'g'"):
        load_generated(other, {"generator": "g"})
    with pytest.raises(CorruptFileError, match=r"does not belong with .* generator is h"):
        load_generated([*mine[:2], other[2]])
    for wrong in ([*mine[:2], mine[1]], mine[:2]):
        with pytest.raises(CorruptFileError, match="do not hold every class once"):
            load_generated(wrong)


def test_what_a_sample_is_depends_on_settings_and_threshold_but_not_on_the_number_of_jobs() -> None:
    made = made_with(SAMPLING, 0.2)
    assert made == made_with(SAMPLING.model_copy(update={"shards": 7}), 0.2)
    assert made != made_with(SAMPLING.model_copy(update={"classifier_free_scale": 9.0}), 0.2)
    assert made != made_with(SAMPLING, 0.4)
