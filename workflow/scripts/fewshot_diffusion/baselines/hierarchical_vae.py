"""A hierarchical variational autoencoder in NVAE's style: groups of latents from coarse to fine, residual posteriors.

It is smaller and plainer than NVAE: group norms for batch norms, a discretised logistic for a mixture of them, no
flows; and dense convolutions for depthwise ones, whose gradients take thirty times as long on a CPU.

Source: Vahdat and Kautz 2020, "NVAE: A deep hierarchical variational autoencoder".
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import SqueezeExcitation

from ..config.baselines import HierarchicalVAEConfig
from ..config.denoiser import ScheduleConfig
from ..config.sampling import SamplingConfig
from .base import LatentModel, seeded_noise

LEVELS = 256  # of a pixel's channel
MIN_LOG_SCALE = -7.0  # an eighth of a level: a narrower distribution could not be told from it


class ResidualCell(nn.Module):
    """x + 0.1 f(x), f: norm, swish, convolution, twice; then squeeze and excitation."""

    def __init__(self, width: int, norms: int) -> None:
        super().__init__()

        def convolution() -> list[nn.Module]:
            return [nn.GroupNorm(norms, width), nn.SiLU(), nn.Conv2d(width, width, 3, padding=1)]

        excitation = SqueezeExcitation(width, max(4, width // 16))
        self.residual = nn.Sequential(*convolution(), *convolution(), excitation)

    def forward(self, maps: Tensor) -> Tensor:
        """Return maps of the same shape."""
        refined: Tensor = maps + 0.1 * self.residual(maps)
        return refined


@dataclass(frozen=True)
class Gaussian:
    """A normal distribution of each number of a latent.

    Attributes:
        mean: Float32 [B, C, h, w].
        log_scale: Logarithm of the standard deviation, alike.
    """

    mean: Tensor
    log_scale: Tensor

    @classmethod
    def of_maps(cls, maps: Tensor) -> "Gaussian":
        """Return the distribution whose parameters are maps [B, 2 C, h, w], softly held within -5..5."""
        return cls(*(5 * (maps.float() / 5).tanh()).chunk(2, dim=1))

    def moved(self, by: "Gaussian") -> "Gaussian":
        """Return the posterior N(mean + by.mean, scale * by.scale), residual to this prior."""
        return Gaussian(self.mean + by.mean, self.log_scale + by.log_scale)

    def place(self, standard: Tensor) -> Tensor:
        """Return mean + scale * standard: where a standard normal number lies."""
        return self.mean + self.log_scale.exp() * standard


def residual_divergence(prior: Gaussian, by: Gaussian) -> Tensor:
    """Return KL(prior.moved(by) || prior) of each number, in nats.

    KL = (by.mean^2 / scale^2 + by.scale^2 - log by.scale^2 - 1) / 2 with the prior's scale.

    Source: Vahdat and Kautz 2020, eq. 2.
    """
    shift, log_scale = by.mean * (-prior.log_scale).exp(), by.log_scale
    return 0.5 * (shift.square() + (2 * log_scale).exp() - 2 * log_scale - 1)


class LatentGroup(nn.Module):
    """Latents of one group: their prior, of the maps above; their posterior; and how they enter the maps."""

    def __init__(self, width: int, channels: int, norms: int) -> None:
        super().__init__()
        self.prior = nn.Sequential(nn.GroupNorm(norms, width), nn.SiLU(), nn.Conv2d(width, 2 * channels, 1))
        self.posterior = nn.Sequential(
            nn.GroupNorm(norms, 2 * width), nn.SiLU(), nn.Conv2d(2 * width, 2 * channels, 3, padding=1)
        )
        self.enter = nn.Conv2d(channels, width, 1)
        self.cell = ResidualCell(width, norms)

    def forward(self, maps: Tensor, choose: "Choose") -> Tensor:
        """Return the maps below, [B, width, h, w], of those above."""
        latents = choose(self, maps, Gaussian.of_maps(self.prior(maps)))
        below: Tensor = self.cell(maps + self.enter(latents))
        return below

    def residual(self, maps: Tensor, seen: Tensor) -> Gaussian:
        """Return what moves the prior to the posterior, of the maps above and the encoder's."""
        return Gaussian.of_maps(self.posterior(torch.cat([maps, seen], dim=1)))


Choose = Callable[[LatentGroup, Tensor, Gaussian], Tensor]
"""(group, the maps above it [B, width, h, w], the prior) -> its latents [B, C, h, w]."""


