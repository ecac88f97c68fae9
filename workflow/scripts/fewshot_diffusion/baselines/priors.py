"""Denoisers of latents that are vectors."""

import torch
from diffusers.models.embeddings import TimestepEmbedding, Timesteps
from torch import Tensor, nn

from ..config.baselines import MlpPriorConfig

TIME_CHANNELS = 64


class _Layer(nn.Module):
    """Linear, scaled by the timestep, normalised, SiLU."""

    def __init__(self, inputs: int, outputs: int, time_size: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)
        self.scale = nn.Linear(time_size, outputs)
        self.norm = nn.LayerNorm(outputs)

    def forward(self, inputs: Tensor, time: Tensor) -> Tensor:
        return nn.functional.silu(self.norm(self.linear(inputs) * (1 + self.scale(time))))


class MlpPrior(nn.Module):
    """A perceptron whose every layer reads x_t again, and the timestep.

    Source: Preechakul et al. 2022 (Diffusion autoencoders), appendix on the latent DDIM.
    """

    def __init__(self, latent_size: int, settings: MlpPriorConfig) -> None:
        super().__init__()
        hidden = settings.hidden_size
        self.time_proj = Timesteps(TIME_CHANNELS, flip_sin_to_cos=True, downscale_freq_shift=0)
        self.time_embedding = TimestepEmbedding(TIME_CHANNELS, hidden)
        sizes = [latent_size] + [hidden + latent_size] * (settings.num_layers - 2)
        self.layers = nn.ModuleList(_Layer(size, hidden, hidden) for size in sizes)
        self.last = nn.Linear(hidden + latent_size, latent_size)

    def forward(self, x_t: Tensor, timesteps: Tensor) -> Tensor:
        """Return eps, v or x_0 of noisy latents, [B, D], at timesteps, [B] or [1]."""
        time = self.time_embedding(self.time_proj(timesteps))
        hidden = self.layers[0](x_t, time)
        for layer in self.layers[1:]:
            hidden = layer(torch.cat([hidden, x_t], 1), time)
        output: Tensor = self.last(torch.cat([hidden, x_t], 1))
        return output
