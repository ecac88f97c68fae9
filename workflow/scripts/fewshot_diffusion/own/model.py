"""The model of one's own as a pipeline, with heads from folders of their own; and out again, for everybody."""

from collections.abc import Sequence
from pathlib import Path

from ..pipeline import FewShotPipeline
from ..pipeline.heads import load_fitted
from ..runtime import make_runtime


def open_model(model: Path, heads: Sequence[Path] = (), device: str = "auto") -> FewShotPipeline:
    """Read a model in float32 and heads that learned from it.

    Args:
        model: Folder that diffusers wrote.
        heads: Folders of heads.
        device: auto, cpu, cuda or cuda:<n>.

    Raises:
        WeightsError: If the model cannot be steered, or a head learned from another.
    """
    runtime = make_runtime(device, "float32", cpu_threads=1)
    pipe = FewShotPipeline.from_pretrained(model)
    pipe.to(runtime.device)
    pipe.set_progress_bar_config(disable=None)  # a bar on a terminal, nothing in a log
    for folder in heads:
        fitted = load_fitted(folder, pipe.denoiser.digest)
        pipe.heads.setdefault(fitted.name, {})[fitted.mode] = fitted
    return pipe


def export_own_pipeline(model: Path, heads: list[Path], output: Path) -> None:
    """Write the steered pipeline: diffusers reads it as a DDIMPipeline, FewShotPipeline with its heads.

    Args:
        model: Folder that diffusers wrote.
        heads: Folders of heads.
        output: Folder to write.
    """
    open_model(model, heads, "cpu").save_pretrained(output)
