"""Training of baselines: stages one after another, an interruption in any of them leaves no trace."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from baseline_helpers import PRIOR, SIZE, baselines, recipe, write_images
from fewshot_diffusion.baselines.models import load_baseline
from fewshot_diffusion.baselines.training import StageTraining, train_baseline
from fewshot_diffusion.errors import WeightsError
from fewshot_diffusion.storage.weights import WEIGHTS_FILE, WEIGHTS_FILES


def train(root: Path, name: str) -> Path:
    images = root / "images.parquet"
    if not images.exists():
        write_images(images)
    train_baseline(recipe(), images, root / f"{name}-states", root / name, "cpu")
    return root / name


def test_a_training_that_was_killed_in_any_stage_ends_with_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = [(train(tmp_path, "whole") / file).read_bytes() for file in WEIGHTS_FILES]
    train_step = StageTraining.train_step
    for stage, step in (("autoencoder", 3), ("prior", 5)):

        def killed(self: StageTraining, images: Tensor, at: tuple[str, int] = (stage, step)) -> Tensor:
            if (self.stage, self.step) == at:
                raise KeyboardInterrupt
            return train_step(self, images)

        monkeypatch.setattr(StageTraining, "train_step", killed)
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path, "resumed")
        assert not (tmp_path / "resumed").exists()
    monkeypatch.setattr(StageTraining, "train_step", train_step)
    assert [(train(tmp_path, "resumed") / file).read_bytes() for file in WEIGHTS_FILES] == whole
    stored = load_file(tmp_path / "resumed" / WEIGHTS_FILE)
    assert {tensor.dtype for tensor in stored.values()} == {torch.float16}
    assert {tensor.dtype for tensor in load_baseline("diffae", tmp_path / "resumed").state_dict().values()} == {
        torch.float32
    }


def test_another_prior_trains_no_autoencoder_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = load_baseline("diffae", train(tmp_path, "one"))
    stages: list[str] = []
    train_step = StageTraining.train_step

    def noted(self: StageTraining, images: Tensor) -> Tensor:
        stages.append(self.stage)
        return train_step(self, images)

    monkeypatch.setattr(StageTraining, "train_step", noted)
    wider: dict[str, Any] = {**PRIOR, "hidden_size": 12}
    images, states = tmp_path / "images.parquet", tmp_path / "one-states"
    train_baseline(recipe(prior=wider), images, states, tmp_path / "two", "cpu")
    after = load_baseline("diffae", tmp_path / "two")
    assert set(stages) == {"prior"}
    clean = torch.zeros(1, 3, SIZE, SIZE)
    assert torch.equal(before.encode(clean), after.encode(clean))


def test_weights_that_are_missing_are_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="is missing"):
        load_baseline("diffae", tmp_path)


@pytest.mark.parametrize(
    ("key", "value"), [("random_flip", True), ("timestep_power", 2), ("compile", True), ("batch_size", 0)]
)
def test_a_stage_of_latents_refuses_what_it_does_not_do(key: str, value: object) -> None:
    training: dict[str, Any] = {**PRIOR["training"], key: value}  # type: ignore[dict-item]
    with pytest.raises(ValueError, match=key):
        baselines(prior={**PRIOR, "training": training})
