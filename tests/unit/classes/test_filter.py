"""The filter: one function for features, normalised per pixel, dropped out anew, mirrored, cached, of one denoiser."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from class_helpers import shades
from fewshot_diffusion.classes import filter as filters
from fewshot_diffusion.classes.filter import (
    ClassFeatures,
    RejectionHead,
    class_maps,
    filter_maps,
    fit_filter,
    score,
)
from fewshot_diffusion.classes.filter_report import acceptance_rows, calibration_rows
from fewshot_diffusion.classes.generated_set import GeneratedSet
from fewshot_diffusion.config.classes import FilterConfig
from fewshot_diffusion.config.denoiser import ArchitectureConfig, ScheduleConfig
from fewshot_diffusion.data.class_set import ClassSet
from fewshot_diffusion.diffusion.denoiser import Denoiser, PixelDenoiser, build_unet
from fewshot_diffusion.errors import CorruptFileError, DataError, WeightsError
from fewshot_diffusion.runtime import CPU
from fewshot_diffusion.seeds import generator
from fewshot_diffusion.storage.weights import save_module

DEFAULT = yaml.safe_load(Path("config/config.yaml").read_text())
CLASSES = ["round", "square", "long"]
SHAPE = {"tap": "mid_block", "timesteps": [300, 800], "hidden_channels": 32, "dropout": 0.2, "precision": "float32"}
SETTINGS = FilterConfig(
    **SHAPE, epochs=30, batch_size=8, learning_rate=3e-3, weight_decay=0, threshold=0.2, max_attempts=4
)


def class_features(denoiser: Denoiser, data: ClassSet, settings: FilterConfig) -> ClassFeatures:
    maps = torch.cat([*class_maps(denoiser, data, settings)])
    return ClassFeatures(maps.unflatten(0, (2, len(data))), data.labels, data.classes)


def fitted(denoiser: Denoiser, data: ClassSet) -> RejectionHead:
    return fit_filter(class_features(denoiser, data, SETTINGS), SETTINGS, CPU)


def random_features(number: int = 12) -> ClassFeatures:
    maps = torch.rand(number, 8, 4, 4, generator=torch.Generator().manual_seed(0)) + 0.1
    return ClassFeatures(torch.stack([maps, -maps]).half(), torch.arange(number) % 3, CLASSES)


def test_it_learns_and_is_used_with_the_features_it_was_trained_on(tiny_denoiser: Denoiser) -> None:
    data = shades(CLASSES, 8)
    head = fitted(tiny_denoiser, data)
    log_prob = score(tiny_denoiser, head, data.images)
    assert (log_prob.argmax(1) == data.labels).double().mean() > 0.9
    assert torch.allclose(log_prob.exp().sum(1), torch.ones(len(data)))
    cached = class_features(tiny_denoiser, data, SETTINGS).maps[0]
    assert torch.equal(log_prob, head.log_prob(cached))


def test_normalisation_is_per_pixel_and_part_of_the_head() -> None:
    """Training and sampling cannot differ in it: the head sees each pixel's direction in feature space, no length."""
    torch.manual_seed(0)
    head = RejectionHead(8, CLASSES, SHAPE).eval()
    maps = torch.randn(2, 8, 8, 8)
    lengths, gains = torch.rand(2, 1, 8, 8) + 0.1, torch.rand(1, 8, 1, 1) + 0.1
    assert torch.allclose(head(maps), head(lengths * maps), atol=1e-4)
    assert not torch.allclose(head(maps), head(gains * maps), atol=1e-2)
    assert not torch.allclose(head(maps), head(maps + 3), atol=1e-3)


def test_the_images_and_their_mirror_images_are_cached(tiny_denoiser: Denoiser) -> None:
    data = shades(CLASSES, 2)
    features = class_features(tiny_denoiser, data, SETTINGS)
    views = (data.images, data.images.flip(-1))
    plain, mirrored = (filter_maps(tiny_denoiser, images, "mid_block", [300, 800]) for images in views)
    assert torch.equal(features.maps, torch.stack([plain, mirrored]))
    assert not torch.equal(plain, mirrored)


