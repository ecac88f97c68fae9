"""Few-shot heads on denoiser activations: p(attribute | image) from 50 + 50 images."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..config.attributes import AttributeHeadConfig
from ..config.base import Mode
from ..diffusion.features import levels_around, pool
from ..errors import DataError
from ..progress import Progress
from ..storage.files import About
from ..storage.weights import load_module, save_module
from .features import ShotFeatures, load_shot_features


class AttributeHead(nn.Module):
    """Logistic head on pooled activations, one linear map per noise level.

    logit(t) is interpolated linearly in t between the two nearest levels; a head of the clean image
    has one level. Inputs are standardised with the shots' moments, folded into weight and bias.
    """

    def __init__(self, taps: list[str], pool_size: int, num_inputs: int, timesteps: list[int], attribute: str) -> None:
        super().__init__()
        self.attribute = attribute
        self.taps = list(taps)
        self.pool_size = pool_size
        self.timesteps = list(timesteps)
        self.weight = nn.Parameter(torch.zeros(len(timesteps), num_inputs))
        self.bias = nn.Parameter(torch.zeros(len(timesteps)))

    @property
    def config(self) -> dict[str, Any]:
        """Arguments that build this head."""
        return {
            "taps": self.taps,
            "pool_size": self.pool_size,
            "num_inputs": self.weight.shape[1],
            "timesteps": self.timesteps,
            "attribute": self.attribute,
        }

    def forward(self, maps: Sequence[Tensor], timestep: int) -> Tensor:
        """Return the logit of the attribute.

        Args:
            maps: Activations at ``self.taps``, each [B, C, h, w].
            timestep: Timestep label that the activations were computed with.

        Returns:
            Log-odds, float32 [B].
        """
        inputs = pool(maps, self.pool_size)
        lower, upper, share = levels_around(self.timesteps, timestep)
        logits = torch.lerp(self._logit(inputs, lower), self._logit(inputs, upper), share)
        return logits

    def log_prob(self, maps: Sequence[Tensor], timestep: int, value: bool) -> Tensor:
        """Return log p(attribute = value | activations) of each sample, nats, [B]."""
        logit = self(maps, timestep)
        return F.logsigmoid(logit if value else -logit)

    def _logit(self, inputs: Tensor, level: int) -> Tensor:
        return inputs @ self.weight[level] + self.bias[level]


def train_head(
    shots: ShotFeatures, settings: AttributeHeadConfig, attribute: str, standardise: bool = True
) -> tuple[AttributeHead, dict[str, float]]:
    """Fit a head; the penalty is cross-validated on the shots alone.

    Args:
        shots: Cached inputs and labels.
        settings: Penalties, folds, iterations.
        attribute: Name of the attribute.
        standardise: By the moments of the shots; false where inputs have a scale of their own.

    Returns:
        The head, and its report: chosen ``l2``, cross-validated ``accuracy`` and ``log_loss`` (nats).

    Raises:
        DataError: If the shots hold one class only or non-finite features.
    """
    if shots.labels.all() or not shots.labels.any():
        raise DataError(f"{attribute}: all {len(shots.labels)} rows of the shots have the same label; both are needed.")
    if not shots.inputs.isfinite().all():
        raise DataError(f"{attribute}: the cached features are not finite. Check the denoiser, delete the cache.")
    reports = {l2: _cross_validate(shots, l2, settings, standardise) for l2 in Progress(settings.l2, desc="penalties")}
    best = min(reports, key=lambda l2: reports[l2]["log_loss"])
    timesteps = [int(t) for t in shots.timesteps]
    head = AttributeHead(settings.taps, settings.pool_size, shots.inputs.shape[-1], timesteps, attribute)
    for level, inputs in enumerate(shots.inputs):
        weight, bias = fit_logistic(inputs, shots.labels, best, settings.max_iterations, standardise)
        head.weight.data[level], head.bias.data[level] = weight, bias
    head.requires_grad_(False).eval()
    return head, {"l2": best, **reports[best]}


def fit_logistic(
    inputs: Tensor, labels: Tensor, l2: float, max_iterations: int, standardise: bool = True
) -> tuple[Tensor, Tensor]:
    """Fit mean log-loss + l2 |w|^2 / 2 on standardised inputs, or on inputs as they are, by L-BFGS.

    Args:
        inputs: float32 [R, D].
        labels: bool [R].
        l2: Penalty on the weights of the standardised inputs.
        max_iterations: L-BFGS iterations.
        standardise: False: the penalty is on the weights of the inputs as they are.

    Returns:
        Weight [D] and bias (scalar) that apply to the inputs as they are.
    """
    mean = inputs.mean(0)
    scale = inputs.std(0).clamp_min(1e-3) if standardise else torch.ones_like(mean)
    # The solution lies in the row space: fit its coordinates there, exactly and faster.
    _, _, basis = torch.linalg.svd((inputs - mean) / scale, full_matrices=False)
    coordinates = ((inputs - mean) / scale) @ basis.T
    weight = torch.zeros(len(basis), requires_grad=True)
    bias = torch.zeros((), requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weight, bias], max_iter=max_iterations, line_search_fn="strong_wolfe", tolerance_grad=1e-6
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.binary_cross_entropy_with_logits(coordinates @ weight + bias, labels.float())
        total = loss + 0.5 * l2 * weight.square().sum()
        total.backward()
        return total

    with torch.enable_grad():
        optimizer.step(closure)
    folded = (weight.detach() @ basis) / scale
    return folded, bias.detach() - folded @ mean


def _cross_validate(
    shots: ShotFeatures, l2: float, settings: AttributeHeadConfig, standardise: bool
) -> dict[str, float]:
    fold_of = _folds(shots, settings.folds)
    losses, hits = [], []
    for inputs in shots.inputs:
        for fold in range(settings.folds):
            train, test = fold_of != fold, fold_of == fold
            weight, bias = fit_logistic(inputs[train], shots.labels[train], l2, settings.max_iterations, standardise)
            logits = inputs[test] @ weight + bias
            losses.append(F.binary_cross_entropy_with_logits(logits, shots.labels[test].float(), reduction="none"))
            hits.append((logits > 0) == shots.labels[test])
    return {"log_loss": float(torch.cat(losses).mean()), "accuracy": float(torch.cat(hits).float().mean())}


def _folds(shots: ShotFeatures, folds: int) -> Tensor:
    """Assign whole images to folds, the classes dealt out evenly."""
    fold_of = torch.empty(len(shots.groups), dtype=torch.int64)
    for label in (True, False):
        images = shots.groups[shots.labels == label].unique()
        for position, image in enumerate(images):
            fold_of[(shots.groups == image) & (shots.labels == label)] = position % folds
    return fold_of


def train_attribute_head(
    settings: AttributeHeadConfig, mode: Mode, attribute: str, features: Path, output: Path
) -> None:
    """Fit the few-shot head of one attribute on cached features.

    Args:
        settings: Section attributes.head, JSON.
        mode: exact or readout: what the features are of.
        attribute: Name of the attribute.
        features: Cached features, safetensors.
        output: Weights folder to write.

    Raises:
        CorruptFileError: If the features are of another attribute or mode.
        DataError: If the shots hold one class only or non-finite features.
    """
    shots, about = load_shot_features(features, {"mode": mode, "attribute": attribute})
    head, report = train_head(shots, settings, attribute)
    save_module(head, head.config, output, {**about, "cross_validation": report})


def load_head(folder: Path, expected: About) -> tuple[AttributeHead, Mode]:
    """Load a head for use with one denoiser, in one mode, towards one attribute; return its mode, too.

    Raises:
        WeightsError: If the head is of another ``denoiser`` (digest), ``mode`` or ``attribute`` than expected.
    """
    head, about = load_module(lambda config: AttributeHead(**config), folder, expected=expected)
    return head, about["mode"]
