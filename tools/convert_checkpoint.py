"""Rewrite a public checkpoint as a diffusers folder: --layout adm ffhq.pt FOLDER. Layouts: docs/convert.md."""

from pathlib import Path

import tyro

from fewshot_diffusion import cli
from fewshot_diffusion.checkpoints.convert import Name, convert_checkpoint
from fewshot_diffusion.checkpoints.layout import Flags


def convert(
    checkpoint: tyro.conf.Positional[Path],
    output: tyro.conf.Positional[Path],
    layout: Name,
    flags: Flags = Flags(),  # noqa: B008 - frozen
    check: bool = True,
) -> None:
    """Write config.json, weights and scheduler_config.json.

    Args:
        checkpoint: File of the checkpoint, or a folder from the hub.
        output: Folder to write: absent, or empty.
        layout: Who wrote the checkpoint.
        flags: What the weights do not say; left out, as in the layout's public checkpoints.
        check: Compute one small image, and refuse what is not finite.
    """
    convert_checkpoint(layout, checkpoint, output, flags, check)


if __name__ == "__main__":
    cli.run(convert)
