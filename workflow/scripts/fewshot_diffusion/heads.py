"""Few-shot heads on denoiser activations: p(attribute | image) from 50 + 50 images."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .config.attributes import HeadConfig
from .errors import DataError, WeightsError
from .io import load_module, read_tensors, read_weights_provenance, write_tensors
from .progress import Progress


@dataclass(frozen=True)
class ShotFeatures:
    """Cached head inputs of the labelled shots.

    Attributes:
        inputs: Pooled activations, float32 [K, R, D]: K noise levels, R rows (shots x flips x draws).
        labels: Whether the row's image has the attribute, bool [R].
        groups: Image id of each row, int64 [R]; rows of one image never part in cross-validation.
        timesteps: The K timestep labels, int64 [K], ascending.
    """

    inputs: Tensor
    labels: Tensor
    groups: Tensor
    timesteps: Tensor


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


def levels_around(levels: Sequence[int], timestep: int) -> tuple[int, int, float]:
    """Return the positions of the ascending levels below and above a timestep, and its share of the way between."""
    if timestep <= levels[0]:
        return 0, 0, 0.0
    for i, (low, high) in enumerate(pairwise(levels)):
        if timestep <= high:
            return i, i + 1, (timestep - low) / (high - low)
    return len(levels) - 1, len(levels) - 1, 0.0


def pool(maps: Sequence[Tensor], pool_size: int) -> Tensor:
    """Return means and standard deviations of activations over a grid of cells.

    Args:
        maps: Activations, each [B, C, h, w].
        pool_size: Cells a side; a map smaller than that is pooled to its own size.

    Returns:
        float32 [B, D], D = sum over maps of 2 C cells^2.
    """
    parts = []
    for activation in maps:
        activation = activation.float()
        cells = min(pool_size, activation.shape[-1])
        mean = F.adaptive_avg_pool2d(activation, cells)
        square = F.adaptive_avg_pool2d(activation.square(), cells)
        # The offset keeps the square root differentiable where a cell is constant.
        deviation = (square - mean.square()).clamp_min(0).add(1e-4).sqrt()
        parts += [mean.flatten(1), deviation.flatten(1)]
    return torch.cat(parts, dim=1)


def train_head(shots: ShotFeatures, settings: HeadConfig, attribute: str) -> tuple[AttributeHead, dict[str, float]]:
    """Fit a head; the penalty is cross-validated on the shots alone.

    Returns:
        The head, and its report: chosen ``l2``, cross-validated ``accuracy`` and ``log_loss`` (nats).

    Raises:
        DataError: If the shots hold one class only or non-finite features.
    """
    if shots.labels.all() or not shots.labels.any():
        raise DataError(f"{attribute}: all {len(shots.labels)} rows of the shots have the same label; both are needed.")
    if not shots.inputs.isfinite().all():
        raise DataError(f"{attribute}: the cached features are not finite. Check the denoiser, delete the cache.")
    reports = {l2: _cross_validate(shots, l2, settings) for l2 in Progress(settings.l2, desc="penalties")}
    best = min(reports, key=lambda l2: reports[l2]["log_loss"])
    timesteps = [int(t) for t in shots.timesteps]
    head = AttributeHead(settings.taps, settings.pool_size, shots.inputs.shape[-1], timesteps, attribute)
    for level, inputs in enumerate(shots.inputs):
        weight, bias = fit_logistic(inputs, shots.labels, best, settings.max_iterations)
        head.weight.data[level], head.bias.data[level] = weight, bias
    head.requires_grad_(False).eval()
    return head, {"l2": best, **reports[best]}


def fit_logistic(inputs: Tensor, labels: Tensor, l2: float, max_iterations: int) -> tuple[Tensor, Tensor]:
    """Fit mean log-loss + l2 |w|^2 / 2 on standardised inputs by L-BFGS.

    Args:
        inputs: float32 [R, D].
        labels: bool [R].
        l2: Penalty on the weights of the standardised inputs.
        max_iterations: L-BFGS iterations.

    Returns:
        Weight [D] and bias (scalar) that apply to the inputs as they are.
    """
    mean, scale = inputs.mean(0), inputs.std(0).clamp_min(1e-3)
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


def _cross_validate(shots: ShotFeatures, l2: float, settings: HeadConfig) -> dict[str, float]:
    fold_of = _folds(shots, settings.folds)
    losses, hits = [], []
    for inputs in shots.inputs:
        for fold in range(settings.folds):
            train, test = fold_of != fold, fold_of == fold
            weight, bias = fit_logistic(inputs[train], shots.labels[train], l2, settings.max_iterations)
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


def save_shot_features(shots: ShotFeatures, path: Path, provenance: dict[str, object]) -> None:
    """Write cached head inputs."""
    names = ("inputs", "labels", "groups", "timesteps")
    write_tensors(path, {name: getattr(shots, name) for name in names}, provenance)


def load_shot_features(path: Path) -> tuple[ShotFeatures, dict[str, Any]]:
    """Read cached head inputs and their provenance."""
    tensors, provenance = read_tensors(path)
    return ShotFeatures(**tensors), provenance


def load_head(folder: Path, denoiser_digest: str) -> AttributeHead:
    """Load a head for use with the denoiser of this digest.

    Raises:
        WeightsError: If the head was trained on another denoiser's activations.
    """
    check_reads(folder, denoiser_digest)
    return load_module(lambda config: AttributeHead(**config), folder)


def check_reads(folder: Path, denoiser_digest: str) -> None:
    """Raise ``WeightsError`` unless what lies in ``folder`` (head, ControlNet) was trained with this denoiser."""
    trained_on = str(read_weights_provenance(folder).get("denoiser"))
    if trained_on != denoiser_digest:
        raise WeightsError(
            f"{folder}: was trained with denoiser {trained_on[:12]}, found {denoiser_digest[:12]}. Train it again."
        )
