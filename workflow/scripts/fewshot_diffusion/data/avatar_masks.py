"""Pixel-aligned part masks of the cartoon portraits, from the same drawing instructions as the portraits.

The masks depend on private methods of ``dicebear-core``, which is therefore pinned exactly.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from dicebear import Style
from dicebear.options import Options
from dicebear.renderer import Renderer
from dicebear.resolver import Resolver
from dicebear.style.canvas import Canvas
from dicebear.style.element import Element

from ..config.data import AvatarsConfig
from ..errors import DataError
from ..images import stack_pixels
from ..progress import Progress
from .avatars import avatar_options, load_style, rasterise
from .mask_set import MaskSet


class MaskRenderer(Renderer):
    """Draws an avatar with every component in the grey level of its part, without shadows or smooth edges.

    A grey level is the class id itself, so the rasterised image is the mask; the background is 0.
    """

    def __init__(self, style: Style, resolver: Resolver, classes: Mapping[str, int]) -> None:
        """Remember the class id of each component's name."""
        super().__init__(style, resolver)
        self._classes = classes
        self._components: list[str] = []

    def _render_background(self, canvas: Canvas) -> str:
        return ""

    def _render_component_element(self, element: Element) -> str:
        self._components.append(str(element.name()))
        try:
            return str(super()._render_component_element(element))
        finally:
            self._components.pop()

    def _render_svg_element(self, element: Element) -> str:
        translucent = "fill-opacity" in (element.attributes() or {})
        return "" if translucent else str(super()._render_svg_element(element))

    def _render_attributes(self, attributes: dict[str, Any] | None) -> str:
        if not self._components:  # outside every part nothing is painted, and no edge is smooth
            plain = {"fill": "none", "shape-rendering": "crispEdges"} if attributes else {}
            return str(super()._render_attributes((attributes or {}) | plain))
        painted = {key: self._paint(key, value) for key, value in (attributes or {}).items()}
        return str(super()._render_attributes(painted))

    def _paint(self, key: str, value: Any) -> Any:
        if key not in ("fill", "stroke") or value == "none":
            return value
        level = self._classes[self._components[-1]]
        return f"rgb({level},{level},{level})"


def draw_masks(settings: AvatarsConfig, image_size: int, ids: range) -> MaskSet:
    """Draw the masks of the avatars with these ids: 0 the background, k the k-th of ``settings.parts``.

    Raises:
        DataError: If a part names a component that the style lacks, or a component belongs to no part.
    """
    style = load_style(settings.style)
    components = component_classes(style, settings.parts)
    masks = [draw_mask(style, settings, image_size, id_, components) for id_ in Progress(ids, desc="drawing masks")]
    return MaskSet(
        stack_pixels(masks, image_size, image_size), torch.tensor(list(ids)), ["background", *settings.parts]
    )


def draw_mask(
    style: Style, settings: AvatarsConfig, image_size: int, id_: int, classes: Mapping[str, int]
) -> np.ndarray[Any, Any]:
    """Draw one mask, uint8 [H, W]."""
    resolver = Resolver(style, Options(avatar_options(settings, image_size, id_)))
    svg = MaskRenderer(style, resolver, classes).render()
    return np.ascontiguousarray(rasterise(svg, image_size)[..., 0])


def component_classes(style: Style, parts: Mapping[str, list[str]]) -> dict[str, int]:
    """Return the class id of every component of a style.

    Raises:
        DataError: If the parts do not name each component exactly once.
    """
    named = [component for components in parts.values() for component in components]
    known = list(style.components())
    if sorted(named) != sorted(known):
        raise DataError(
            f"data.avatars.parts: found the components {', '.join(sorted(named))}; "
            f"expected each of {', '.join(sorted(known))} exactly once."
        )
    return {name: k for k, components in enumerate(parts.values(), start=1) for name in components}
