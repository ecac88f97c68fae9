"""Rejection: keep the generated images that a classifier takes for the wanted class."""

from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from ...seeds import generator
from ...storage.records import read_records, write_records


def accept(probability: Tensor, seeds: Tensor) -> Tensor:
    """Decide which images are kept: p > .5 and u < p, u uniform from the image's own seed.

    Args:
        probability: p(wanted class | image), [N].
        seeds: Seeds of the images, int64 [N].

    Returns:
        bool [N].

    Source: Sinha et al. 2021 (D2C), conditional generation by rejection.
    """
    uniform = torch.tensor([float(torch.rand((), generator=generator("rejection", int(s)))) for s in seeds])
    return (probability > 0.5) & (uniform < probability)


def rejection_records(probability: Tensor, seeds: Tensor) -> pd.DataFrame:
    """Return one row per image: seed, log_prob (nats), accepted."""
    accepted = accept(probability, seeds)
    return pd.DataFrame(
        {"seed": seeds.numpy(), "log_prob": probability.clamp_min(1e-12).log().numpy(), "accepted": accepted.numpy()}
    )


def save_records(frame: pd.DataFrame, path: Path, provenance: dict[str, object]) -> None:
    """Write rejection records."""
    write_records(path, frame, provenance)


def accepted_seeds(path: Path) -> tuple[Tensor, float]:
    """Return the seeds of accepted images in order, int64, and the acceptance rate."""
    frame, _ = read_records(path)
    kept = frame.loc[frame["accepted"], "seed"].to_numpy(copy=True)
    return torch.from_numpy(kept), len(kept) / len(frame)