class Level(nn.Module):
    """One resolution of the decoder: its groups of latents, its cells, and the way to the next finer resolution."""

    def __init__(self, settings: HierarchicalVAEConfig, depth: int) -> None:
        super().__init__()
        widths, norms = settings.block_out_channels[::-1], settings.norm_num_groups
        width = widths[depth]
        channels = [scale.channels for scale in settings.latents[depth : depth + 1] for _ in range(scale.groups)]
        self.groups = nn.ModuleList(LatentGroup(width, number, norms) for number in channels)
        self.cells = nn.Sequential(*(ResidualCell(width, norms) for _ in range(settings.cells_per_level)))
        finer = widths[depth + 1 : depth + 2]
        self.doubled = nn.Sequential(
            *(module for w in finer for module in (nn.Upsample(scale_factor=2), nn.Conv2d(width, w, 3, padding=1)))
        )

    def forward(self, maps: Tensor, choose: Choose) -> Tensor:
        """Return the maps of the next level, [B, width, 2 h, 2 w], or of the last one, of those of the former."""
        for group in self.groups:
            maps = group(maps, choose)
        finer: Tensor = self.doubled(self.cells(maps))
        return finer


class Network(nn.Module):
    """Encoder from fine to coarse, decoder from coarse to fine; its levels are counted from the coarsest."""

    def __init__(self, settings: HierarchicalVAEConfig, image_size: int) -> None:
        super().__init__()
        widths, patch, norms = settings.block_out_channels, settings.patch_size, settings.norm_num_groups
        ways = [nn.Conv2d(3 * patch**2, widths[0], 3, padding=1)]
        ways += [nn.Conv2d(fine, coarse, 3, stride=2, padding=1) for fine, coarse in pairwise(widths)]
        self.encoder = nn.ModuleList(
            nn.Sequential(way, *(ResidualCell(width, norms) for _ in range(settings.cells_per_level)))
            for way, width in zip(ways, widths, strict=True)
        )
        self.top = nn.Parameter(torch.randn(1, widths[-1], *[image_size // settings.multiple] * 2))
        self.levels = nn.ModuleList(Level(settings, depth) for depth in range(len(widths)))
        self.head = nn.Sequential(
            nn.GroupNorm(norms, widths[0]), nn.SiLU(), nn.Conv2d(widths[0], 6 * patch**2, 3, padding=1)
        )
        self.patch_size = patch

    def seen(self, clean: Tensor) -> list[Tensor]:
        """Return the encoder's maps of images [B, 3, H, W], one a level, the coarsest first."""
        maps, found = F.pixel_unshuffle(clean, self.patch_size), []
        for part in self.encoder:
            maps = part(maps)
            found.append(maps)
        return found[::-1]

    def start(self, batch: int) -> Tensor:
        """Return the maps above the coarsest level: the same for all samples."""
        return self.top.expand(batch, -1, -1, -1)

    def likelihood(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and logarithmic scale of every pixel's channels, float32 [B, 3, H, W], of the last maps."""
        mean, log_scale = F.pixel_shuffle(self.head(maps).float(), self.patch_size).chunk(2, dim=1)
        return mean, log_scale.clamp_min(MIN_LOG_SCALE)


class HierarchicalVAE(LatentModel):
    """A ladder of latents, whose coarsest scale classifiers read, in units of its prior: there it is standard normal.

    Everything below that scale is drawn again for every sample, from the sample's own seed.
    """

    stages = {"network": "images"}  # noqa: RUF012  a constant
    settings: HierarchicalVAEConfig

    def __init__(self, settings: HierarchicalVAEConfig, schedule: ScheduleConfig, image_size: int) -> None:
        sizes = settings.latent_sizes(image_size)
        super().__init__(sum(sizes[0]), image_size)
        self.settings, self.schedule = settings, schedule
        self.sizes = [size for scale in sizes for size in scale]  # numbers of each group, as they are drawn
        self.network = Network(settings, image_size)

    def loss(self, stage: str, examples: Tensor, done: float, stream: torch.Generator) -> Tensor:
        """Return the negative evidence bound, nats per pixel and channel, with free bits and a weighted divergence.

        (-log p(x | z) + w sum_scale max(KL_scale, free_nats_scale)) / (3 H W), w growing from 0 to kl_weight during
        kl_warmup. Above 1 it makes up for a prior of few groups: with 1, nearly all that is seen of an image hides in
        latents that such a prior cannot draw.

        Source: Higgins et al. 2017, "beta-VAE", eq. 4; Kingma et al. 2016, "Improved variational inference with inverse
        autoregressive flow", eq. 15, with a scale as what they call a group.
        """
        found: list[Tensor] = []
        maps = self._descend(examples, partial(_sampled, stream, found))
        scales = torch.stack(found).split([scale.groups for scale in self.settings.latents])
        divergences = torch.stack([groups.sum() for groups in scales])
        free = divergences.new_tensor([scale.free_nats for scale in self.settings.latents])
        error = logistic_nats(examples, *self.network.likelihood(maps)).sum((1, 2, 3)).mean()
        grown = min(1.0, done / self.settings.kl_warmup) if self.settings.kl_warmup else 1.0
        return (error + self.settings.kl_weight * grown * divergences.maximum(free).sum()) / examples[0].numel()

    def posterior_mean(self, clean: Tensor) -> Tensor:
        """Return the posterior means of images at the coarsest scale, in units of the prior, group by group."""
        found: list[Tensor] = []
        self._descend(clean, partial(_at_mean, found), levels=1)
        return torch.cat(found, dim=1)

    def normalise(self, latents: Tensor) -> None:
        """Leave the latents as they are: they are in units of the prior, which is fixed."""

    def draw_latents(self, seeds: Sequence[int], sampling: SamplingConfig) -> Tensor:
        """Return latents of the prior, a standard normal that the temperature narrows."""
        return self._noise("latent", seeds, self.latent_size)

    def decode(self, latents: Tensor, seeds: Sequence[int], sampling: SamplingConfig) -> Tensor:
        """Return the means of the pixels, of latents at the coarsest scale, and of noise at the others."""
        finer = self._noise("image", seeds, sum(self.sizes) - self.latent_size)
        standard = iter(torch.cat([latents, finer], dim=1).split(self.sizes, dim=1))

        def drawn(_group: LatentGroup, _above: Tensor, prior: Gaussian) -> Tensor:
            return prior.place(next(standard).view(-1, *prior.mean.shape[1:]))

        maps = self.network.start(len(latents))
        for level in self.network.levels:
            maps = level(maps, drawn)
        return self.network.likelihood(maps)[0]

    def reconstruct(self, clean: Tensor, sampling: SamplingConfig) -> Tensor:
        """Return images as they come through the posterior means of all scales."""
        return self.network.likelihood(self._descend(clean, partial(_at_mean, [])))[0]

    def _descend(self, clean: Tensor, choose: "ChooseSeen", levels: int | None = None) -> Tensor:
        maps = self.network.start(len(clean))
        for level, seen in list(zip(self.network.levels, self.network.seen(clean), strict=True))[:levels]:
            maps = level(maps, partial(choose, seen))
        return maps

    def _noise(self, purpose: str, seeds: Sequence[int], size: int) -> Tensor:
        noise = seeded_noise(f"hierarchical_vae {purpose}", seeds, (size,), self.latent_mean.device)
        return self.settings.temperature * noise.draw()


ChooseSeen = Callable[[Tensor, LatentGroup, Tensor, Gaussian], Tensor]
"""The same, with the encoder's maps of the level before the others."""


def _sampled(
    stream: torch.Generator, divergences: list[Tensor], seen: Tensor, group: LatentGroup, above: Tensor, prior: Gaussian
) -> Tensor:
    """Return a sample of the posterior, and note the divergence: nats an image."""
    by = group.residual(above, seen)
    divergences.append(residual_divergence(prior, by).sum((1, 2, 3)).mean())
    noise = torch.randn(by.mean.shape, generator=stream, device=by.mean.device)
    return prior.moved(by).place(noise)


def _at_mean(standard: list[Tensor], seen: Tensor, group: LatentGroup, above: Tensor, prior: Gaussian) -> Tensor:
    """Return the mean of the posterior, and note where it lies in units of the prior, [B, C h w]."""
    by = group.residual(above, seen)
    standard.append((by.mean * (-prior.log_scale).exp()).flatten(1))
    return prior.moved(by).mean


def logistic_nats(clean: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    """Return -log p of the 256 levels of pixels under a discretised logistic distribution, in nats, shape of ``clean``.

    p(x) = sigmoid(a) - sigmoid(b) = sigmoid(a) sigmoid(-b) (1 - exp(b - a)), a and b the edges of the level,
    (x +- 1 / 255 - mean) / scale; the lowest level reaches to minus infinity, the highest to infinity.

    Args:
        clean: Images, -1..1, at the levels -1 + 2 k / 255.
        mean: Of the logistic.
        log_scale: Logarithm of its scale.

    Source: Salimans et al. 2017, "PixelCNN++", section 2.1, with one component.
    """
    half, inverse = 1 / (LEVELS - 1), (-log_scale).exp()
    above, below = (clean + half - mean) * inverse, (clean - half - mean) * inverse
    inside = torch.log(-torch.expm1(-2 * half * inverse))
    lowest, highest = clean < half - 1, clean > 1 - half
    log_p = torch.where(highest, 0, F.logsigmoid(above)) + torch.where(lowest, 0, F.logsigmoid(-below))
    return -(log_p + torch.where(lowest | highest, 0, inside))
