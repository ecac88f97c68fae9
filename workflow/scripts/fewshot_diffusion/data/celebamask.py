"""CelebAMask-HQ as it is published: faces of 1,024 pixels, and for every part of a face a mask of 512 pixels.

``CelebA-HQ-img/<i>.jpg`` and ``CelebAMask-HQ-mask-anno/<i // 2000>/<i of five digits>_<part>.png``, white on black; a
part that a face lacks has no file. Nothing need be unpacked.
"""

import re
from collections.abc import Sequence

from ..config.sources import PARTS, CelebAMaskConfig
from ..errors import DataError
from .files import Members, is_image
from .index import Row, SourceIndex, known_columns, some
from .lists import decode_text, parse_attribute_list

IMAGES, MASKS, ATTRIBUTES = "CelebA-HQ-img/", "CelebAMask-HQ-mask-anno/", "CelebAMask-HQ-attribute-anno.txt"

_MASK = re.compile(rf"{MASKS}(?:\d+/)?(\d+)_(\w+)\.png")


def list_masked_faces(settings: CelebAMaskConfig, attributes: Sequence[str]) -> SourceIndex:
    """List the faces; each one's masks stand in the published order: of parts that overlap, the later one covers.

    The order: skin, nose, eye_g, l_eye, r_eye, l_brow, r_brow, l_ear, r_ear, mouth, u_lip, l_lip, hair, hat, ear_r,
    neck_l, neck, cloth. An image's name is ``<i>.jpg``, that of CelebA-HQ, so that it is in the same split there.

    Args:
        settings: Zip or folder.
        attributes: Those of ``settings.attributes`` that are needed.

    Raises:
        DataError: If there are no faces, a mask is of an unknown part or of no image, or an image has no mask.

    Source: Lee et al. 2020, "MaskGAN"; the order of the parts as its authors merge them.
    """
    members = Members(settings.path, unwrap=True)
    images = {int(name[len(IMAGES) :].split(".")[0]): name for name in members.names() if _is_face(name)}
    masks = _masks(members)
    if alone := set(images) ^ set(masks):
        first = min(alone)
        what = "has no mask" if first in images else f"has masks, but no {IMAGES}{first}.jpg"
        raise DataError(f"{members.path}: the face {first} {what} ({len(alone)} such faces). Fetch the data set anew.")
    if not images:
        found = some(members.folders("")) or "none"
        raise DataError(f"{members.path}: found no {IMAGES}<i>.jpg, expected CelebAMask-HQ; its folders are: {found}.")
    rows = [Row(f"{i}.jpg", members, file, masks=_in_order(masks[i])) for i, file in sorted(images.items())]
    return SourceIndex(settings.path, rows, attributes=_holders(settings, members, rows, attributes))


def _is_face(name: str) -> bool:
    return name.startswith(IMAGES) and is_image(name) and name[len(IMAGES) :].split(".")[0].isdecimal()


def _masks(members: Members) -> dict[int, dict[str, str]]:
    """Return face -> part -> file."""
    found: dict[int, dict[str, str]] = {}
    for name in members.names():
        if not name.startswith(MASKS) or not is_image(name):
            continue
        place = _MASK.fullmatch(name)
        if place is None or place[2] not in PARTS:
            raise DataError(f"{members.where(name)}: expected {MASKS}<k>/<i>_<part>.png of a part {', '.join(PARTS)}.")
        parts = found.setdefault(int(place[1]), {})
        if (other := parts.setdefault(place[2], name)) != name:
            raise DataError(f"{members.path}: {other} and {name} are of one part of one face; expected one file.")
    return found


def _in_order(parts: dict[str, str]) -> tuple[tuple[int, str], ...]:
    return tuple((position, parts[part]) for position, part in enumerate(PARTS, start=1) if part in parts)


def _holders(
    settings: CelebAMaskConfig, members: Members, rows: Sequence[Row], wanted: Sequence[str]
) -> dict[str, frozenset[str]]:
    if not wanted:
        return {}
    where = members.where(ATTRIBUTES)
    table = parse_attribute_list(decode_text(members.read(ATTRIBUTES), where), where)
    known_columns(members.path / ATTRIBUTES, table.columns, [settings.attributes[ours] for ours in wanted])
    if unknown := {row.name for row in rows} - set(table.index):
        raise DataError(f"{where}: {some(unknown)} of the images are not in it.")
    return {ours: frozenset(table.index[table[settings.attributes[ours]]]) for ours in wanted}
