"""Few-shot splits: the right images, the right number of them, and the reader refuses what is not one."""

from pathlib import Path

import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fewshot_diffusion.data.image_set import ImageSet
from fewshot_diffusion.data.mask_set import MaskSet
from fewshot_diffusion.data.shots import draw_pairs, draw_shots, join_pairs, read_pairs, read_shots
from fewshot_diffusion.errors import DataError
from fewshot_diffusion.storage.tables import write_csv


def pool(positives: int, negatives: int, first_id: int = 1000) -> ImageSet:
    """A pool whose images hold their position, positives and negatives mixed."""
    n = positives + negatives
    order = torch.randperm(n, generator=torch.Generator().manual_seed(0))
    labels = (order < positives).tolist()
    images = torch.arange(n, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 8, 8).contiguous()
    return ImageSet(images, torch.arange(n) + first_id, pd.DataFrame({"Blond": labels, "Beard": [True] * n}))


def test_positives_come_first_and_carry_the_pools_labels() -> None:
    source = pool(20, 30)
    shots = draw_shots(source, "Blond", 5, 7, seed=0)
    assert list(shots.columns) == ["id", "label"]
    assert shots["label"].tolist() == [True] * 5 + [False] * 7
    truth = dict(zip(source.ids.tolist(), source.attributes["Blond"], strict=True))
    assert [truth[id_] for id_ in shots["id"]] == shots["label"].tolist()
    assert shots["id"].is_unique


def test_a_seed_names_the_shots() -> None:
    source = pool(40, 40)
    pd.testing.assert_frame_equal(draw_shots(source, "Blond", 9, 9, 3), draw_shots(source, "Blond", 9, 9, 3))
    drawn = [set(draw_shots(source, "Blond", 9, 9, seed)["id"]) for seed in range(5)]
    assert all(one != two for i, one in enumerate(drawn) for two in drawn[:i])


def test_the_draw_is_not_the_head_of_the_pool() -> None:
    source = pool(40, 40)
    positives = source.ids[source.mask("Blond", True)]
    assert draw_shots(source, "Blond", 9, 9, 0)["id"].tolist()[:9] != positives[:9].tolist()


@pytest.mark.parametrize(("positives", "negatives", "class_"), [(4, 30, "Blond=True"), (30, 4, "Blond=False")])
def test_too_few_images_of_a_class(positives: int, negatives: int, class_: str) -> None:
    with pytest.raises(DataError) as caught:
        draw_shots(pool(positives, negatives), "Blond", 5, 5, 0)
    message = str(caught.value)
    assert f"{class_}: 5 shots are asked for, the pool of 34 images has 4" in message
    assert "attributes.head.positive_shots" in message
    assert "attributes.splits.shots" in message


def test_an_unknown_attribute() -> None:
    with pytest.raises(DataError, match=r"'Hat' is not in the data set. It has: Blond, Beard"):
        draw_shots(pool(5, 5), "Hat", 1, 1, 0)


def test_shots_are_read_back_in_their_order(tmp_path: Path) -> None:
    source = pool(20, 20)
    shots = draw_shots(source, "Blond", 4, 6, 1)
    write_csv(tmp_path / "shots.csv", shots)
    images, labels = read_shots(tmp_path / "shots.csv", source)
    assert images.ids.tolist() == shots["id"].tolist()
    assert images.images[:, 0, 0, 0].tolist() == [id_ - 1000 for id_ in shots["id"]]
    assert labels.dtype == torch.bool
    assert labels.tolist() == shots["label"].tolist()


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "found the columns '', expected id, label"),
        ("id\n1000\n", "found the columns 'id', expected id, label"),
        ("id,label\n", "found nothing below the line of names"),
        ("id,label\n1000,perhaps\n", "line 2, column 'label': found 'perhaps', expected 0 or 1"),
        ("id,label\n\n1000,\n", "line 3, column 'label': found no value"),
        ("id,label\n1e3,1\n", "line 2, column 'id': found '1e3', expected a whole number"),
        ("id,label\n1000,1\n1000,0\n", "1000 stands twice, in lines 2 and 3"),
    ],
)
def test_a_malformed_list_is_named(tmp_path: Path, text: str, fault: str) -> None:
    (tmp_path / "shots.csv").write_text(text)
    with pytest.raises(DataError, match=rf"shots\.csv.*{fault}"):
        read_shots(tmp_path / "shots.csv", pool(5, 5))


def test_shots_outside_the_pool_are_named(tmp_path: Path) -> None:
    write_csv(tmp_path / "shots.csv", pd.DataFrame({"id": [1000, 77], "label": [True, False]}))
    with pytest.raises(DataError, match=r"\[77\] are not in this split"):
        read_shots(tmp_path / "shots.csv", pool(5, 5))


@settings(max_examples=100, deadline=None)
@given(
    labels=st.lists(st.booleans(), min_size=2, max_size=60),
    positive=st.integers(1, 6),
    negative=st.integers(1, 6),
    seed=st.integers(0, 10**6),
)
def test_positives_and_negatives_are_disjoint(labels: list[bool], positive: int, negative: int, seed: int) -> None:
    n = len(labels)
    source = ImageSet(torch.zeros(n, 3, 8, 8, dtype=torch.uint8), torch.arange(n) * 3, pd.DataFrame({"A": labels}))
    if sum(labels) < positive or n - sum(labels) < negative:
        with pytest.raises(DataError, match="shots are asked for"):
            draw_shots(source, "A", positive, negative, seed)
        return
    shots = draw_shots(source, "A", positive, negative, seed)
    ones, zeros = set(shots.loc[shots["label"], "id"]), set(shots.loc[~shots["label"], "id"])
    assert len(ones) == positive
    assert len(zeros) == negative
    assert not ones & zeros
    assert ones | zeros <= set(source.ids.tolist())


# --- pairs ------------------------------------------------------------------------------------------------------------


def mask_pool(number: int = 10) -> MaskSet:
    return MaskSet(torch.zeros(number, 4, 4, dtype=torch.uint8), torch.arange(100, 100 + number), ["a"])


def test_fewer_pairs_are_a_prefix_of_more() -> None:
    five, nine = draw_pairs(mask_pool(), 5, seed=0), draw_pairs(mask_pool(), 9, seed=0)
    assert nine[:5] == five
    assert len(set(nine)) == 9
    assert draw_pairs(mask_pool(), 5, seed=1) != five
    with pytest.raises(DataError, match="11 pairs are asked for, the pool has 10"):
        draw_pairs(mask_pool(), 11, seed=0)


def test_pairs_need_an_image_and_a_mask(tmp_path: Path) -> None:
    images = ImageSet(
        torch.zeros(3, 3, 4, 4, dtype=torch.uint8), torch.tensor([100, 101, 999]), pd.DataFrame(index=range(3))
    )
    path = tmp_path / "pairs.csv"
    write_csv(path, pd.DataFrame({"id": [101, 100]}))
    assert read_pairs(path, images, mask_pool())[1].ids.tolist() == [101, 100]
    for id_, missing in ((999, "no mask"), (105, "not in this split")):
        write_csv(path, pd.DataFrame({"id": [id_]}))
        with pytest.raises(DataError, match=missing):
            read_pairs(path, images, mask_pool())
    write_csv(path, pd.DataFrame({"name": [3]}))
    with pytest.raises(DataError, match=r"pairs\.csv: found the columns 'name', expected id"):
        read_pairs(path, images, mask_pool())
    with pytest.raises(DataError, match="are not in this split"):
        join_pairs(images, mask_pool())
    assert join_pairs(images, mask_pool(2))[0].ids.tolist() == [100, 101]
