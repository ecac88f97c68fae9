"""The page itself: one file that asks nothing of anybody, whatever is shown on it."""

import json
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from ..errors import DataError
from ..storage.files import require_file, write_text
from .attributes import AttributesShown, attributes_data
from .masks import MasksShown, masks_data
from .parts import QUALITY, Json, Pictures

MOST_BYTES = 3_000_000
"""Of a page, unless one seed of each class takes more."""

LIMITS = (64, 32, 16, 8, 4, 2, 1)
"""Seeds of each class and method: as many as fit."""

PER_MASK = 4
"""Seeds of a class for each mask that is shown: masks come in several pictures each."""


def make_explorer(
    data_set: str, attributes: AttributesShown, masks: MasksShown, template: Path, output: Path, credit: str = ""
) -> None:
    """Write the page: real, unguided and guided images side by side, the judge's word, and the table's row.

    Equal inputs give equal bytes. Of images as many are shown as fit into ``MOST_BYTES``.

    Args:
        data_set: Name of the data set.
        attributes: What is shown of experiment 1.
        masks: What is shown of experiment 2.
        template: The page without its data, HTML.
        output: Page to write, HTML.
        credit: Whom the images are to be credited to.

    Raises:
        CorruptFileError: If a file is damaged, or another than it should be.
        DataError: If there is nothing to show, or there are fewer samples than masks.
    """
    if not (attributes.steered or masks.followers):
        raise DataError("--modes, --followers: found neither classes that some mode steers nor masks, expected either.")
    require_file(template)
    for limit in LIMITS:
        page = fill(template.read_text(), page_data(data_set, attributes, masks, limit), data_set, credit)
        if len(page.encode()) <= MOST_BYTES:
            break
    write_text(output, page)


def page_data(data_set: str, attributes: AttributesShown, masks: MasksShown, limit: int) -> Json:
    """Return all that the page shows, of each class and method ``limit`` seeds at most."""
    pictures = Pictures()
    return {
        "attributes": attributes_data(attributes, data_set, pictures, limit) if attributes.steered else None,
        "masks": masks_data(masks, pictures, max(1, limit // PER_MASK)) if masks.followers else None,
        "pictures": pictures.coded,
        "quality": QUALITY,
    }


def fill(template: str, data: Mapping[str, Any], title: str, credit: str) -> str:
    """Return the page: a template with its marks ``@TITLE@``, ``@CREDIT@`` and ``@DATA@`` replaced.

    Whatever the data hold, they end no script and begin no tag.
    """
    text = json.dumps(data, ensure_ascii=True, separators=(",", ":")).replace("<", "\\u003c")
    before, _, after = template.partition("@DATA@")
    words = {"@TITLE@": escape(title), "@CREDIT@": escape(credit)}
    for mark, value in words.items():
        before, after = before.replace(mark, value), after.replace(mark, value)
    return before + text + after