def test_both_timestep_labels_are_read_of_the_clean_image(tiny_denoiser: Denoiser) -> None:
    images = shades(CLASSES, 1).images
    both = filter_maps(tiny_denoiser, images, "mid_block", [300, 800])
    hooked: list[Tensor] = []
    with torch.no_grad():
        handle = tiny_denoiser.unet.mid_block.register_forward_hook(lambda _m, _i, output: hooked.append(output))
        for timestep in (300, 800):
            tiny_denoiser.unet(images.float() / 127.5 - 1, timestep)
        handle.remove()
    assert torch.equal(both, torch.cat(hooked, dim=1).half())
    assert not torch.equal(*both.chunk(2, dim=1))


def test_batches_do_not_matter(tiny_denoiser: Denoiser) -> None:
    images = shades(CLASSES, 2).images
    readers = (replace(tiny_denoiser, runtime=replace(CPU, feature_batch=size)) for size in (1, 6))
    one, six = (filter_maps(reader, images, "mid_block", [300]) for reader in readers)
    assert torch.allclose(one.float(), six.float(), rtol=2e-3, atol=1e-3)  # the cache is float16


def test_every_step_has_a_dropout_mask_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, masks = nn.Dropout.forward, []

    def noted(layer: nn.Dropout, values: Tensor) -> Tensor:
        output = plain(layer, values)
        masks.append(output == 0)
        return output

    monkeypatch.setattr(nn.Dropout, "forward", noted)
    fit_filter(random_features(), SETTINGS.model_copy(update={"epochs": 5, "batch_size": 6, "dropout": 0.5}), CPU)
    found = torch.stack(masks)
    assert len(found) == 10
    assert float(found.double().mean()) == pytest.approx(0.5, abs=0.1)
    assert len(found.unique(dim=0)) == 10


def test_images_are_mirrored_and_shuffled_by_the_stream_of_their_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, seen = RejectionHead.forward, []

    def noted(head: RejectionHead, maps: Tensor) -> Tensor:
        seen.append(maps)
        return plain(head, maps)

    monkeypatch.setattr(RejectionHead, "forward", noted)
    features = random_features(60)
    fit_filter(features, SETTINGS.model_copy(update={"epochs": 3, "batch_size": 60}), CPU)
    for epoch, maps in enumerate(seen):
        stream = generator("rejection head 0", epoch)
        mirrored, order = torch.randint(2, (60,), generator=stream), torch.randperm(60, generator=stream)
        assert torch.equal(maps, features.maps[mirrored[order], order])
    assert len(seen) == 3


def test_a_training_repeats_bit_for_bit_and_ends_frozen() -> None:
    settings, heads = SETTINGS.model_copy(update={"epochs": 2}), []
    for _ in range(2):
        torch.rand(3)  # the global stream must not matter
        heads.append(fit_filter(random_features(), settings, CPU))
    assert all(torch.equal(a, b) for a, b in zip(*(head.parameters() for head in heads), strict=True))
    assert not heads[0].training
    assert not any(parameter.requires_grad for parameter in heads[0].parameters())


def test_features_of_other_settings_are_refused(tmp_path: Path) -> None:
    about: dict[str, Any] = {"denoiser": "d", "images": "i", "tap": "mid_block", "precision": "float32"}
    cached, real = random_features(), shades(CLASSES, 4)
    filters.write_class_features(cached.maps, real, tmp_path / "features", {**about, "timesteps": [300, 800]})
    settings = SETTINGS.model_copy(update={"epochs": 1})
    filters.train_class_filter(settings, tmp_path / "features", tmp_path / "filter", "cpu")
    assert filters.load_class_features(tmp_path / "features")[0].classes == CLASSES
    with pytest.raises(CorruptFileError, match=r"was made for timesteps \[300, 800\], expected \[5\]"):
        filters.train_class_filter(
            settings.model_copy(update={"timesteps": [5]}), tmp_path / "features", tmp_path, "cpu"
        )


def test_a_head_belongs_to_its_denoiser(tiny_denoiser: Denoiser, tmp_path: Path) -> None:
    head = RejectionHead(8, CLASSES, SHAPE)
    save_module(head, head.config, tmp_path, {"denoiser": tiny_denoiser.digest})
    assert filters.load_filter(tmp_path, tiny_denoiser)[0].classes == CLASSES
    with pytest.raises(WeightsError, match="the weights are of denoiser '0000"):
        filters.load_filter(tmp_path, replace(tiny_denoiser, digest="e" * 64))


