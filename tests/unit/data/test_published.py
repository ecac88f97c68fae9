"""Data sets as others publish them, in miniature: CelebAMask-HQ's zip, and parquet files of the Hugging Face hub."""

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image
from pyarrow import parquet

from fewshot_diffusion.config.sources import CelebAMaskConfig, ParquetConfig
from fewshot_diffusion.config.splits import SharesConfig
from fewshot_diffusion.data.contents import Checksums, contents, manifest
from fewshot_diffusion.data.index import hash_of
from fewshot_diffusion.data.listings import list_source
from fewshot_diffusion.data.splits import share_out
from fewshot_diffusion.errors import DataError
from source_helpers import all_images, all_masks, listed

TOP = "CelebAMask-HQ/"
PART = TOP + "CelebAMask-HQ-mask-anno/{}/{:05d}_{}.png"


def coded(pixels: np.ndarray, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(buffer, kind, **({"quality": 95} if kind == "JPEG" else {}))
    return buffer.getvalue()


def part(rows: slice, side: int = 16) -> bytes:
    """A part as it is published: white on black, in three channels."""
    pixels = np.zeros((side, side, 3))
    pixels[rows] = 255
    return coded(pixels)


def faces() -> dict[str, bytes]:
    files = {f"{TOP}CelebA-HQ-img/{i}.jpg": coded(np.full((32, 32, 3), 40 * min(i, 2)), "JPEG") for i in (0, 1, 2000)}
    for i in (0, 1, 2000):
        files[PART.format(i // 2000, i, "hair")] = part(slice(0, 6))
        files[PART.format(i // 2000, i, "skin")] = part(slice(4, 16))
    files[PART.format(0, 1, "hat")] = part(slice(0, 2))
    files[f"{TOP}CelebAMask-HQ-attribute-anno.txt"] = b"3\nMale Smiling\n0.jpg  1 -1\n1.jpg -1 -1\n2000.jpg  1  1\n"
    return files | {f"{TOP}README.txt": b"", f"{TOP}CelebA-HQ-to-CelebA-mapping.txt": b"idx orig_idx orig_file\n"}


def published(folder: Path, files: dict[str, bytes], unpacked: bool = False) -> CelebAMaskConfig:
    path = folder / "CelebAMask-HQ.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    if unpacked:
        zipfile.ZipFile(path).extractall(folder / "extracted")
    return CelebAMaskConfig(path=folder / "extracted" if unpacked else path, attributes={"Man": "Male"})


@pytest.mark.parametrize("unpacked", [False, True], ids=["zip", "folder"])
def test_parts_of_a_face_are_merged_in_the_published_order(tmp_path: Path, unpacked: bool) -> None:
    source = published(tmp_path, faces(), unpacked)
    images, masks = all_images(source, 16), all_masks(source, 16)
    assert source.mask_classes[0] == "background" and len(source.mask_classes) == 19
    ids = [source.mask_classes.index(name) for name in ("hat", "hair", "skin")]
    for name, expected in (("0.jpg", [ids[1]] * 6 + [ids[2]] * 10), ("1.jpg", [ids[0]] * 2 + [ids[1]] * 4 + [1] * 10)):
        found = masks.by_ids([hash_of(name)]).pixels[0]
        assert found.tolist() == [[label] * 16 for label in expected]
    assert images.attributes["Man"].tolist() == [name != 1 for name in _numbers(images.ids)]
    assert [round(float(image.float().mean()) / 40) for image in images.pixels] == [
        min(number, 2) for number in _numbers(images.ids)
    ]


def _numbers(ids: torch.Tensor) -> list[int]:
    known = {hash_of(f"{i}.jpg"): i for i in (0, 1, 2000)}
    return [known[int(id_)] for id_ in ids]


def test_another_mask_makes_its_split_stale(tmp_path: Path) -> None:
    def digest(files: dict[str, bytes]) -> str:
        index, rows, attributes = listed(published(tmp_path, files))
        return contents(manifest(index, rows, attributes, Checksums()), rows, Checksums())

    assert digest(faces()) == digest(faces())
    assert digest(faces()) != digest(faces() | {PART.format(0, 1, "hat"): part(slice(0, 1))})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({PART.format(0, 1, "beard"): b"x"}, "00001_beard.png: expected CelebAMask-HQ-mask-anno/<k>/<i>_<part>.png"),
        ({f"{TOP}CelebA-HQ-img/1.jpg": None}, "the face 1 has masks, but no CelebA-HQ-img/1.jpg"),
        ({PART.format(1, 2000, part): None for part in ("hair", "skin")}, "the face 2000 has no mask"),
        ({PART.format(0, 1, "hat"): part(slice(0, 2), 8)}, "00001_hat.png: found 8 x 8 pixels, expected 16 x 16"),
        ({PART.format(0, 1, "hat"): b"x"}, "00001_hat.png: not a readable image"),
        ({PART.format(1, 1, "hat"): part(slice(1))}, "are of one part of one face"),
        ({name: None for name in faces() if "img" in name or "anno/" in name}, "found no CelebA-HQ-img/<i>.jpg"),
        ({f"{TOP}CelebAMask-HQ-attribute-anno.txt": b"1\nMale\n0.jpg 1\n"}, "1.jpg, 2000.jpg of the images are not"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_the_archive_is_named(tmp_path: Path, change: dict[str, bytes | None], said: str) -> None:
    files = {name: data for name, data in (faces() | change).items() if data is not None}
    with pytest.raises(DataError) as error:
        all_masks(published(tmp_path, files))
    assert said in str(error.value)


# --- parquet ---


def mirror(folder: Path, part: str, number: int, of: int, rows: range, **columns: list[object]) -> Path:
    """Write one file as the hub has it: groups of two rows, the names of classes in the schema."""
    images = [{"bytes": coded(np.full((8, 8, 3), row)), "path": f"{row:06d}.png"} for row in rows]
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    arrays = {"image": pa.array(images, kind), "label": pa.array([row % 3 for row in rows])}
    table = pa.table(arrays | {"Male": pa.array([row % 2 == 0 for row in rows])} | columns)
    described = {"info": {"features": {"label": {"names": ["n01", "n02", "n03"], "_type": "ClassLabel"}}}}
    path = folder / "data" / f"{part}-{number:05d}-of-{of:05d}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(table.replace_schema_metadata({"huggingface": json.dumps(described)}), path, row_group_size=2)
    return path


@pytest.fixture
def hub(tmp_path: Path) -> Path:
    mirror(tmp_path, "train", 0, 2, range(5))
    mirror(tmp_path, "train", 1, 2, range(5, 9))
    mirror(tmp_path, "valid", 0, 1, range(20, 24))
    return tmp_path


def source(hub: Path, **changes: object) -> ParquetConfig:
    return ParquetConfig(**{"path": hub, "label": "label", "attributes": {"Man": "Male"}, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("names", ["position", "path"])
def test_rows_of_parquet_files_are_images_with_labels(hub: Path, names: str) -> None:
    found = all_images(source(hub, names=names), 8)
    values = found.pixels[:, 0, 0, 0]
    assert sorted(values.tolist()) == [*range(9), *range(20, 24)]
    assert found.labels is not None and found.classes == ["n01", "n02", "n03"]
    assert found.labels.tolist() == [value % 3 for value in values]
    assert found.attributes["Man"].tolist() == [bool(value % 2 == 0) for value in values]
    name = "000006.png" if names == "path" else "train/6"
    assert int(found.by_ids([hash_of(name)]).pixels[0, 0, 0, 0]) == 6


def test_parts_are_of_the_splits_that_are_named(hub: Path) -> None:
    index = list_source(source(hub, parts={"valid": ["class_test"]}), [])
    found = share_out(index, SharesConfig(shares={"class_train": 1, "class_test": 1}))
    assert {split: {row.name.split("/")[0] for row in rows} for split, rows in found.items()} == {
        "class_train": {"train"}, "class_test": {"valid"},
    }  # fmt: skip
    with pytest.raises(ValueError, match="parts: found the split 'exam', expected some of train"):
        source(hub, parts={"valid": ["exam"]})


def test_one_file_and_columns_of_bytes_or_words_will_do(hub: Path) -> None:
    path = hub / "data/own.parquet"
    parquet.write_table(pa.table({"img": [coded(np.full((8, 8, 3), 7))] * 2, "kind": ["b", "a"], "odd": [-1, 1]}), path)
    found = all_images(source(path, image="img", label="kind", attributes={"Odd": "odd"}))
    assert (found.classes, found.attributes["Odd"].sum(), found.pixels.unique().tolist()) == (["a", "b"], 1, [7])


@pytest.mark.parametrize(
    ("change", "settings", "said"),
    [
        (lambda hub: (hub / "data/train-00001-of-00002.parquet").unlink(), {}, "found 1 files of train, expected 2"),
        (lambda hub: (hub / "data/valid-00000-of-00001.parquet").write_bytes(b"PAR1"), {}, "cannot be read as a parq"),
        (lambda hub: mirror(hub, "valid", 0, 1, range(1), image=[{"bytes": None, "path": "a"}]), {}, "row 0: holds no"),
        (lambda hub: mirror(hub, "valid", 0, 1, range(2), Male=[True, None]), {}, "column 'Male', row 1: found no va"),
        (lambda hub: mirror(hub, "valid", 0, 1, range(2), Male=[1, 2]), {}, "column 'Male': found 1, 2, expected true"),
        (lambda hub: mirror(hub, "valid", 0, 1, range(2), label=[0, 3]), {}, "label': found 3, expected 0 to 2"),
        (lambda hub: mirror(hub, "valid", 0, 1, range(1)), {"names": "path"}, "000000.png is there twice"),
        (lambda hub: None, {"label": "class"}, "found no column class; it has: image, label, Male"),
        (lambda hub: None, {"image": "label", "names": "path"}, "has no paths"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_mirror_is_named(
    hub: Path, change: Callable[[Path], object], settings: dict[str, str], said: str
) -> None:
    change(hub)
    with pytest.raises(DataError) as error:
        all_images(source(hub, **settings))
    assert said in str(error.value)
