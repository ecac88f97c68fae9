"""Public data sets in miniature, each in its exact layout, and what spoils them."""

import io
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from fewshot_diffusion.config.data import CelebAHQConfig, CropConfig, FolderConfig, ImageFolderConfig, MaskFolderConfig
from fewshot_diffusion.config.splits import SharesConfig
from fewshot_diffusion.data.celeba import PARTITIONS
from fewshot_diffusion.data.splits import share_out
from fewshot_diffusion.errors import DataError
from source_helpers import all_images, all_masks, listed

FACES = [f"{i:06d}.jpg" for i in range(1, 31)]
PARTS = {"train": 0.5, "shots": 0.2, "judge": 0.1, "controls": 0.2, "reference": 0.2}


def encoded(pixels: np.ndarray, kind: str = "JPEG") -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def packed(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


@pytest.fixture
def celeba(tmp_path: Path) -> CelebAHQConfig:
    """178 x 218 pixels, white where D2C's crop keeps them."""
    face = np.zeros((218, 178, 3), dtype=np.uint8)
    face[57:185, 25:153] = 255
    packed(tmp_path / "img_align_celeba.zip", {f"img_align_celeba/{name}": encoded(face) for name in FACES})
    rows = [f"{name} {-1 if i % 2 else 1:2d} -1" for i, name in enumerate(FACES)]
    (tmp_path / "list_attr_celeba.txt").write_text("\n".join([f"{len(FACES)}", "Male Young ", *rows]) + "\n")
    parts = "".join(f"{name} {i % 3}\n" for i, name in enumerate(FACES))
    (tmp_path / "list_eval_partition.txt").write_text(parts)
    return CelebAHQConfig(
        folder=tmp_path / "img_align_celeba.zip", attribute_file=tmp_path / "list_attr_celeba.txt",
        partition_file=tmp_path / "list_eval_partition.txt", attributes={"Male": "Male"},
        crop=CropConfig(rows=(57, 185), columns=(25, 153)),
    )  # fmt: skip


def test_aligned_celeba_is_read_as_it_is(celeba: CelebAHQConfig) -> None:
    read = all_images(celeba, 64)
    assert len(read) == len(FACES)
    assert read.attributes["Male"].sum() == len(FACES) / 2
    assert read.images.float().mean() > 250, "the crop is the white rectangle"


def test_partitions_decide_what_learns_judges_and_measures(celeba: CelebAHQConfig) -> None:
    index, _, _ = listed(celeba)
    found = share_out(index, SharesConfig(shares=PARTS))
    assert sum(map(len, found.values())) == len(FACES)
    for split, rows in found.items():
        assert {PARTITIONS[str(FACES.index(row.name) % 3)] for row in rows} <= {
            splits for splits in PARTITIONS.values() if split in splits
        }


def test_the_whole_is_a_reference_beside_disjoint_splits(celeba: CelebAHQConfig) -> None:
    index, _, _ = listed(celeba)
    shares = {name: share for name, share in PARTS.items() if name != "reference"}
    found = share_out(index, SharesConfig(shares=shares, whole=["reference"]))
    assert [row.name for row in found.pop("reference")] == [row.name for row in sorted(index.rows, key=lambda r: r.id)]
    names = [row.name for rows in found.values() for row in rows]
    assert len(set(names)) == len(names) == len(FACES)


@pytest.fixture
def ddpm(tmp_path: Path) -> MaskFolderConfig:
    """DatasetDDPM's pairs."""
    for i in range(12):
        folder = tmp_path / "celeba_19/real" / ("train" if i < 4 else "test")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"img_{i}.png").write_bytes(encoded(np.full((16, 16, 3), 10 * i, dtype=np.uint8), "PNG"))
        np.save(folder / f"img_{i}.npy", np.full((16, 16), i % 3, dtype=(np.uint8, np.int64)[i % 2]))
    return MaskFolderConfig(path=tmp_path / "celeba_19/real", classes=["background", "skin", "hair"])


