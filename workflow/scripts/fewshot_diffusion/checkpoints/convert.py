"""A public checkpoint becomes a folder: ``config.json``, weights as safetensors, ``scheduler_config.json``."""

import json
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from diffusers import DDPMScheduler, UNet2DModel

from ..errors import WeightsError
from ..storage.files import write_json
from . import adm, ddim_celeba, improved_diffusion
from .files import State, read_state
from .hub import read_folder
from .layout import Flags, Layout, complete, convert_state, require_finite

_log = logging.getLogger(__name__)

Name = Literal["ddim_celeba", "adm", "improved_diffusion", "diffusers"]

LAYOUTS: dict[str, Layout] = {
    "ddim_celeba": ddim_celeba.LAYOUT,
    "adm": adm.LAYOUT,
    "improved_diffusion": improved_diffusion.LAYOUT,
}
_DIFFUSERS_MARK = "time_embedding.linear_1.weight"


def convert_checkpoint(layout: Name, checkpoint: Path, output: Path, flags: Flags, check: bool = True) -> None:
    """Write a checkpoint as a folder of diffusers'. The same checkpoint gives the same bytes.

    Args:
        layout: Who wrote it: the checkpoint's authors' layout, or ``diffusers`` for a folder from the hub.
        checkpoint: File, or the folder from the hub.
        output: Folder to write: absent, or empty. It appears whole or not at all.
        flags: What the checkpoint does not say, where it is not as in the layout's public checkpoints.
        check: Compute one small image: the output must be finite.

    Raises:
        WeightsError: If the checkpoint is not of this layout, cannot be expressed, or would run code when it is read.
    """
    output = output.resolve()
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise WeightsError(f"{output}: is there already, and not empty. Delete it, or name another folder.")
    unet, schedule = _converted(layout, checkpoint, flags)
    if check:
        _require_finite_output(unet, schedule, checkpoint)
    with _whole_folder(output) as folder:
        unet.save_pretrained(folder)
        write_json(folder / "scheduler_config.json", schedule)
    count = sum(weight.numel() for weight in unet.parameters())
    _log.info("%s: %s parameters, %s channels out", output, f"{count:,}", unet.config.out_channels)


def converted_state(state: State, layout: str, flags: Flags) -> tuple[UNet2DModel, dict[str, Any]]:
    """Return diffusers' network and its schedule, of named weights; shapes alone (on torch's meta device) will do.

    Raises:
        WeightsError: If a weight is missing, left over, of another shape, or what ``Flags`` say does not fit.
    """
    named, flags = LAYOUTS[layout], complete(flags, LAYOUTS[layout], layout)
    if named.mark not in state:
        raise WeightsError(f"{named.mark}: missing; {_other(state)}, expected those of layout {layout}.")
    try:
        config = named.config(state, flags)
        _require_channels(config)
        places = named.places(config, flags)
        unet = convert_state(state, config, places)
    except KeyError as error:
        raise WeightsError(f"{error.args[0]}: missing, expected in every checkpoint of layout {layout}.") from error
    except (IndexError, RuntimeError, TypeError, ValueError) as error:  # shapes that nobody's network has
        raise WeightsError(f"the weights' shapes are of no network that diffusers can build ({error}).") from error
    if unet.device.type != "meta":
        require_finite(unet, places)
    return unet, _schedule(flags, learned_sigma=config["out_channels"] != config["in_channels"])


def _converted(layout: Name, checkpoint: Path, flags: Flags) -> tuple[UNet2DModel, dict[str, Any]]:
    if layout == "diffusers":
        if flags != Flags():
            raise WeightsError("layout diffusers has no flags: its folders say everything of themselves.")
        if checkpoint.is_file():
            raise WeightsError(f"{checkpoint}: is a file, layout diffusers a folder. A file's layout is its authors'.")
        return read_folder(checkpoint)
    if checkpoint.is_dir():
        raise WeightsError(f"{checkpoint}: is a folder, layout {layout} a file. Of the hub's: --layout diffusers.")
    state = read_state(checkpoint)
    try:
        return converted_state(state, layout, flags)
    except WeightsError as error:
        raise WeightsError(f"{checkpoint}: {error}") from error


def _other(state: State) -> str:
    marks = {name: layout.mark for name, layout in LAYOUTS.items() if name != "improved_diffusion"}
    found = [name for name, mark in {**marks, "diffusers": _DIFFUSERS_MARK}.items() if mark in state]
    told = f"weights are named as in layout {found[0]}" if found else f"found {', '.join(sorted(state)[:3])}, ..."
    return told + (" or improved_diffusion" if found == ["adm"] else "")


def _require_channels(config: dict[str, Any]) -> None:
    found, expected = config["out_channels"], (config["in_channels"], 2 * config["in_channels"])
    if found not in expected:
        raise WeightsError(f"channels out: found {found}, expected {expected[0]}, or {expected[1]} with the variance.")


def _schedule(flags: Flags, learned_sigma: bool) -> dict[str, Any]:
    """Return what diffusers writes as ``scheduler_config.json``; more steps have smaller betas, as their authors do."""
    assert flags.diffusion_steps
    scale = 1000 / flags.diffusion_steps
    scheduler = DDPMScheduler(
        num_train_timesteps=flags.diffusion_steps,
        beta_start=1e-4 * scale,
        beta_end=0.02 * scale,
        beta_schedule={"linear": "linear", "cosine": "squaredcos_cap_v2"}[flags.noise_schedule or "linear"],
        prediction_type="epsilon",
        variance_type="learned_range" if learned_sigma else "fixed_large",
    )
    return dict(json.loads(scheduler.to_json_string()))


def _require_finite_output(unet: UNet2DModel, schedule: dict[str, Any], checkpoint: Path) -> None:
    size = 2 ** len(unet.config.block_out_channels)  # two pixels at the coarsest level
    x_t = torch.randn(1, unet.config.in_channels, size, size, generator=torch.Generator().manual_seed(0))
    try:
        with torch.no_grad():
            output = unet(x_t, torch.tensor(schedule["num_train_timesteps"] // 2)).sample
    except Exception as error:  # of blocks that do not fit each other
        raise WeightsError(f"{checkpoint}: no image of {size} pixels passes through it ({error}).") from error
    if not output.isfinite().all():
        raise WeightsError(f"{checkpoint}: one pass of {size} x {size} pixels gives infinite values or no numbers.")


@contextmanager
def _whole_folder(output: Path) -> Iterator[Path]:
    """Yield a new folder beside ``output``; on success flush its files to disk and rename it into place."""
    output.parent.mkdir(parents=True, exist_ok=True)
    folder = output.with_name(f".{output.name}.{os.getpid()}")
    folder.mkdir()
    try:
        yield folder
        for path in folder.iterdir():
            path.chmod(folder.stat().st_mode & 0o666)  # the umask's; safetensors keeps its files to their owner
            with path.open("rb+") as file:
                os.fsync(file.fileno())
        folder.replace(output)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
