"""Cartoon portraits: images, attributes, classes and masks are functions of the id alone, and fit each other."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from fewshot_diffusion.config.data import AvatarsConfig
from fewshot_diffusion.data.avatar_masks import component_classes, draw_masks
from fewshot_diffusion.data.avatars import attributes_of, avatar_classes, draw_avatars, load_style
from fewshot_diffusion.errors import DataError

DEFAULT = yaml.safe_load((Path(__file__).resolve().parents[3] / "config/config.yaml").read_text())
AVATARS = AvatarsConfig.model_validate(DEFAULT["data"]["avatars"])
CLASSES = ["background", *AVATARS.parts]
SIZE = 64
Drawn = tuple[torch.Tensor, torch.Tensor, pd.DataFrame]


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


def test_no_avatars_are_an_empty_set() -> None:
    drawn = draw_avatars(AVATARS, 16, range(0))
    assert (drawn.images.shape, len(drawn.attributes), list(drawn.attributes)) == (
        (0, 3, 16, 16),
        0,
        ["Blond", "Beard"],
    )
    assert draw_masks(AVATARS, 16, range(0)).masks.shape == (0, 16, 16)


# --- masks ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pairs() -> Drawn:
    ids = range(500, 530)
    drawn = draw_avatars(AVATARS, SIZE, ids)
    return drawn.images, draw_masks(AVATARS, SIZE, ids).masks, drawn.attributes


def test_masks_hold_class_ids_and_every_class_occurs(pairs: Drawn) -> None:
    assert pairs[1].dtype == torch.uint8
    assert pairs[1].shape == (30, SIZE, SIZE)
    assert pairs[1].unique().tolist() == list(range(len(CLASSES)))


def test_a_mask_has_a_beard_where_the_attribute_says_so(
    pairs: Drawn,
) -> None:
    has_beard = (pairs[1] == CLASSES.index("beard")).flatten(1).sum(1) > 20
    assert has_beard.tolist() == pairs[2]["Beard"].tolist()


def test_masks_lie_on_the_pixels_that_they_name(pairs: Drawn) -> None:
    """Hair is one flat colour: pixels of a blond avatar that have it are hair, beard or brows, and nothing else."""
    images, masks, attributes = pairs
    blond = torch.tensor([0xD6, 0xB3, 0x70]).view(3, 1, 1)
    for row in np.flatnonzero(attributes["Blond"].to_numpy()):
        coloured = (images[row].int() - blond).abs().amax(0) <= 2
        assert coloured.sum() > 100
        named = torch.isin(masks[row], torch.tensor([CLASSES.index(name) for name in ("hair", "beard", "eyes")]))
        assert (named & coloured).sum() >= 0.97 * coloured.sum()


def test_masks_do_not_depend_on_their_neighbours() -> None:
    together, alone = draw_masks(AVATARS, SIZE, range(7, 10)), draw_masks(AVATARS, SIZE, range(8, 9))
    assert torch.equal(together.masks[1], alone.masks[0])


@pytest.mark.parametrize("change", [{"hair": ["hair"]}, {"hat": ["hat"]}, {"skin": ["head", "body", "hair"]}])
def test_parts_must_name_every_component_once(change: dict[str, list[str]]) -> None:
    with pytest.raises(DataError, match=r"data\.avatars\.parts: found .* expected each of beard, body"):
        component_classes(load_style("toon-head"), AVATARS.parts | change)


# --- classes ----------------------------------------------------------------------------------------------------------


def test_the_default_has_twenty_hairstyles() -> None:
    classes = avatar_classes(AVATARS)
    assert len(classes) == len(set(classes)) == 20
    assert {"2c1b18-none", "d6b370-longWavy"} <= set(classes)


def test_colours_are_the_configured_ones_or_the_styles() -> None:
    classes = AVATARS.model_copy(update={"classes": ["hairColor", "skinColor"]})
    pairs = [name.split("-") for name in avatar_classes(classes)]
    assert {hair for hair, _ in pairs} == set(AVATARS.options["hairColor"])
    assert {skin for _, skin in pairs} == {"5c3829", "f1c3a5", "a36b4f", "c68e7a", "b98e6a"}
    rules = {f"{hair}-{skin}": {"hairColor": [hair], "skinColor": [skin]} for hair, skin in pairs}
    drawn = draw_avatars(classes, 16, range(40))
    truth = draw_avatars(classes.model_copy(update={"attributes": rules}), 16, range(40)).attributes
    assert [drawn.classes[label] for label in drawn.labels.tolist()] == truth.idxmax(axis=1).tolist()


def test_the_class_of_an_avatar_is_what_was_drawn() -> None:
    """A bald variant of the same portrait differs where the class says that there is rear hair, and only there."""
    drawn = draw_avatars(AVATARS, 16, range(60))
    bare = AVATARS.model_copy(update={"options": AVATARS.options | {"rearHairProbability": 0}})
    without = draw_avatars(bare, 16, range(60))
    differs = (drawn.images != without.images).flatten(1).any(1)
    has_rear = torch.tensor([not drawn.classes[label].endswith("-none") for label in drawn.labels.tolist()])
    assert differs[~has_rear].sum() == 0
    assert differs[has_rear].double().mean() > 0.9
    assert all(without.classes[label].endswith("-none") for label in without.labels.tolist())


@pytest.mark.parametrize("option", ["hair", "tailColor", "hairProbability"])
def test_classes_must_be_variants_or_colours(option: str) -> None:
    with pytest.raises(DataError, match=rf"data\.avatars\.classes: found '{option}', expected some of"):
        avatar_classes(AVATARS.model_copy(update={"classes": [option]}))
