"""Splits are a function of each image's name: none is in two, and one image more or less moves no other."""

from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fewshot_diffusion.config.splits import SHARES, SharesConfig
from fewshot_diffusion.data.files import Members
from fewshot_diffusion.data.index import Row, SourceIndex, hash_of
from fewshot_diffusion.data.splits import share_out
from fewshot_diffusion.errors import DataError

NAMES = st.sets(st.text(min_size=1, max_size=12), max_size=60)
SPLITS = ("train", "shots", "judge", "controls")


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> Members:
    return Members(tmp_path_factory.mktemp("empty"))


def shared(members: Members, names: Iterable[str], most: int | None = None, **shares: float) -> dict[str, list[str]]:
    index = SourceIndex(Path("x"), [Row(name, members, name) for name in names])
    given = shares or {split: SHARES[split] for split in SPLITS}
    found = share_out(index, SharesConfig(shares=given, most=dict.fromkeys(given, most) if most is not None else {}))
    return {split: [row.name for row in rows] for split, rows in found.items()}


@settings(deadline=None)
@given(NAMES, st.text(min_size=1, max_size=12))
def test_one_more_image_moves_no_other(members: Members, names: set[str], more: str) -> None:
    fewer, all_ = shared(members, names - {more}), shared(members, names | {more})
    assert sorted(name for found in all_.values() for name in found) == sorted(names | {more})
    assert {split: [name for name in found if name != more] for split, found in all_.items()} == fewer


@settings(deadline=None)
@given(NAMES, st.sampled_from(SPLITS), st.floats(0.01, 10))
def test_a_split_that_grows_or_goes_exchanges_images_with_the_others_alone(
    members: Members, names: set[str], split: str, share: float
) -> None:
    before = shared(members, names)
    for after in (shared(members, names, **{s: share if s == split else SHARES[s] for s in SPLITS}),
                  shared(members, names, **{s: SHARES[s] for s in SPLITS if s != split})):  # fmt: skip
        for other in set(SPLITS) - {split}:
            assert set(after[other]) <= set(before[other]) | set(before[split])
            assert set(before[other]) <= set(after[other]) | set(after.get(split, ()))


def test_splits_have_their_shares_and_no_more_than_their_number(members: Members) -> None:
    found = shared(members, map(str, range(20000)), a=3, b=1)
    assert len(found["a"]) == pytest.approx(15000, abs=250)
    limited = shared(members, map(str, range(20000)), most=10, a=3, b=1)
    assert limited == {split: names[:10] for split, names in found.items()}
    assert found["a"] == sorted(found["a"], key=hash_of)


def test_who_may_be_where(members: Members) -> None:
    kinds = {"unknown": {"labelled": False}, "held out": {"held_out": True}, "test": {"part": "val"}, "plain": {}}
    named = {f"{kind} {i}": {"part": "train", **which} for kind, which in kinds.items() for i in range(99)}
    rows = [Row(name, members, "", **which) for name, which in named.items()]  # type: ignore[arg-type]
    found = share_out(SourceIndex(Path("x"), rows), SharesConfig(shares={"train": 1, "judge": 1, "class_test": 1}))
    places = {kind: {split for split, rows in found.items() if any(kind in row.name for row in rows)} for kind in kinds}
    assert places == {"unknown": {"train"}, "held out": {"judge"}, "test": {"class_test"}, "plain": {"train", "judge"}}


def test_without_a_part_for_tests_class_test_is_a_split_like_any_other(members: Members) -> None:
    found = shared(members, map(str, range(99)), judge=1, class_test=1)
    assert all(found.values())


def test_names_are_compared_in_one_form_and_stand_for_numbers_that_never_change(members: Members) -> None:
    assert hash_of("e\u0301.jpg") == hash_of("\u00e9.jpg") != hash_of("e.jpg")
    assert hash_of("000003.jpg") == 147572836576117228
    assert 0 <= hash_of("x") < 2**63
    with pytest.raises(DataError, match=r"a.jpg is there twice"):
        SourceIndex(Path("x"), [Row("a.jpg", members, "1"), Row("a.jpg", members, "2")])
