"""The page's data: the right seed beside the right word and row, in a file that holds all that it shows."""

import base64
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from explorer_helpers import ODD, SEEDS, TARGETS, TEMPLATE, Miniature, with_sweep, write_miniature
from fewshot_diffusion.attributes.guidance import Steering
from fewshot_diffusion.data.mask_set import load_masks
from fewshot_diffusion.diffusion.samples import SampleSet, save_samples
from fewshot_diffusion.errors import CorruptFileError, DataError, WeightsError
from fewshot_diffusion.explorer import found, page
from fewshot_diffusion.explorer.masks import MasksShown
from fewshot_diffusion.explorer.page import fill, make_explorer, page_data
from fewshot_diffusion.explorer.parts import Pictures
from fewshot_diffusion.judges import AttributeClassifier
from fewshot_diffusion.masks.row import GuideKey
from fewshot_diffusion.masks.segmenter import Segmenter
from fewshot_diffusion.metrics.descriptions import load_description
from fewshot_diffusion.storage.tensors import pixel_digest, read_tensors
from fewshot_diffusion.storage.weights import save_module


@pytest.fixture
def mini(tmp_path: Path) -> Miniature:
    return write_miniature(tmp_path)


def levels(data: dict[str, Any], numbers: list[int]) -> list[int]:
    """Return the grey level, a multiple of three, that each of the page's pictures shows."""
    pictures = [Image.open(io.BytesIO(base64.b64decode(data["pictures"][number]))) for number in numbers]
    return [3 * round(float(np.asarray(picture).mean()) / 3) for picture in pictures]


# --- attributes ---


def test_a_seed_stands_beside_its_image_and_the_judge_s_word(mini: Miniature) -> None:
    data = page_data("mini", mini.attributes, MasksShown(), 4)
    blond, dark = data["attributes"]["classes"]
    assert blond["unguided"]["seeds"] == [0, 1, 2, 3]
    assert levels(data, blond["unguided"]["images"]) == [42, 45, 48, 51]
    assert blond["unguided"]["agrees"] == [False, True, False, True]
    assert blond["unguided"]["p"] == [0.1, 0.9, 0.2, 0.8]
    [readout] = blond["guided"]["readout"]
    assert (readout["scale"], readout["swept"]) == ("5", False)
    assert levels(data, readout["images"]) == [126, 129, 132, 135]
    assert readout["agrees"] == [False, False, True, False]
    assert dark["unguided"]["agrees"] == [True, False, True, False], "of the class without the attribute"
    assert dark["unguided"]["p"] == [0.9, 0.1, 0.8, 0.2]
    assert dark["unguided"]["images"] == blond["unguided"]["images"], "an image is in the page once"


def test_real_images_are_those_of_the_class_and_stay_away_where_they_may_not_be_shown(mini: Miniature) -> None:
    data = page_data("mini", mini.attributes, MasksShown(), 64)
    blond, dark = data["attributes"]["classes"]
    assert (blond["real"]["seeds"], dark["real"]["seeds"]) == ([1, 3, 4], [0, 2, 5])
    assert levels(data, blond["real"]["images"]) == [3, 9, 12]
    hidden = page_data("mini", replace(mini.attributes, real=[], others=["ddim_i"]), MasksShown(), 64)
    assert [each["real"] for each in hidden["attributes"]["classes"]] == [None, None]
    assert min(levels(hidden, list(range(len(hidden["pictures"]))))) >= 42


def test_of_a_method_that_chooses_from_the_pool_what_it_kept_is_shown(mini: Miniature) -> None:
    data = page_data("mini", mini.attributes, MasksShown(), 64)
    for target, kept in zip(data["attributes"]["classes"], ([1, 3, 4], [0, 2, 5]), strict=True):
        assert target["others"]["ddim_i"]["seeds"] == kept
        assert levels(data, target["others"]["ddim_i"]["images"]) == [42 + 3 * seed for seed in kept]
        assert all(target["others"]["ddim_i"]["agrees"])
        assert levels(data, target["others"]["naive"]["images"]) == list(range(0, 3 * SEEDS, 3))


def test_a_table_has_the_rows_of_its_class_and_data_set_alone(mini: Miniature) -> None:
    blond, dark = page_data("mini", mini.attributes, MasksShown(), 1)["attributes"]["classes"]
    assert blond["table"]["columns"] == ["judge finds the class, %", "fd_net", "n", "forward passes a sample"]
    rows = {row["method"]: row["cells"] for row in blond["table"]["rows"]}
    assert list(rows) == ["real", "naive", "unguided", "ddim_i", "exact", "readout"]
    assert rows["exact"] == ["40.0 (35.0 to 45.0)", "400.0 (399.0 to 401.0)", "6", "20.0"]
    assert rows["real"] == ["0.0 (-5.0 to 5.0)", "5.5", "6", "–"]  # noqa: RUF001
    assert blond["note"] == "judge right on 70.0 % of real images only"
    assert dark["note"] == ""


