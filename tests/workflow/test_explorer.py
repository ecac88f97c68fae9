"""The page as people use it, in a browser: what is picked is shown, all images are there, and nothing leaves it."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from browser import CHROMIUM, Page, browser
from explorer_helpers import ODD, TEMPLATE, with_sweep, write_miniature
from fewshot_diffusion.explorer.page import MOST_BYTES, make_explorer
from support import SMOKE, copy_products, copy_tree, overlay, planned_jobs, smoke_config, snakemake
from warm import warm_run

in_browser = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium or Chrome")
CREDIT = "ToonHead by Johan Melin, CC BY 4.0"
ALL_THERE = "[...document.images].every(image => image.complete && image.naturalWidth > 0)"
CHOSEN = "[...document.querySelectorAll('select')].map(list => list.value)"
FRAMES = "[...document.querySelectorAll('#attributes-main img')].map(image => image.className)"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("explorer")
    mini = write_miniature(folder)
    make_explorer("mini", with_sweep(mini.attributes), mini.masks, TEMPLATE, folder / "page.html", CREDIT)
    return (folder / "page.html").as_uri()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browser(tmp_path_factory.mktemp("profile")) as page:
        yield page


@in_browser
@pytest.mark.slow
def test_what_is_picked_is_shown(page: Page, address: str) -> None:
    page.open(address)
    assert page.value(CHOSEN) == ["Blond", "exact", "3", "0", "1", "unguided", "1"]
    assert "seed 0; judge: not Blond hair (p = 0.100)" in page.text("#attributes-main")
    page.click("#seed-next")
    assert "seed 1; judge: Blond hair (p = 0.900)" in page.text("#attributes-main")
    assert page.value(FRAMES) == ["agrees", "agrees", "agrees"], "real, unguided, guided"
    page.press("#mode", "ArrowDown")
    assert page.value(CHOSEN)[:4] == ["Blond", "readout", "5", "1"]
    assert page.value(FRAMES) == ["agrees", "agrees", "differs"], "the second is turned by one"
    assert page.text("tr.chosen th") == "readout"
    page.press("#attribute", "ArrowDown")
    assert ODD in page.text("#attributes-main"), "a label is a text, whatever it says"
    page.click("#seeds button:nth-child(5)")
    assert page.value(CHOSEN)[:4] == ["Dark", "readout", "5", "4"]
    assert page.value("location.hash") == "#seed=4&mode=readout&attribute=Dark"
    page.press("#lambda", "ArrowDown")
    assert page.value(CHOSEN)[:4] == ["Dark", "readout", "1*", "100"]
    assert "none was drawn" in page.text("#attributes-main") and "tuning judge: " in page.text("#attributes-main")
    assert not page.troubles


@in_browser
@pytest.mark.slow
def test_masks_stand_beside_what_was_found(page: Page, address: str) -> None:
    page.open(address)
    page.press("#follower", "ArrowDown")
    page.click("#mask-next")
    page.click("#wanted button:nth-child(3)")
    assert page.value(CHOSEN)[4:] == ["3", "exact", "1"]
    assert "image 32" in page.text("#masks-main")
    assert "seed 2" in page.text("#masks-main") and "judge: 50.0 % of the pixels as wanted" in page.text("#masks-main")
    page.press("#sample", "ArrowDown")
    assert "seed 6" in page.text("#masks-main") and "judge: 100.0 %" in page.text("#masks-main")
    assert page.value(ALL_THERE)


@in_browser
@pytest.mark.slow
def test_an_address_brings_back_what_was_chosen(page: Page, address: str) -> None:
    page.open(f"{address}#attribute=Dark&mode=readout&seed=3&mask=2")
    assert page.value(CHOSEN) == ["Dark", "readout", "5", "3", "2", "unguided", "1"]
    page.open(f"{address}#attribute=Blond&seed=2")
    page.value("new Promise(resolve => setTimeout(resolve, 50))")
    assert page.value(CHOSEN)[:4] == ["Blond", "exact", "3", "2"]
    page.open(f"{address}#attribute=nothing&seed=99")
    page.value("new Promise(resolve => setTimeout(resolve, 50))")
    assert page.value(CHOSEN)[:4] == ["Blond", "exact", "3", "0"], "what there is not is not chosen"


@in_browser
@pytest.mark.slow
def test_nothing_leaves_the_page_and_nothing_is_missing(page: Page, address: str) -> None:
    page.requests.clear()
    page.open("about:blank")
    page.open(address)
    page.click("#seed-next")
    assert page.value(ALL_THERE) and page.value("document.images.length") > 30
    assert {asked for asked in page.requests if not asked.startswith(("data:", "about:"))} == {address}
    refused = "fetch('https://example.org').then(() => 'sent', () => 'refused')"
    assert page.value(refused) == "refused", "whatever a script might try"
    assert CREDIT in page.text("footer")


@in_browser
@pytest.mark.slow
@pytest.mark.parametrize("width", [360, 1280])
def test_it_fits_a_telephone_and_can_be_read_aloud(page: Page, address: str, width: int) -> None:
    page.resize(width)
    page.open(address)
    assert page.value("document.documentElement.scrollWidth") <= width
    assert page.value("[...document.querySelectorAll('select')].every(list => list.labels.length === 1)")
    named = "[...document.querySelectorAll('button')].every(each => each.getAttribute('aria-label'))"
    described = "[...document.images].every(image => image.alt || image.closest('button'))"
    assert page.value(named) and page.value(described)
    page.press("#seed-next", "Enter")
    assert page.value("document.activeElement.id") == "seed-next", "the keyboard stays where it was"


@pytest.mark.slow
def test_it_is_a_target_of_its_own(tmp_path: Path) -> None:
    tree = copy_tree(tmp_path / "tree")
    jobs = planned_jobs(snakemake(tree, "-n", "explorer", *SMOKE).text)
    assert (jobs["make_explorer"], jobs["find_masks"]) == (1, 8)
    assert not {"judge_swept_samples", "train_generator", "draw_strip"} & jobs.keys()
    swept = planned_jobs(snakemake(tree, "-n", "explorer_sweep", *SMOKE).text)
    drawn = (swept["sample_attributes_sweep"], swept["sample_clean_image_sweep"])
    assert drawn == (14, 4) and swept["judge_swept_samples"] == sum(drawn)
    assert "make_explorer" not in planned_jobs(snakemake(tree, "-n", "all", *SMOKE).text)
    neither = overlay(tree, "neither.yaml", attributes=None, masks=None)
    done = snakemake(tree, "-n", "explorer", *SMOKE, neither)
    assert done.status != 0
    assert (
        "explorer: shows attributes that some mode steers, and masks; found neither in the configuration." in done.text
    )
    assert "Traceback" not in done.text


@pytest.mark.slow
def test_a_run_s_products_become_a_page(smoke_run: Callable[[], Path], tmp_path: Path) -> None:
    """With every lambda of the sweep, and after that nothing is to be done."""
    tree = copy_tree(tmp_path / "tree")
    copy_products(smoke_run(), tree)
    targets, log = ("explorer", "explorer_sweep"), tmp_path / "log.txt"
    with warm_run(tree, ["--cores", "2", *targets, *SMOKE], log) as status:
        assert status() == 0, log.read_text()
    assert "Nothing to be done" in snakemake(tree, "-n", *targets, *SMOKE).text
    made = [tree / f"results/smoke/{name}.html" for name in targets]
    assert all(path.stat().st_size < MOST_BYTES for path in made)
    config = smoke_config()
    assert config.attributes and config.masks
    for path in made:
        data = shown(path)
        assert [each["name"] for each in data["attributes"]["classes"]] == [
            each.name for each in config.attributes.targets
        ]
        assert data["attributes"]["modes"] == config.attributes.modes
        assert [each["name"] for each in data["masks"]["methods"]] == config.masks.methods
        assert data["masks"]["real"], "avatars may be shown"
    one, swept = (shown(path)["attributes"]["classes"][0]["guided"] for path in made)
    assert [each["scale"] for each in one["exact"]] == ["3"]
    assert [each["scale"] for each in swept["exact"]] == ["3", *config.attributes.sweep.scales_of("exact")]


def shown(path: Path) -> Any:
    """Return what a page's script reads."""
    return json.loads(path.read_text().partition('id="data">')[2].partition("</script>")[0])
