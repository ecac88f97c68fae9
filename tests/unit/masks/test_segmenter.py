"""Segmenters of clean images: what they learn, and what they may do."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from fewshot_diffusion.config.masks import SegmenterConfig
from fewshot_diffusion.errors import WeightsError
from fewshot_diffusion.images import to_signed
from fewshot_diffusion.masks import segmenter as module
from fewshot_diffusion.masks.pairs import Pairs
from fewshot_diffusion.masks.segmenter import fit_segmenter, load_segmenter
from fewshot_diffusion.runtime import CPU
from fewshot_diffusion.storage.weights import save_module

CLASSES = ["background", "square", "other"]
SMALL = SegmenterConfig(block_out_channels=(8, 16), epochs=1, batch_size=2, learning_rate=1e-3, weight_decay=0)

Squares = Callable[[int], Pairs]


def test_it_serves_its_role_classes_and_pairs_alone(squares: Squares, tmp_path: Path) -> None:
    pairs = squares(4)
    model = fit_segmenter(pairs, SMALL, CPU)
    save_module(model, model.config, tmp_path, {"role": "guides", "classes": CLASSES, "shots": 4})
    loaded = load_segmenter(tmp_path, "guides", CLASSES, {"shots": 4})
    assert torch.equal(loaded(pairs.images), model(pairs.images))
    with pytest.raises(WeightsError, match="role 'guides', expected 'judge'"):
        load_segmenter(tmp_path, "judge", CLASSES)
    with pytest.raises(WeightsError, match=r"classes \['background', 'square', 'other'\], expected \['circle'\]"):
        load_segmenter(tmp_path, "guides", ["circle"])
    with pytest.raises(WeightsError, match="shots 4, expected 20"):
        load_segmenter(tmp_path, "guides", CLASSES, {"shots": 20})


@pytest.mark.slow
def test_it_learns_squares_that_it_has_not_seen(squares: Squares) -> None:
    settings = SMALL.model_copy(update={"epochs": 25, "batch_size": 4, "learning_rate": 5e-3})
    model = fit_segmenter(squares(24), settings, CPU)
    held = squares(40)
    found = model.segment(held.images[24:])
    assert found.dtype == torch.uint8
    assert float((found == held.masks[24:]).float().mean()) > 0.9
    likeliest = model.logits(to_signed(held.images[24:])).argmax(1)
    assert torch.equal(found, likeliest.to(torch.uint8))


def test_mirrored_images_keep_their_left_and_right(monkeypatch: pytest.MonkeyPatch, squares: Squares) -> None:
    """Of images whose left half is class 1 and whose right half is class 2, every augmented one is like that."""
    seen: dict[str, Any] = {}
    monkeypatch.setattr(module, "fit", lambda _model, examples, _loss, augment, *_: seen.update(augment=augment))
    masks = torch.ones(64, 16, 16, dtype=torch.uint8)
    masks[..., 8:] = 2
    images = torch.zeros(64, 3, 16, 16, dtype=torch.uint8)
    images[..., 8:] = 200
    pairs = replace(squares(1), images=images, masks=masks, flip_pairs=[(1, 2)])
    fit_segmenter(pairs, SMALL, CPU)
    found_images, found = seen["augment"](images, masks, torch.Generator().manual_seed(0))
    assert bool((found[..., :4] == 1).all()) and bool((found[..., 12:] == 2).all())
    again, _ = seen["augment"](images, masks, torch.Generator().manual_seed(0))
    assert torch.equal(again, found_images), "by its own stream alone"
    bright_left = (found_images[:, 0, 0, 0] == 200).float().mean()
    assert 0.3 < float(bright_left) < 0.7
    assert float(images.float().mean()) == 100  # the originals stay as they are