def test_a_sweep_is_beside_the_configured_lambda(mini: Miniature) -> None:
    data = page_data("mini", with_sweep(mini.attributes), MasksShown(), 2)
    sets = data["attributes"]["classes"][1]["guided"]["exact"]
    assert [(each["scale"], each["swept"], each["seeds"]) for each in sets] == [
        ("3", False, [0, 1]),
        ("1", True, [100, 101]),
        ("10", True, [100, 101]),
    ]
    assert levels(data, sets[2]["images"]) == [105, 108]


@pytest.mark.parametrize("wrong", ["exact/Blond", "unguided/Blond", "sweep/exact/Blond/1"])
def test_a_description_in_anothers_place_is_refused(mini: Miniature, wrong: str) -> None:
    folder = mini.attributes.descriptions
    (folder / "sweep/exact/Blond/10.safetensors").replace(folder / f"{wrong}.safetensors")
    with pytest.raises(CorruptFileError, match="was made for"):
        page_data("mini", with_sweep(mini.attributes), MasksShown(), 1)


# --- masks ---


def test_a_mask_stands_beside_its_image_its_samples_and_what_was_found(mini: Miniature) -> None:
    data = page_data("mini", replace(mini.attributes, targets=[]), mini.masks, 16)
    shown = data["masks"]
    assert data["attributes"] is None
    assert (shown["ids"], levels(data, shown["real"])) == ([30, 31, 32, 33], [201, 204, 207, 210])
    exact = shown["methods"][1]
    assert (exact["name"], exact["pairs"]) == ("exact", 20)
    assert [levels(data, each["images"]) for each in exact["samples"]] == [[174, 177, 180, 183], [186, 189, 192, 195]]
    assert [each["seeds"] for each in exact["samples"]] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert [each["agreement"] for each in exact["samples"]] == [[1, 1, 0.5, 1], [1, 1, 1, 1]]
    first, second = (each["found"] for each in exact["samples"])
    assert [wanted == seen for wanted, seen in zip(shown["masks"], first, strict=True)] == [True, True, False, True]
    assert second == shown["masks"], "masks are coded without loss"
    assert shown["note"] == "segmenter's own mIoU on real images 0.40 only"
    assert [part["name"] for part in shown["parts"]] == ["background", "skin", "hair"]
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(data["pictures"][shown["masks"][0]]))))
    part = int(load_masks(mini.masks.masks).pixels[0, 0, 0])
    assert "#" + bytes(picture[0, 0]).hex() == shown["parts"][part]["colour"]


def test_the_mask_table_has_the_rows_of_what_is_shown(mini: Miniature) -> None:
    rows = page_data("mini", mini.attributes, mini.masks, 4)["masks"]["table"]["rows"]
    assert [(row["method"], *row["cells"][:3]) for row in rows] == [
        ("unguided", "0", "25", "0.500 (0.490 to 0.510)"),
        ("exact", "20", "25", "0.700 (0.690 to 0.710)"),
    ]


def test_samples_and_found_masks_of_others_are_refused(mini: Miniature) -> None:
    shown = mini.masks
    for wrong in (
        replace(shown, found=shown.found[::-1]),
        replace(shown, samples=shown.samples[::-1]),
        replace(shown, preset="other"),
        replace(shown, wanted=3),
    ):
        with pytest.raises(CorruptFileError, match="was made for"):
            page_data("mini", replace(mini.attributes, targets=[]), wrong, 4)


def test_every_mask_has_a_sample(mini: Miniature) -> None:
    about = {"method": "unguided", "preset": "main", "shots": 0}
    about["masks"] = pixel_digest(load_masks(mini.masks.masks).masks)
    few = SampleSet(torch.zeros(3, 3, 8, 8, dtype=torch.uint8), torch.arange(3), 1.0)
    save_samples(few, mini.masks.samples[0], about)
    with pytest.raises(CorruptFileError, match="other seeds"):
        page_data("mini", mini.attributes, mini.masks, 4)
    found.write_tensors(mini.masks.found[0], {"masks": torch.zeros(3, 8, 8), "seeds": torch.arange(3)}, about)
    with pytest.raises(DataError, match="found 3 samples, expected one of each of 4 masks"):
        page_data("mini", mini.attributes, mini.masks, 4)


# --- the file ---


