"""Forward passes of public denoisers, written from their papers on weights that are named as their files name them.

Each can be given one fault: what a conversion gets wrong when it overlooks a switch. Sources: Ho et al. 2020, appendix
B; Nichol and Dhariwal 2021, section 3; Dhariwal and Nichol 2021, section 3.
"""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F


class Weights(dict[str, Tensor]):
    """Weights, drawn when a network first asks for them: none is zero, also where the authors start from zero."""

    def __init__(self, seed: int = 0, device: str = "cpu") -> None:
        super().__init__()
        self.stream, self.device = torch.Generator().manual_seed(seed), device

    def take(self, name: str, *shape: int) -> Tensor:
        if name not in self:
            self[name] = torch.empty(shape, device=self.device) if self.device == "meta" else self.draw(name, shape)
        assert self[name].shape == shape, name
        return self[name]

    def draw(self, name: str, shape: tuple[int, ...]) -> Tensor:
        noise = torch.randn(shape, generator=self.stream)
        if len(shape) == 1:
            return 0.3 * noise + name.endswith(".weight")  # a normalisation's gain, or a bias
        sharp = 1.5 if any(part in name for part in ("qkv", ".q.", ".k.")) else 0.7
        return sharp * noise / math.prod(shape[1:]) ** 0.5