def test_arrays_are_masks_and_their_folders_keep_tests(ddpm: MaskFolderConfig) -> None:
    images, masks = all_images(ddpm), all_masks(ddpm)
    assert ((images.images[:, 0, 0, 0] // 10) % 3).equal(masks.masks[:, 0, 0])
    found = share_out(listed(ddpm)[0], SharesConfig(shares={"pairs": 1, "judge": 1, "controls": 1}))
    assert {row.name for row in found["pairs"]} == {f"train/img_{i}" for i in range(4)}


def test_ffhq_in_nested_thousands(tmp_path: Path) -> None:
    names = [f"0{i // 2}000/0{i // 2}00{i % 2}.png" for i in range(6)]
    archive = packed(tmp_path / "ffhq.zip", {name: encoded(np.zeros((8, 8, 3), np.uint8), "PNG") for name in names})
    (tmp_path / "labels.csv").write_text("file,Hat\n" + "".join(f"{Path(name).name},1\n" for name in names))
    assert [row.name for row in listed(FolderConfig(images=archive, labels=tmp_path / "labels.csv"))[0].rows] == names


def test_tiny_imagenet_stock_archive(tmp_path: Path) -> None:
    top, image = "tiny-imagenet-200", encoded(np.zeros((64, 64, 3), np.uint8))
    files = {f"{top}/train/{c}/images/{c}_{i}.JPEG": image for c in ("n01", "n02") for i in range(3)}
    files |= {f"{top}/train/{c}/{c}_boxes.txt": b"" for c in ("n01", "n02")}
    files |= {f"{top}/val/images/val_{i}.JPEG": image for i in range(2)}
    files |= {f"{top}/test/images/test_0.JPEG": image, f"{top}/words.txt": b"n01\tfish\n", f"{top}/wnids.txt": b"n01\n"}
    files[f"{top}/val/val_annotations.txt"] = b"val_0.JPEG\tn02\t0\t0\t1\t1\nval_1.JPEG\tn01\t0\t0\t1\t1\n"
    index, rows, _ = listed(ImageFolderConfig(path=packed(tmp_path / f"{top}.zip", files)))
    assert index.classes == ["n01", "n02"]
    assert not index.remarks
    assert {row.name: row.label for row in rows if row.part == "val"} == {
        "val/images/val_0.JPEG": "n02", "val/images/val_1.JPEG": "n01",
    }  # fmt: skip
    shares = SharesConfig(shares={"class_train": 1, "judge": 1, "class_test": 1})
    held = {"train": ({"train"}, {"train"}, {"val"}), "val": ({"train"}, {"val"}, {"val"})}
    for part, expected in held.items():
        source = ImageFolderConfig(path=tmp_path / f"{top}.zip", judge_from=part)
        found = share_out(listed(source)[0], shares)
        assert all({row.part for row in rows} <= parts for rows, parts in zip(found.values(), expected, strict=True))
        assert len(found["class_train"]) + len(found["judge"]) >= (3, 6)[part == "val"]


def spoil(name: str, text: Callable[[str], str]) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_text(text((folder / name).read_text())) and None


CELEBA = {
    "image without partition": (spoil("list_eval_partition.txt", lambda text: text[13:]), "000001.jpg of the images"),
    "unknown partition": (spoil("list_eval_partition.txt", lambda text: text.replace(" 2", " 7")), "partition 7"),
    "id without image": (spoil("list_attr_celeba.txt", lambda text: text.replace("000030", "000031")), "000031.jpg"),
    "no partitions": (lambda folder: (folder / "list_eval_partition.txt").unlink(), "there is no such file"),
}


@pytest.mark.parametrize("fault", CELEBA)
def test_faults_of_celeba_are_named(celeba: CelebAHQConfig, tmp_path: Path, fault: str) -> None:
    spoils, message = CELEBA[fault]
    spoils(tmp_path)
    with pytest.raises(DataError, match=message):
        all_images(celeba)


def test_a_crop_holds_pixels_and_lies_in_the_image(celeba: CelebAHQConfig) -> None:
    with pytest.raises(DataError, match="218 rows and 178 columns, expected at least 300"):
        all_images(celeba.model_copy(update={"crop": CropConfig(rows=(0, 300), columns=(0, 10))}))
    with pytest.raises(ValidationError, match="range that holds pixels"):
        CropConfig(rows=(5, 5), columns=(0, 10))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (pickle.dumps([1]), "not a readable image"),
        (np.array([[None]], dtype=object), "not a readable array"),
        (np.zeros((16, 16, 3), dtype=np.uint8), "expected whole numbers"),
        (np.zeros((16, 16)), "float64"),
        (np.full((16, 16), 300), "found the value 300"),
        (np.full((16, 16), 5), "class id 5"),
        (np.zeros((16, 8), dtype=np.uint8), "expected the shape of its image"),
    ],
)
def test_arrays_that_are_no_masks_are_refused(
    ddpm: MaskFolderConfig, content: bytes | np.ndarray, message: str
) -> None:
    file = ddpm.path / "train/img_0.npy"
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        np.save(file, content, allow_pickle=True)
    with pytest.raises(DataError, match=message):
        all_masks(ddpm)