class Reader(HTMLParser):
    """Reads a page's tags as a browser does."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, str] = {}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.tags:
            name = self.tags[-1][1].get("id") or self.tags[-1][0]
            self.texts[name] = self.texts.get(name, "") + data


def written(mini: Miniature, output: Path, credit: str = "") -> str:
    make_explorer("mini", mini.attributes, mini.masks, TEMPLATE, output, credit)
    return output.read_text()


def test_odd_labels_end_no_script_and_begin_no_tag(mini: Miniature, tmp_path: Path) -> None:
    reader = Reader(written(mini, tmp_path / "page.html", credit=ODD))
    plain = Reader(TEMPLATE.read_text())
    assert reader.tags == plain.tags
    data = json.loads(reader.texts["data"])
    assert [each["label"] for each in data["attributes"]["classes"]] == [target.label for target in TARGETS]
    assert ODD in "".join(reader.texts.values())
    whatever = fill("<p>@TITLE@</p>@DATA@", {"label": "@TITLE@ @CREDIT@"}, "a < b", "")
    assert whatever == '<p>a &lt; b</p>{"label":"@TITLE@ @CREDIT@"}', "marks in the data are data"


def test_a_page_asks_nothing_of_anybody(mini: Miniature, tmp_path: Path) -> None:
    text = written(mini, tmp_path / "page.html", "ToonHead by Johan Melin, CC BY 4.0")
    assert not re.findall(r"https?:|//[a-z]|url\(|@import", re.sub(r"^// .*", "", text, flags=re.MULTILINE))
    tags = Reader(text).tags
    assert not [tag for tag, _ in tags if tag in {"a", "iframe", "object", "embed", "form", "base"}]
    assert [attributes["href"] for tag, attributes in tags if tag == "link"] == ["data:,"]
    assert "default-src 'none'; img-src data:;" in text
    assert "ToonHead by Johan Melin, CC BY 4.0" in text


def test_equal_inputs_give_equal_bytes_and_absent_experiments_nothing(mini: Miniature, tmp_path: Path) -> None:
    first = written(mini, tmp_path / "first.html")
    assert written(mini, tmp_path / "second.html") == first
    assert '"masks":null' in written(replace(mini, masks=MasksShown()), tmp_path / "third.html")
    with pytest.raises(DataError, match="found neither"):
        written(Miniature(replace(mini.attributes, modes=[]), MasksShown()), tmp_path / "fourth.html")


def test_of_large_images_fewer_seeds_are_shown(
    mini: Miniature, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def seeds() -> int:
        text = written(replace(mini, masks=MasksShown()), tmp_path / "page.html")
        data = json.loads(Reader(text).texts["data"])
        return len(data["attributes"]["classes"][0]["unguided"]["seeds"])

    assert seeds() == SEEDS
    whole = (tmp_path / "page.html").stat().st_size
    monkeypatch.setattr(page, "MOST_BYTES", whole)
    assert seeds() == SEEDS
    monkeypatch.setattr(page, "MOST_BYTES", whole - 1)
    assert seeds() == 4
    assert (tmp_path / "page.html").stat().st_size < whole
    monkeypatch.setattr(page, "MOST_BYTES", 1)
    assert seeds() == 1, "a page without images would be none"


def test_a_full_page_of_noise_is_within_its_bound(mini: Miniature) -> None:
    """Nothing is larger than noise: 64 seeds of 64 pixels, as the default has, of a mode are a sixth of the page."""
    noise = torch.randint(256, (64, 3, 64, 64), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    pictures = Pictures()
    numbers = pictures.add(noise)
    assert numbers == list(range(64))
    assert pictures.add(noise[5:7]) == [5, 6]
    assert sum(map(len, pictures.coded)) < page.MOST_BYTES / 6


# --- what networks are asked ---


def test_the_judge_s_segmenter_finds_the_masks(mini: Miniature, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = Segmenter(["background", "skin", "hair"], (8, 16), 8).eval()
    classes = {"classes": network.classes}
    for role in ("judge", "guides"):
        save_module(network, network.config, tmp_path / role, {"role": role, **classes})
    row, output = GuideKey("exact", "main", 20), tmp_path / "found.safetensors"
    found.find_masks(row, mini.masks.samples[1], mini.masks.masks, tmp_path / "judge", 4, output, device="cpu")
    tensors, about = read_tensors(output, "masks", "seeds")
    assert (about["method"], about["shots"], tensors["seeds"].tolist()) == ("exact", 20, list(range(8)))
    assert tensors["masks"].shape == (8, 8, 8)
    page_data("mini", mini.attributes, replace(mini.masks, found=[mini.masks.found[0], output]), 4)
    with pytest.raises(WeightsError):
        found.find_masks(row, mini.masks.samples[1], mini.masks.masks, tmp_path / "guides", 4, output, device="cpu")


def test_the_tuning_judge_has_the_word_on_the_sweep(tmp_path: Path) -> None:
    torch.manual_seed(0)
    judge = AttributeClassifier(["Blond"]).eval()
    for role in ("judge", "tuning_judge"):
        save_module(judge, {"attributes": ["Blond"]}, tmp_path / role, {"role": role})
    images = torch.randint(256, (3, 3, 16, 16), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    steering = Steering("exact", "Blond", True, 3.0)
    save_samples(SampleSet(images, torch.arange(100, 103), 2.0), tmp_path / "drawn.parquet", steering.about)
    output = tmp_path / "swept.safetensors"
    found.judge_swept_samples(steering, tmp_path / "drawn.parquet", tmp_path / "tuning_judge", output, device="cpu")
    described = load_description(output, steering.about)
    assert described.ids.tolist() == [100, 101, 102]
    assert torch.equal(described.gallery, images)
    assert torch.allclose(described.probabilities["Blond"], judge.probability(images, "Blond"))
    with pytest.raises(WeightsError):
        found.judge_swept_samples(steering, tmp_path / "drawn.parquet", tmp_path / "judge", output, device="cpu")
