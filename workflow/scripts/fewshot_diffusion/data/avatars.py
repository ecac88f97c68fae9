"""Cartoon portraits drawn on the spot: DiceBear's ToonHead style (Johan Melin, CC BY 4.0).

An avatar is a function of its id alone; its attributes are the options that the generator picked.
"""

import io
import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import resvg_py
import torch
from dicebear import Avatar, Style
from dicebear.errors import OptionsValidationError
from PIL import Image

from ..config.data import AvatarsConfig
from ..errors import DataError
from ..images import stack_pixels
from ..progress import Progress
from .avatar_options import ABSENT, class_values, named_options, read_style
from .image_set import ImageSet
from .option_set import OptionSet


def draw_avatars(settings: AvatarsConfig, image_size: int, ids: range) -> ImageSet:
    """Draw the avatars with these ids.

    Args:
        settings: Style, options that the generator may vary, the rule of each attribute, and the classes.
        image_size: Height and width in pixels.
        ids: Avatar ids: the seeds of the generator.

    Returns:
        An ``ImageSet`` with one boolean column per configured attribute; the class of each image, if any are
        configured, is the joint value of ``settings.classes``.

    Raises:
        DataError: If the generator does not know an option or its value.
    """
    images, options = _draw(settings, image_size, ids)
    found = [attributes_of(picked, settings.attributes) for picked in options]
    rows = pd.DataFrame(found, index=range(len(ids)), columns=list(settings.attributes), dtype=bool)
    if not settings.classes:
        return ImageSet(images, torch.tensor(list(ids)), rows)
    names = avatar_classes(settings)
    drawn = ["-".join(_picked(picked, option) or ABSENT for option in settings.classes) for picked in options]
    labels = torch.tensor([names.index(name) for name in drawn], dtype=torch.int64)
    return ImageSet(images, torch.tensor(list(ids)), rows, labels, names)


def pick_options(settings: AvatarsConfig, image_size: int, ids: range) -> OptionSet:
    """Return what the generator picks for the avatars with these ids; nothing is rasterised."""
    style, values = load_style(settings.style), named_options(settings)
    picked = []
    for id_ in Progress(ids, desc="picking options", unit="image"):
        options = Avatar(style, avatar_options(settings, image_size, id_)).to_json()["options"]
        picked.append([_named(options.get(option)) for option in values])
    return OptionSet(torch.tensor(list(ids)), pd.DataFrame(picked, columns=list(values)), values)


def avatar_classes(settings: AvatarsConfig) -> list[str]:
    """Return the names of the classes: every combination of the values of ``settings.classes``.

    Raises:
        DataError: If an option is neither the variant of one of the style's components nor one of its colours.
    """
    values = [class_values(settings, option) for option in settings.classes]
    return ["-".join(combination) for combination in itertools.product(*values)]


def avatar_options(settings: AvatarsConfig, image_size: int, id_: int) -> dict[str, Any]:
    """Return the generator's options for one avatar; what they leave open, the id decides."""
    return {**settings.options, "seed": str(id_), "size": image_size}


def load_style(name: str) -> Style:
    """Load a style definition that ``dicebear-styles`` ships."""
    return Style(read_style(name))


def rasterise(svg: str, image_size: int) -> np.ndarray[Any, Any]:
    """Rasterise an SVG to RGB, uint8 [H, W, 3], 0..255."""
    png = resvg_py.svg_to_bytes(svg_string=svg, width=image_size, height=image_size, skip_system_fonts=True)
    return np.asarray(Image.open(io.BytesIO(bytes(png))).convert("RGB"))


def attributes_of(options: Mapping[str, Any], rules: Mapping[str, Mapping[str, list[str]]]) -> dict[str, bool]:
    """Return which attributes hold: every option that a rule names must have one of its values."""
    return {
        attribute: all(_picked(options, option) in allowed for option, allowed in rule.items())
        for attribute, rule in rules.items()
    }


def _draw(settings: AvatarsConfig, image_size: int, ids: range) -> tuple[torch.Tensor, list[Mapping[str, Any]]]:
    style = load_style(settings.style)
    images, options = [], []
    for id_ in Progress(ids, desc="drawing avatars", unit="image"):
        try:
            drawn = Avatar(style, avatar_options(settings, image_size, id_)).to_json()
        except OptionsValidationError as error:
            raise DataError(f"data.avatars.options: the generator refuses them ({error}).") from error
        images.append(rasterise(drawn["svg"], image_size).transpose(2, 0, 1))
        options.append(drawn["options"])
    return stack_pixels(images, 3, image_size, image_size), options


def _named(value: Any) -> str:
    """Return a gradient's first colour in alphabetical order: the same one in the mirrored image."""
    return _picked({"": sorted(value) if isinstance(value, list) else value}, "") or ABSENT


def _picked(options: Mapping[str, Any], option: str) -> str | None:
    value = options.get(option)
    value = value[0] if isinstance(value, list) and value else value
    return value.lstrip("#") if isinstance(value, str) else None
