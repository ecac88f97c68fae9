"""What a filter decided: which images of the unguided pool it keeps for one class."""

from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from ...seeds import generator
from ...storage.files import About
from ...storage.records import read_records, write_records


def accept(probability: Tensor, seeds: Tensor) -> Tensor:
    """Decide which images, or latents, are kept: p > .5 and u < p, u uniform from its own seed.

    Args:
        probability: p(wanted class | image or latent), [N].
        seeds: Their seeds, int64 [N].

    Returns:
        bool [N].

    Source: Sinha et al. 2021 (D2C), conditional generation by rejection.
    """
    uniform = torch.tensor([float(torch.rand((), generator=generator("rejection", int(s)))) for s in seeds])
    return (probability > 0.5) & (uniform < probability)


def save_decisions(probability: Tensor, seeds: Tensor, accepted: Tensor, path: Path, about: About) -> None:
    """Write one row per image.

    Args:
        probability: p(wanted class | image), [N].
        seeds: Seeds of the images, int64 [N].
        accepted: Whether each is kept, bool [N].
        path: Records to write, parquet: seed, log_prob (nats), accepted.
        about: Method and class of the decisions.
    """
    log_prob = probability.clamp_min(1e-12).log()
    frame = pd.DataFrame({"seed": seeds.numpy(), "log_prob": log_prob.numpy(), "accepted": accepted.numpy()})
    write_records(path, frame, about)


def accepted_seeds(path: Path, expected: About | None = None) -> tuple[Tensor, float]:
    """Return the seeds of accepted images in order, int64, and the acceptance rate.

    Raises:
        CorruptFileError: If the file is damaged, or of another method or class than expected.
    """
    frame, _ = read_records(path, "seed", "accepted", expected=expected)
    kept = frame.loc[frame["accepted"], "seed"].to_numpy(copy=True)
    return torch.from_numpy(kept), len(kept) / len(frame)
