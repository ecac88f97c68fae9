"""Saving figures: every format, atomically, without dates."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from .storage.files import atomic_path


def save_figure(figure: Figure, paths: Sequence[Path]) -> None:
    """Write a figure in the format of each path's suffix, without dates, so that equal data give equal bytes."""
    for path in paths:
        metadata = {"CreationDate": None} if path.suffix == ".pdf" else {"Software": None}
        with atomic_path(path) as temporary:
            figure.savefig(temporary, dpi=200, metadata=metadata)
    plt.close(figure)
