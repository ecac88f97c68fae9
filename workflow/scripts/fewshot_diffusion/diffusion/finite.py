"""Samplings that leave the finite numbers: noticed on the device, asked for once, at the end."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ..errors import SamplingError


class FiniteSteps:
    """Which samples were finite at which step.

    The flags stay on the device: to look at them at every step would let a GPU wait.
    """

    def __init__(self) -> None:
        self._timesteps: list[int] = []
        self._flags: list[Tensor] = []  # bool [B] of each step
        self._x_t = torch.empty(0)  # what the first step was given whose results are not finite, or the last step

    def note(self, timestep: int, x_t: Tensor, *results: Tensor) -> None:
        """Remember whether what a step made of ``x_t`` is finite; each result is [B, ...]."""
        so_far = torch.stack(self._flags[-1:]).all() if self._flags else None
        finite = torch.stack([result.isfinite().flatten(1).all(1) for result in results]).all(0)
        self._x_t = x_t if so_far is None else torch.where(so_far, x_t, self._x_t)
        self._timesteps.append(timestep)
        # Once a batch has a sample that is not finite, so it stays.
        self._flags.append(finite if so_far is None else finite & so_far)

    def require(self, seeds: Sequence[int], plain: Callable[[Tensor, int], Tensor]) -> None:
        """Raise ``SamplingError`` unless all was finite: with seed, timestep, and what is to blame.

        Args:
            seeds: Seeds of the samples.
            plain: The denoiser without guidance: it is asked again, where the samples ceased to be finite.
        """
        if not self._flags:
            return
        flags = torch.stack(self._flags).cpu()
        if flags.all():
            return
        step = int(flags.all(1).int().argmin())
        timestep, sample = self._timesteps[step], int(flags[step].int().argmin())
        guided = bool(plain(self._x_t, timestep).isfinite().all())
        raise SamplingError(
            f"The sample of seed {seeds[sample]} is not finite from timestep {timestep} on (step {step + 1} of "
            f"{len(flags)}). {_GUIDANCE if guided else _DENOISER}"
        )


_GUIDANCE = (
    "Without guidance it is, there: lower its scale (guidance_scale; of classes, classifier_free_scale), or set "
    "precision to float32."
)
_DENOISER = (
    "The denoiser's own output is not, there: set precision to float32; if that is no cure, its weights are broken, "
    "or denoiser.schedule is not the one that it was trained on."
)