@dataclass
class Network:
    """What both families share."""

    channels: tuple[int, ...] = (32, 64)
    layers: int = 1
    attention: tuple[int, ...] = (1,)
    out: int = 3
    epsilon: float = 1e-5
    fault: str = ""
    weights: Weights = field(default_factory=Weights)

    def conv(self, name: str, x: Tensor, width: int, kernel: int = 3, **how: int) -> Tensor:
        weight = self.weights.take(f"{name}.weight", width, x.shape[1], kernel, kernel)
        return F.conv2d(x, weight, self.weights.take(f"{name}.bias", width), **{"padding": kernel // 2} | how)

    def linear(self, name: str, x: Tensor, width: int) -> Tensor:
        weight = self.weights.take(f"{name}.weight", width, x.shape[1])
        return F.linear(x, weight, self.weights.take(f"{name}.bias", width))

    def norm(self, name: str, x: Tensor) -> Tensor:
        gain, shift = (self.weights.take(f"{name}.{kind}", x.shape[1]) for kind in ("weight", "bias"))
        return F.group_norm(x, 32, gain, shift, 10 * self.epsilon if self.fault == "epsilon" else self.epsilon)

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Attend over the last axis of [B, heads, channels, pixels]."""
        scale = 1 if self.fault == "attention without scale" else q.shape[2] ** -0.5
        read = (scale * q.transpose(2, 3) @ k).softmax(-1)
        return (v @ read.transpose(2, 3)).flatten(1, 2)

    def waves(self, t: Tensor, cosine_first: bool, reach: int) -> Tensor:
        """Embed timesteps; the last frequency is 1 / 10,000 to the power of (half - 1) / (half - reach)."""
        half = self.channels[0] // 2
        if self.fault == "frequencies":
            reach = 1 - reach
        angles = t[:, None] * torch.exp(-math.log(10_000) * torch.arange(half) / (half - reach)).to(t.device)
        cosine_first ^= self.fault == "sine and cosine"
        pair = (angles.cos(), angles.sin()) if cosine_first else (angles.sin(), angles.cos())
        return torch.cat(pair, 1).to(next(iter(self.weights.values()), angles).dtype)

    def join(self, h: Tensor, skip: Tensor) -> Tensor:
        skip = 0 * skip if self.fault == "no skip" else skip
        return torch.cat([skip, h] if self.fault == "skip first" else [h, skip], 1)

    def activate(self, embedding: Tensor) -> Tensor:
        return embedding if self.fault == "embedding not activated" else F.silu(embedding)


@dataclass
class Ddim(Network):
    """Denoising diffusion probabilistic models' network, as the implicit models' checkpoints have it."""

    epsilon: float = 1e-6

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        last, width = len(self.channels) - 1, self.channels[0]
        e = self.linear("temb.dense.0", self.waves(t, cosine_first=False, reach=1), 4 * width)
        e = self.linear("temb.dense.1", F.silu(e), 4 * width)
        skips = [self.conv("conv_in", x, width)]
        for i in range(last + 1):
            for j in range(self.layers):
                skips.append(self.stage("down", i, j, skips[-1], e))
            if i < last:
                skips.append(self.shrink(f"down.{i}.downsample.conv", skips[-1]))
        h = self.block("mid.block_1", skips[-1], self.channels[-1], e)
        h = self.block("mid.block_2", self.attention_block("mid.attn_1", h), self.channels[-1], e)
        for i in reversed(range(last + 1)):
            for j in range(self.layers + 1):
                h = self.stage("up", i, j, self.join(h, skips.pop()), e)
            if i:
                h = self.conv(f"up.{i}.upsample.conv", F.interpolate(h, scale_factor=2), h.shape[1])
        return self.conv("conv_out", F.silu(self.norm("norm_out", h)), self.out)

    def stage(self, way: str, i: int, j: int, h: Tensor, e: Tensor) -> Tensor:
        h = self.block(f"{way}.{i}.block.{j}", h, self.channels[i], e)
        return self.attention_block(f"{way}.{i}.attn.{j}", h) if i in self.attention else h

    def shrink(self, name: str, h: Tensor) -> Tensor:
        if self.fault == "padding on all sides":
            return self.conv(name, h, h.shape[1], stride=2)
        return self.conv(name, F.pad(h, (0, 1, 0, 1)), h.shape[1], stride=2, padding=0)

    def block(self, name: str, x: Tensor, width: int, e: Tensor) -> Tensor:
        h = self.conv(f"{name}.conv1", F.silu(self.norm(f"{name}.norm1", x)), width)
        h = h + self.linear(f"{name}.temb_proj", self.activate(e), width)[..., None, None]
        h = self.conv(f"{name}.conv2", F.silu(self.norm(f"{name}.norm2", h)), width)
        return h + (x if x.shape[1] == width else self.conv(f"{name}.nin_shortcut", x, width, kernel=1))

    def attention_block(self, name: str, x: Tensor) -> Tensor:
        h, width = self.norm(f"{name}.norm", x), x.shape[1]
        heads = 2 if self.fault == "heads" else 1
        q, k, v = (self.conv(f"{name}.{part}", h, width, 1).flatten(2).unflatten(1, (heads, -1)) for part in "qkv")
        return x + self.conv(f"{name}.proj_out", self.attend(q, k, v).view(x.shape), width, 1)


@dataclass
class Adm(Network):
    """Improved diffusion's network, and the ablated one after it: every switch of theirs that weights can have."""

    heads: int | None = None
    head_channels: int | None = 16
    new_order: bool = False
    scale_shift: bool = True
    resampling_blocks: bool = True
    timestep_scale: float = 1

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        last, width = len(self.channels) - 1, self.channels[0]
        t = t if self.fault == "timesteps not rescaled" else t * self.timestep_scale
        e = self.linear("time_embed.0", self.waves(t, cosine_first=True, reach=0), 4 * width)
        e = self.linear("time_embed.2", F.silu(e), 4 * width)
        skips = [self.conv("input_blocks.0.0", x, width)]
        for i in range(last + 1):
            for _ in range(self.layers):
                skips.append(self.stage(f"input_blocks.{len(skips)}", i, skips[-1], e))
            if i < last:
                skips.append(self.resample(f"input_blocks.{len(skips)}.0", skips[-1], e, "down"))
        h = self.block("middle_block.0", skips[-1], self.channels[-1], e)
        h = self.block("middle_block.2", self.attention_block("middle_block.1", h), self.channels[-1], e)
        for k in range((last + 1) * (self.layers + 1)):
            i = last - k // (self.layers + 1)
            h = self.stage(f"output_blocks.{k}", i, self.join(h, skips.pop()), e)
            if i and k % (self.layers + 1) == self.layers:
                h = self.resample(f"output_blocks.{k}.{1 + (i in self.attention)}", h, e, "up")
        return self.conv("out.2", F.silu(self.norm("out.0", h)), self.out)

    def stage(self, name: str, i: int, h: Tensor, e: Tensor) -> Tensor:
        h = self.block(f"{name}.0", h, self.channels[i], e)
        return self.attention_block(f"{name}.1", h) if i in self.attention else h

    def resample(self, name: str, h: Tensor, e: Tensor, way: str) -> Tensor:
        if self.resampling_blocks:
            return self.block(name, h, h.shape[1], e, way)
        if way == "down":
            return self.conv(f"{name}.op", h, h.shape[1], stride=2)
        return self.conv(f"{name}.conv", resized(h, way), h.shape[1])

    def block(self, name: str, x: Tensor, width: int, e: Tensor, way: str = "") -> Tensor:
        h = F.silu(self.norm(f"{name}.in_layers.0", x))
        late = self.fault == "resampled after the convolution"
        h = resized(self.conv(f"{name}.in_layers.2", h if late else resized(h, way), width), way if late else "")
        x = resized(x, way)
        scale = self.linear(f"{name}.emb_layers.1", self.activate(e), (1 + self.scale_shift) * width)[..., None, None]
        if self.scale_shift:
            scale, shift = scale.chunk(2, 1)
            scale, shift = (shift, scale) if self.fault == "scale and shift" else (scale, shift)
            h = self.norm(f"{name}.out_layers.0", h) * (1 + scale) + shift
        else:
            h = self.norm(f"{name}.out_layers.0", h + scale)
        h = self.conv(f"{name}.out_layers.3", F.silu(h), width)
        return h + (x if x.shape[1] == width else self.conv(f"{name}.skip_connection", x, width, kernel=1))

    def attention_block(self, name: str, x: Tensor) -> Tensor:
        width, pixels = x.shape[1], x.shape[2] * x.shape[3]
        heads = self.heads or width // (self.head_channels or 1)
        heads = 2 * heads if self.fault == "heads" else heads
        weight = self.weights.take(f"{name}.qkv.weight", 3 * width, width, 1)
        rows = F.conv1d(
            self.norm(f"{name}.norm", x).flatten(2), weight, self.weights.take(f"{name}.qkv.bias", 3 * width)
        )
        if self.new_order ^ (self.fault == "attention order"):
            q, k, v = rows.view(-1, 3, heads, width // heads, pixels).unbind(1)
        else:
            q, k, v = rows.view(-1, heads, 3, width // heads, pixels).unbind(2)
        weight = self.weights.take(f"{name}.proj_out.weight", width, width, 1)
        read = F.conv1d(self.attend(q, k, v), weight, self.weights.take(f"{name}.proj_out.bias", width))
        return read.view(x.shape) + (0 if self.fault == "attention without residual" else x)


def resized(x: Tensor, way: str) -> Tensor:
    """Halve by means, double by repeating, or return as it is."""
    return {"down": lambda: F.avg_pool2d(x, 2), "up": lambda: F.interpolate(x, scale_factor=2), "": lambda: x}[way]()