def test_cached_features_cost_at_most_a_fortieth_of_recomputing_them() -> None:
    """The released code runs both full passes on every image in every epoch; counted on the default's shapes."""
    settings = FilterConfig.model_validate(DEFAULT["classes"]["filter"])
    unet = build_unet(ArchitectureConfig.model_validate(DEFAULT["denoiser"]["architecture"]), 64).eval()
    data = ClassSet(torch.zeros(2, 3, 64, 64, dtype=torch.uint8), torch.tensor([0, 1]), torch.arange(2), CLASSES)
    with FlopCounterMode(display=False) as full, torch.no_grad():
        for timestep in settings.timesteps:
            unet(data.images.float(), timestep)
    with FlopCounterMode(display=False) as cached:
        features = class_features(PixelDenoiser(ScheduleConfig(), "", CPU, unet), data, settings)
    with FlopCounterMode(display=False) as training:
        fit_filter(features, settings.model_copy(update={"epochs": 1, "batch_size": 2}), CPU)
    every_epoch, head = (settings.epochs * counter.get_total_flops() for counter in (full, training))
    assert cached.get_total_flops() + head <= every_epoch / 40
    assert (settings.threshold, settings.timesteps) == (0.2, [300, 800]), "the paper's"


class Opinion:
    """A judge that takes the value of the first pixel for the class."""

    classes = CLASSES

    def predict(self, images: Tensor) -> Tensor:
        return images[:, 0, 0, 0].long()


def pictures(shown: list[int]) -> Tensor:
    return torch.tensor(shown, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 2, 2).contiguous()


def test_the_judges_opinion_of_what_was_kept_and_discarded() -> None:
    labels, accepted = torch.tensor([0, 0, 0, 1, 1, 2]), torch.tensor([True, True, False, True, False, True])
    generated = GeneratedSet(pictures([0, 1, 0, 1, 2, 2]), labels, torch.arange(6), torch.zeros(6), accepted, CLASSES)
    test = ClassSet(pictures([0, 0, 1, 0]), torch.tensor([0, 0, 1, 1]), torch.arange(4), CLASSES)
    rows = acceptance_rows(generated, test, Opinion()).set_index("class")  # type: ignore[arg-type]
    assert rows["n_drawn"].tolist() == [3, 2, 1, 6]
    assert rows["n_accepted"].tolist() == [2, 1, 1, 4]
    assert rows["acceptance_rate"].tolist() == pytest.approx([2 / 3, 1 / 2, 1, 4 / 6])
    nothing = float("nan")
    assert rows["judge_accuracy_accepted"].tolist() == pytest.approx([1 / 2, 1, 1, 3 / 4])
    assert rows["judge_accuracy_rejected"].tolist() == pytest.approx([1, 0, nothing, 1 / 2], nan_ok=True)
    assert rows["judge_accuracy_real"].tolist() == pytest.approx([1, 1 / 2, nothing, 3 / 4], nan_ok=True)
    with pytest.raises(DataError, match="the judge: found the classes"):
        acceptance_rows(replace(generated, classes=["a"]), test, Opinion())  # type: ignore[arg-type]


def test_reliability_counts_every_image_once_and_ends_with_the_accuracy(tiny_denoiser: Denoiser) -> None:
    data = shades(CLASSES, 8)
    head = fitted(tiny_denoiser, data)
    rows = calibration_rows(tiny_denoiser, head, data)
    confidence, predicted = score(tiny_denoiser, head, data.images).exp().max(1)
    assert rows["n"].iloc[:-1].sum() == rows["n"].iloc[-1] == len(data)
    assert rows["accuracy"].iloc[-1] == float((predicted == data.labels).double().mean()) > 0.9
    for row in rows[rows["n"] > 0].itertuples():
        inside = (confidence > row.confidence_low) & (confidence <= row.confidence_high)
        assert row.n == int(inside.sum())
        assert row.confidence == pytest.approx(float(confidence[inside].mean()))
