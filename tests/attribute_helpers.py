"""What the tests of experiment 1 share: a class, head settings, a head, a described image set."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from fewshot_diffusion.attributes.heads import AttributeHead
from fewshot_diffusion.config.attributes import AttributeHeadConfig, TargetConfig
from fewshot_diffusion.diffusion.denoiser import Denoiser, load_denoiser, unet_config
from fewshot_diffusion.judges import AttributeClassifier
from fewshot_diffusion.metrics.descriptions import Cost, Description
from fewshot_diffusion.runtime import CPU
from fewshot_diffusion.storage.weights import save_module

TAPS = ["mid_block", "up_blocks.0"]
BLOND = TargetConfig.model_validate(
    {
        "name": "Blond",
        "attribute": "Blond",
        "value": True,
        "label": "Blond hair",
        "guidance_scale": {"exact": 3, "readout": 5},
    }
)
DARK = BLOND.model_copy(update={"name": "Dark", "value": False, "label": "Dark hair"})


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def head_settings(**changes: object) -> AttributeHeadConfig:
    base = {
        "positive_shots": 4,
        "negative_shots": 3,
        "taps": TAPS,
        "pool_size": 2,
        "feature_timestep": 100,
        "readout_timesteps": [400, 40],
        "readout_draws": 2,
        "flip": False,
        "l2": [0.1],
        "folds": 2,
        "precision": "float32",
    }
    return AttributeHeadConfig.model_validate(base | changes)


def random_head(denoiser: Denoiser, taps: Sequence[str] = TAPS, timesteps: Sequence[int] = (100,)) -> AttributeHead:
    num_inputs = sum(2 * tap.num_chs * 4 for tap in denoiser.describe_taps(taps))
    head = AttributeHead(list(taps), 2, num_inputs, list(timesteps), "Blond")
    head.weight.data = normal(*head.weight.shape, seed=5) / num_inputs**0.5
    head.bias.data.fill_(0.1)
    return head.requires_grad_(False).eval()


def described(
    n: int, seed: int, share: float = 1.0, method: str = "unguided", cost: Cost | None = None, first_id: int = 0
) -> Description:
    """N images, the first ``share`` of which the judge takes for blond; each gallery image shows its own id."""
    stream = torch.Generator().manual_seed(seed)
    ids = torch.arange(n) + first_id
    features = {"net": torch.randn(n, 4, generator=stream) + seed}
    blond = (torch.arange(n) < round(share * n)).float()
    gallery = ids[:64].to(torch.uint8).view(-1, 1, 1, 1).expand(-1, 3, 8, 8).contiguous()
    return Description(method, ids, features, {"Blond": blond}, gallery, cost or Cost())


def save_denoiser(denoiser: Denoiser, folder: Path) -> Denoiser:
    """Write a denoiser and return it as it is read."""
    about = {"schedule": denoiser.schedule.model_dump(mode="json")}
    save_module(denoiser.unet, unet_config(denoiser.unet), folder, about)
    return load_denoiser(folder, CPU)


def save_judges(folder: Path) -> None:
    """Write an untrained judge of each role."""
    torch.manual_seed(1)
    for role in ("judge", "tuning_judge"):
        save_module(AttributeClassifier(["Blond"]), {"attributes": ["Blond"]}, folder / role, {"role": role})
