"""Few-shot heads: the fit, the noise levels, the folds, and whose head is whose."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch import Tensor

from attribute_helpers import head_settings, normal
from fewshot_diffusion.attributes import heads
from fewshot_diffusion.attributes.features import ShotFeatures, save_shot_features
from fewshot_diffusion.attributes.heads import AttributeHead, fit_logistic, load_head, train_head
from fewshot_diffusion.diffusion.features import pool
from fewshot_diffusion.errors import CorruptFileError, DataError
from fewshot_diffusion.storage.weights import load_module

ABOUT = {"denoiser": "a" * 64, "mode": "exact", "attribute": "Beard"}
POOLED = 2 * 4  # of one map with four channels and one cell
SETTINGS = head_settings(taps=["mid_block"], pool_size=1, l2=[0.01, 0.1, 1.0], folds=5)


def shots(images: int = 20, repeats: int = 3, levels: int = 2, dim: int = POOLED) -> ShotFeatures:
    """Rows of one image lie apart, as flips and noise draws do; one direction tells the classes apart."""
    labels = (torch.arange(images) % 2 == 0).repeat(repeats)
    groups = (100 + 7 * torch.arange(images)).repeat(repeats)
    inputs = normal(levels, images * repeats, dim)
    inputs[:, :, 0] += 4 * labels - 2.0
    return ShotFeatures(inputs, labels, groups, torch.arange(levels) * 200 + 100)


def random_head(timesteps: list[int]) -> AttributeHead:
    head = AttributeHead(["mid_block"], 1, POOLED, timesteps, "Beard")
    head.weight.data, head.bias.data = normal(*head.weight.shape, seed=1), normal(len(timesteps), seed=2)
    return head.requires_grad_(False).eval()


# --- the fit ---


@pytest.mark.parametrize(("rows", "dim"), [(40, 6), (30, 80)])
@pytest.mark.parametrize("l2", [0.003, 0.1, 3.0])
def test_the_fit_is_the_optimum_of_the_penalised_loss(rows: int, dim: int, l2: float) -> None:
    inputs = normal(rows, dim) * torch.linspace(0.1, 30, dim) + torch.linspace(-20, 20, dim)
    labels = normal(rows, seed=3) + inputs[:, 0] * 5 + 99 > 0
    labels[0], labels[1] = True, False
    weight, bias = fit_logistic(inputs, labels, l2, 200)

    mean, scale = inputs.double().mean(0), inputs.double().std(0)
    # Back to the standardised inputs that the penalty is defined on.
    standardised = (inputs.double() - mean) / scale
    parameters = torch.cat([weight.double() * scale, (bias.double() + weight.double() @ mean)[None]])

    def loss(parameters: Tensor) -> Tensor:
        signed = (standardised @ parameters[:-1] + parameters[-1]) * torch.where(labels, 1.0, -1.0)
        return torch.nn.functional.softplus(-signed).mean() + 0.5 * l2 * parameters[:-1].square().sum()

    def value_and_gradient(array: np.ndarray) -> tuple[float, np.ndarray]:
        point = torch.tensor(array, dtype=torch.float64, requires_grad=True)
        value = loss(point)
        (gradient,) = torch.autograd.grad(value, point)
        return float(value.detach()), gradient.numpy()

    _, gradient = value_and_gradient(parameters.numpy())
    assert np.abs(gradient).max() < 2e-4
    assert np.abs(value_and_gradient(np.zeros(dim + 1))[1]).max() > 0.02
    best = minimize(value_and_gradient, np.zeros(dim + 1), jac=True, method="L-BFGS-B", options={"gtol": 1e-9})
    assert float(loss(parameters)) == pytest.approx(best.fun, abs=1e-5)
    # The folded weights, on the inputs as they are, give the logits of the standardised ones.
    expected = standardised @ torch.tensor(best.x[:-1]) + best.x[-1]
    torch.testing.assert_close((inputs @ weight + bias).double(), expected, rtol=0.01, atol=0.02)


def test_a_constant_input_gets_no_weight() -> None:
    inputs = normal(40, 5)
    inputs[:, 2] = 7.0
    weight, bias = fit_logistic(inputs, inputs[:, 0] > 0, 0.1, 200)
    assert weight.isfinite().all() and bias.isfinite()
    assert abs(float(weight[2])) < 1e-3
    assert float(weight[0]) > 0.5


def test_inputs_of_a_scale_of_their_own_are_not_blown_up() -> None:
    """As it is, a number that hardly varies gets little weight; standardised, it counts in full."""
    inputs, labels = normal(40, 2), normal(40, seed=5) > 0
    inputs[:, 1] = torch.where(labels, 0.01, -0.01)  # separates them, narrowly
    weights = {how: fit_logistic(inputs, labels, 0.1, 200, standardise=how)[0] for how in (True, False)}
    assert float(weights[True][1]) > 100 * float(weights[False][1]) > 0
    # The optimum of the loss on centred inputs: its gradient is zero.
    weight, bias = fit_logistic(inputs, labels, 0.1, 200, standardise=False)
    error = torch.sigmoid(inputs @ weight + bias) - labels.float()
    torch.testing.assert_close((error[:, None] * inputs).mean(0) + 0.1 * weight, torch.zeros(2), atol=1e-4, rtol=0)


def test_the_fit_works_where_gradients_are_off() -> None:
    inputs = normal(40, 5)
    expected, _ = fit_logistic(inputs, inputs[:, 0] > 0, 0.1, 200)
    with torch.no_grad():
        found, _ = fit_logistic(inputs, inputs[:, 0] > 0, 0.1, 200)
    assert torch.equal(found, expected)


def test_every_level_is_fitted_with_the_penalty_of_the_least_loss() -> None:
    data = shots()
    head, report = train_head(data, SETTINGS, "Beard")
    alone = {l2: train_head(data, SETTINGS.model_copy(update={"l2": [l2]}), "Beard")[1] for l2 in SETTINGS.l2}
    assert report == min(alone.values(), key=lambda found: found["log_loss"])
    assert len({found["log_loss"] for found in alone.values()}) == 3
    for level in range(2):
        weight, bias = fit_logistic(data.inputs[level], data.labels, report["l2"], 200)
        assert torch.equal(head.weight[level], weight) and torch.equal(head.bias[level], bias)
    assert head.timesteps == [100, 300]
    assert not head.training
    assert not any(parameter.requires_grad for parameter in head.parameters())


def test_a_head_learns_what_tells_the_classes_apart_and_reports_it_honestly() -> None:
    _, report = train_head(shots(), SETTINGS, "Beard")
    assert report["accuracy"] > 0.9
    # Eighteen, so that dealing out rows instead of images would not happen to keep images whole.
    noise = shots(18)
    # Noise that is alike in all rows of an image: whoever parts them over folds thinks that it can be learned.
    noise.inputs[:] = normal(2, 18, POOLED, seed=8).repeat(1, 3, 1)
    _, report = train_head(noise, SETTINGS, "Beard")
    assert report["accuracy"] < 0.55
    assert report["log_loss"] > 0.69


@pytest.mark.parametrize(("images", "repeats", "folds"), [(20, 3, 5), (100, 4, 5), (13, 2, 4), (6, 1, 3)])
def test_no_tested_row_is_of_an_image_that_was_fitted(
    monkeypatch: pytest.MonkeyPatch, images: int, repeats: int, folds: int
) -> None:
    data = shots(images, repeats, levels=1)
    # Each row holds its image's id, so that the fit can tell whose rows it was given.
    data.inputs[:] = data.groups.float()[None, :, None]
    fitted: list[set[tuple[int, bool]]] = []

    def fit(inputs: Tensor, labels: Tensor, *_settings: object) -> tuple[Tensor, Tensor]:
        fitted.append({(int(row[0]), bool(label)) for row, label in zip(inputs, labels, strict=True)})
        return torch.zeros(inputs.shape[1]), torch.zeros(())

    monkeypatch.setattr(heads, "fit_logistic", fit)
    train_head(data, SETTINGS.model_copy(update={"l2": [0.1], "folds": folds}), "Beard")
    *folded, everyone = fitted
    left_out = [everyone - seen for seen in folded]
    assert len(left_out) == folds
    assert sum(map(len, left_out)) == len(everyone) == images
    assert set().union(*left_out) == everyone
    for label in (True, False):
        counts = [sum(of == label for _, of in fold) for fold in left_out]
        assert max(counts) - min(counts) <= 1


# --- what is refused ---


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: data.labels.fill_(True), "Beard: all 60 rows"),
        (lambda data: data.labels.fill_(False), "Beard: all 60 rows"),
        (lambda data: data.inputs[1, 17, 3].fill_(float("nan")), "Beard: the cached features are not finite"),
        (lambda data: data.inputs[1, 17, 3].fill_(float("inf")), "Beard: the cached features are not finite"),
    ],
)
def test_shots_that_teach_nothing_are_refused(damage: Callable[[ShotFeatures], Tensor], message: str) -> None:
    data = shots()
    damage(data)
    with pytest.raises(DataError, match=message):
        train_head(data, SETTINGS, "Beard")


# --- the logit ---


def test_probabilities_of_both_values_sum_to_one() -> None:
    head, maps = random_head([100]), [10 * normal(6, 4, 3, 3)]
    yes, no = head.log_prob(maps, 100, True), head.log_prob(maps, 100, False)
    torch.testing.assert_close(yes.exp() + no.exp(), torch.ones(6))
    torch.testing.assert_close(yes - no, head(maps, 100))
    assert yes.shape == (6,)


def test_the_probability_stays_finite_for_hopeless_samples() -> None:
    log_prob = random_head([100]).log_prob([1e6 * normal(6, 4, 3, 3)], 100, True)
    assert log_prob.isfinite().all()
    assert float(log_prob.min()) < -1e4


def test_logits_are_interpolated_between_noise_levels_and_clamped_outside() -> None:
    head, maps = random_head([100, 300, 700]), [normal(5, 4, 3, 3)]
    inputs = pool(maps, 1)
    low, middle, high = (inputs @ head.weight[level] + head.bias[level] for level in range(3))
    expected = {0: low, 99: low, 100: low, 150: 0.75 * low + 0.25 * middle, 300: middle, 700: high, 999: high}
    expected |= {400: 0.75 * middle + 0.25 * high, 600: 0.25 * middle + 0.75 * high}
    for timestep, logit in expected.items():
        torch.testing.assert_close(head(maps, timestep), logit, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(low, middle, atol=0.1)
    assert not torch.allclose(middle, high, atol=0.1)


# --- storage ---


def test_a_head_is_trained_on_its_own_features_and_says_so(tmp_path: Path) -> None:
    cache, folder = tmp_path / "features.safetensors", tmp_path / "head"
    save_shot_features(shots(), cache, ABOUT)
    heads.train_attribute_head(SETTINGS, "exact", "Beard", cache, folder)
    found, mode = load_head(folder, ABOUT)
    assert mode == "exact"
    expected, report = train_head(shots(), SETTINGS, "Beard")
    assert torch.equal(found.weight, expected.weight) and torch.equal(found.bias, expected.bias)
    assert found.config == expected.config
    assert not any(parameter.requires_grad for parameter in found.parameters())
    _, about = load_module(lambda config: AttributeHead(**config), folder)
    assert about == {**ABOUT, "cross_validation": report}


@pytest.mark.parametrize(("mode", "attribute"), [("readout", "Beard"), ("exact", "Blond")])
def test_features_in_anothers_place_are_refused(tmp_path: Path, mode: str, attribute: str) -> None:
    save_shot_features(shots(), tmp_path / "features.safetensors", ABOUT)
    with pytest.raises(CorruptFileError, match=r"was made for .* 'exact'|was made for attribute 'Beard'"):
        heads.train_attribute_head(SETTINGS, mode, attribute, tmp_path / "features.safetensors", tmp_path / "head")
    assert not (tmp_path / "head").exists()
