"""Generated sets from the store, taken only if they are what the configuration would draw."""

from pathlib import Path
from typing import Any

from ..classes.generation import is_accepted, load_generated
from ..config.classes import ClassSamplingConfig
from ..diffusion.denoiser import Denoiser
from ..errors import DataError
from ..storage.files import write_bytes
from ..storage.tensors import read_tensors


def install_generated(
    source: Path, output: Path, conditional: Denoiser, settings: ClassSamplingConfig, threshold: float
) -> None:
    """Verify a shard of class-conditional samples and copy it.

    Args:
        source: Shard in the store.
        output: Where it goes.
        conditional: Denoiser that must have drawn it.
        settings: Steps, guidance and work units that it must have been drawn with.
        threshold: Of the filter.

    Raises:
        CorruptFileError: If the shard is damaged.
        DataError: If it was drawn or filtered in another way.
    """
    _, provenance = read_tensors(source)
    expected: dict[str, Any] = {
        "denoiser": conditional.digest,
        "settings": settings.model_dump(mode="json", exclude={"shards"}),
        "threshold": threshold,
    }
    for key, value in expected.items():
        if provenance.get(key) != value:
            raise DataError(
                f"{source}: {key} is {provenance.get(key)}, but the configuration has {value}. "
                "Draw the samples anew: --configfile config/train.yaml."
            )
    stored = load_generated([source])
    if not stored.accepted.equal(is_accepted(stored.log_prob, threshold)):
        raise DataError(f"{source}: its filter's decisions do not follow from its probabilities. Draw it anew.")
    write_bytes(output, source.read_bytes())
