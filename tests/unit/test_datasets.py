"""Data sets: avatars are functions of their id; real faces come from a folder whose faults are named."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from fewshot_diffusion.config.data import AvatarsConfig, CelebAHQConfig, DataConfig, SplitsConfig
from fewshot_diffusion.data.avatars import attributes_of, draw_avatars
from fewshot_diffusion.data.celeba import read_faces
from fewshot_diffusion.data.image_set import ImageSet, load_image_set, save_image_set
from fewshot_diffusion.data.order import fixed_order
from fewshot_diffusion.data.sources import make_images
from fewshot_diffusion.errors import CorruptFileError, DataError

SPLITS = SplitsConfig(train=6, shots=3, judge=2, tuning_judge=2, controls=2, reference=3)


# --- avatars --------------------------------------------------------------------------------------------------------


def avatars(**options: object) -> AvatarsConfig:
    return AvatarsConfig(
        options={
            "hairColor": ["2c1b18", "d6b370", "724133"],
            "beardVariant": ["fullBeard", "longBeard"],
            "beardProbability": 50,
            "rotate": [-10, 10],
            **options,
        },
        attributes={"Blond": {"hairColor": ["d6b370"]}, "Beard": {"beardVariant": ["fullBeard", "longBeard"]}},
    )


def test_an_avatar_depends_on_its_id_alone() -> None:
    together = draw_avatars(avatars(), 16, range(0, 12))
    alone = draw_avatars(avatars(), 16, range(7, 8))
    assert torch.equal(together.images[7], alone.images[0])
    assert together.attributes.iloc[7].tolist() == alone.attributes.iloc[0].tolist()
    assert len({image.numpy().tobytes() for image in together.images}) == 12


def test_avatars_have_the_promised_types() -> None:
    drawn = draw_avatars(avatars(), 24, range(5, 9))
    assert drawn.images.shape == (4, 3, 24, 24)
    assert drawn.images.dtype == torch.uint8
    assert drawn.ids.tolist() == [5, 6, 7, 8]
    assert drawn.ids.dtype == torch.int64
    assert list(drawn.attributes.columns) == ["Blond", "Beard"]
    assert drawn.attributes.dtypes.astype(str).tolist() == ["bool", "bool"]
    assert drawn.images.float().std() > 10, "the pictures are blank"


@pytest.mark.parametrize(("colour", "blond"), [("d6b370", True), ("2c1b18", False)])
def test_the_attribute_rule_follows_the_colour(colour: str, blond: bool) -> None:
    drawn = draw_avatars(avatars(hairColor=[colour]), 16, range(8))
    assert drawn.attributes["Blond"].tolist() == [blond] * 8


def test_recolouring_changes_pictures_and_nothing_else() -> None:
    blond, dark = (draw_avatars(avatars(hairColor=[colour]), 16, range(4)) for colour in ("d6b370", "2c1b18"))
    assert blond.attributes["Beard"].tolist() == dark.attributes["Beard"].tolist()
    assert all(not torch.equal(one, two) for one, two in zip(blond.images, dark.images, strict=True))


@pytest.mark.parametrize(("probability", "bearded"), [(0, False), (100, True)])
def test_the_beard_rule_follows_its_probability(probability: int, bearded: bool) -> None:
    drawn = draw_avatars(avatars(beardProbability=probability), 16, range(8))
    assert drawn.attributes["Beard"].tolist() == [bearded] * 8


def test_an_attribute_needs_every_option_of_its_rule() -> None:
    rules = {"A": {"hair": ["x"], "hat": ["y", "z"]}}
    assert attributes_of({"hair": "x", "hat": ["z"]}, rules) == {"A": True}
    assert attributes_of({"hair": "#x", "hat": "y"}, rules) == {"A": True}
    assert attributes_of({"hair": "x"}, rules) == {"A": False}
    assert attributes_of({"hair": "x", "hat": []}, rules) == {"A": False}


def test_avatar_splits_are_disjoint_and_complete() -> None:
    data = DataConfig(name="a", kind="avatars", image_size=8, avatars=avatars(), splits=SPLITS)
    ids = [id_ for split in SPLITS.model_dump() for id_ in make_images(data, data.split_range(split)).ids.tolist()]
    assert ids == list(range(18))


# --- the common product ---------------------------------------------------------------------------------------------


def image_set(ids: list[int]) -> ImageSet:
    images = torch.tensor(ids, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 8, 8).contiguous()
    return ImageSet(images, torch.tensor(ids), pd.DataFrame({"Odd": [id_ % 2 == 1 for id_ in ids]}))


def save(ids: list[int], folder: Path, name: str) -> None:
    save_image_set(image_set(ids), folder / f"{name}.safetensors", folder / f"{name}.parquet", {"split": name})


def test_an_image_set_comes_back(tmp_path: Path) -> None:
    save([3, 5, 4], tmp_path, "a")
    loaded = load_image_set(tmp_path / "a.safetensors")
    assert torch.equal(loaded.images, image_set([3, 5, 4]).images)
    assert loaded.ids.tolist() == [3, 5, 4]
    pd.testing.assert_frame_equal(loaded.attributes, image_set([3, 5, 4]).attributes)


@pytest.mark.parametrize("others", [[3, 4, 5], [3, 5, 4, 6], [3, 5]])
def test_records_of_other_images_are_refused(tmp_path: Path, others: list[int]) -> None:
    save([3, 5, 4], tmp_path, "a")
    save(others, tmp_path, "b")
    (tmp_path / "b.parquet").replace(tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"a\.safetensors and its \.parquet hold different images"):
        load_image_set(tmp_path / "a.safetensors")


def test_missing_records_are_named(tmp_path: Path) -> None:
    save([1, 2], tmp_path, "a")
    (tmp_path / "a.parquet").unlink()
    with pytest.raises(CorruptFileError, match=r"a\.parquet"):
        load_image_set(tmp_path / "a.safetensors")


def test_selection_keeps_images_ids_and_attributes_together() -> None:
    chosen = image_set([10, 11, 12, 13]).select(torch.tensor([3, 0]))
    assert chosen.ids.tolist() == [13, 10]
    assert chosen.images[:, 0, 0, 0].tolist() == [13, 10]
    assert chosen.attributes["Odd"].tolist() == [True, False]
    odd = image_set([10, 11, 12, 13])
    assert odd.select(odd.mask("Odd", True)).ids.tolist() == [11, 13]
    assert odd.select(odd.mask("Odd", False)).ids.tolist() == [10, 12]
    assert odd.by_ids([12, 10]).images[:, 0, 0, 0].tolist() == [12, 10]


def test_unknown_attributes_and_ids_are_named() -> None:
    with pytest.raises(DataError, match=r"'Even' is not in the data set. It has: Odd"):
        image_set([1]).mask("Even", True)
    with pytest.raises(DataError, match=r"\[7\] are not in this split"):
        image_set([1]).by_ids([1, 7])


# --- real faces -----------------------------------------------------------------------------------------------------

IDS = range(100, 120)
HELD_OUT = [101, 102, 103, 110]


def jpeg(id_: int) -> bytes:
    # Flat colours survive the compression: the picture tells its id.
    file = io.BytesIO()
    Image.fromarray(np.full((32, 32, 3), (id_ - 100) * 12, dtype=np.uint8)).save(file, "JPEG", quality=95)
    return file.getvalue()


def attribute_lines(value: str = "-1") -> list[str]:
    rows = [f"{i}.jpg  {'1' if i % 2 else value} {'1' if i % 3 == 0 else '-1'}" for i in IDS]
    return [str(len(IDS)), "Male Blond_Hair", *rows]


def pack(folder: Path, members: dict[str, bytes], name: str = "images-0.zip") -> None:
    with zipfile.ZipFile(folder / name, "w") as archive:
        for member, data in members.items():
            archive.writestr(member, data)


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    pack(tmp_path, {f"{i}.jpg": jpeg(i) for i in IDS if i < 109}, "images-0.zip")
    pack(tmp_path, {f"{i}.jpg": jpeg(i) for i in IDS if i >= 109}, "images-1.zip")
    (tmp_path / "list.txt").write_text("\n".join(attribute_lines()) + "\n")
    (tmp_path / "held_out.csv").write_text("celebahq_file\n" + "".join(f"{i}.jpg\n" for i in HELD_OUT))
    return tmp_path


def settings(folder: Path, **changes: object) -> CelebAHQConfig:
    given = {
        "folder": folder,
        "attribute_file": "list.txt",
        "held_out_ids": folder / "held_out.csv",
        "attributes": {"Male": "Male", "Blond": "Blond_Hair"},
        **changes,
    }
    return CelebAHQConfig.model_validate(given)


def test_faces_keep_their_attributes(faces: Path) -> None:
    read = read_faces(settings(faces), 16, range(20))
    assert read.images.shape == (20, 3, 16, 16)
    assert read.images.dtype == torch.uint8
    assert sorted(read.ids.tolist()) == list(IDS)
    assert read.attributes["Male"].tolist() == [id_ % 2 == 1 for id_ in read.ids.tolist()]
    assert read.attributes["Blond"].tolist() == [id_ % 3 == 0 for id_ in read.ids.tolist()]
    shown = read.images.float().mean((1, 2, 3))
    assert torch.allclose(shown, (read.ids - 100).float() * 12, atol=3)


def test_the_order_is_fixed_and_no_matter_how_the_list_is_sorted(faces: Path) -> None:
    ids = read_faces(settings(faces), 8, range(20)).ids.tolist()
    lines = attribute_lines()
    (faces / "list.txt").write_text("\n".join([*lines[:2], *reversed(lines[2:])]) + "\n")
    assert read_faces(settings(faces), 8, range(20)).ids.tolist() == ids
    assert ids != sorted(ids)
    assert fixed_order(np.arange(6), set()).tolist() == fixed_order(np.arange(6)[::-1], set()).tolist()


def test_held_out_faces_come_last(faces: Path) -> None:
    ids = read_faces(settings(faces), 8, range(20)).ids.tolist()
    assert set(ids[-len(HELD_OUT) :]) == set(HELD_OUT)
    free = read_faces(settings(faces, held_out_ids=None), 8, range(20)).ids.tolist()
    assert [id_ for id_ in free if id_ not in HELD_OUT] == ids[: -len(HELD_OUT)]
    assert set(free[-len(HELD_OUT) :]) != set(HELD_OUT)


def test_splits_of_faces_are_disjoint(faces: Path) -> None:
    data = DataConfig(name="c", kind="celebahq", image_size=8, celebahq=settings(faces), splits=SPLITS)
    ids = [id_ for split in SPLITS.model_dump() for id_ in make_images(data, data.split_range(split)).ids.tolist()]
    assert len(ids) == len(set(ids)) == 18
    assert not set(make_images(data, data.split_range("train")).ids.tolist()) & set(HELD_OUT)


def refusal(config: CelebAHQConfig, positions: range = range(20)) -> str:
    with pytest.raises(DataError) as caught:
        read_faces(config, 8, positions)
    return str(caught.value)


@pytest.mark.parametrize("count", ["21", "", "-20", "many"])
def test_a_wrong_count_line(faces: Path, count: str) -> None:
    (faces / "list.txt").write_text("\n".join([count, *attribute_lines()[1:]]) + "\n")
    message = refusal(settings(faces))
    assert str(faces / "list.txt") in message
    assert f"announces {count!r} images, found 20" in message


@pytest.mark.parametrize("value", ["0", "2", "x", "nan"])
def test_a_value_that_is_neither_minus_one_nor_one(faces: Path, value: str) -> None:
    (faces / "list.txt").write_text("\n".join(attribute_lines(value)) + "\n")
    message = refusal(settings(faces))
    assert str(faces / "list.txt") in message
    assert "other than -1 and 1" in message


@pytest.mark.parametrize(
    "line", ["x.jpg 1 1", "105.jpg 1 1 1 1", "105.jpg 1"], ids=["no number", "too many values", "too few values"]
)
def test_a_malformed_line(faces: Path, line: str) -> None:
    lines = attribute_lines()
    (faces / "list.txt").write_text("\n".join([*lines[:7], line, *lines[8:]]) + "\n")
    assert str(faces / "list.txt") in refusal(settings(faces))


def test_a_face_that_is_in_no_archive(faces: Path) -> None:
    (faces / "images-1.zip").unlink()
    message = refusal(settings(faces))
    assert str(faces) in message
    assert "none of the archives" in message


def test_a_truncated_face(faces: Path) -> None:
    pack(faces, {f"{i}.jpg": jpeg(i)[:-400] if i == 115 else jpeg(i) for i in IDS if i >= 109}, "images-1.zip")
    message = refusal(settings(faces))
    assert "115.jpg" in message
    assert "not a readable image" in message


def test_a_face_with_a_flipped_bit(faces: Path) -> None:
    data = bytearray((faces / "images-1.zip").read_bytes())
    position = data.index(jpeg(115)) + 300
    data[position] ^= 1
    (faces / "images-1.zip").write_bytes(data)
    assert "115.jpg" in refusal(settings(faces))


def test_a_truncated_archive(faces: Path) -> None:
    data = (faces / "images-1.zip").read_bytes()
    (faces / "images-1.zip").write_bytes(data[: len(data) // 2])
    assert "images-1.zip" in refusal(settings(faces))


def test_no_archives(faces: Path) -> None:
    for path in faces.glob("*.zip"):
        path.unlink()
    message = refusal(settings(faces))
    assert f"{faces}: no images-*.zip" in message
    assert "data.celebahq.folder" in message


def test_an_unknown_attribute(faces: Path) -> None:
    message = refusal(settings(faces, attributes={"Smile": "Smiling"}))
    assert "Smiling" in message
    assert "it has: Male, Blond_Hair" in message
    assert "list.txt" in message


def test_more_images_than_there_are(faces: Path) -> None:
    message = refusal(settings(faces), range(15, 21))
    assert str(faces) in message
    assert "ask for 21 images, found 20" in message
    assert "data.splits" in message


def test_a_missing_list(faces: Path) -> None:
    (faces / "list.txt").unlink()
    message = refusal(settings(faces))
    assert str(faces / "list.txt") in message
    assert "data.celebahq.folder" in message


def test_a_missing_list_of_held_out_faces(faces: Path) -> None:
    (faces / "held_out.csv").unlink()
    assert str(faces / "held_out.csv") in refusal(settings(faces))
    (faces / "held_out.csv").write_text("file\n1.jpg\n")
    message = refusal(settings(faces))
    assert str(faces / "held_out.csv") in message
    assert "celebahq_file" in message
