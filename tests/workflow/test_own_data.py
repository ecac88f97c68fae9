"""Own photos and a CSV: from an overlay of twelve keys to a table and a figure; what changed is made again, no more."""

import csv
import io
from pathlib import Path

import pytest
import yaml
from PIL import Image

from fewshot_diffusion.data.avatars import draw_avatars
from fewshot_diffusion.storage.tables import read_csv
from own_helpers import keys
from support import copy_tree, overlay, planned_jobs, smoke_config, snakemake
from warm import warm_run

PHOTOS = 500
NAMES = ("IMG {}.JPG", "holiday/été_{}.jpeg", "-{}'.jpg")
MINE = ("--configfile", "mine.yaml")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Cartoons of odd names and shapes, of which a third have a beard."""
    folder = tmp_path_factory.mktemp("photos")
    (folder / "holiday").mkdir()
    source = smoke_config().data.avatars
    assert source is not None
    drawn = draw_avatars(source, 32, range(PHOTOS))
    rows = []
    for i, image in enumerate(drawn.images.permute(0, 2, 3, 1).numpy()):
        name = NAMES[i % 3].format(i)
        Image.fromarray(image).resize((32 + i % 5, 40)).save(folder / name, "JPEG")
        rows.append([name, "yes" if drawn.attributes["Beard"][i] else "no", int(drawn.attributes["Blond"][i])])
    text = io.StringIO()
    csv.writer(text).writerows([["file", "Full beard", "Blond"], *rows])
    (folder / "labels.csv").write_text(text.getvalue(), encoding="utf-8-sig")
    return folder


@pytest.fixture
def tree(tmp_path: Path, photos: Path) -> Path:
    """The tree with the template, its values replaced by one's own."""
    tree = copy_tree(tmp_path / "tree")
    mine = yaml.safe_load((tree / "config/folder.yaml").read_text())
    mine["data"] |= {"name": "mine", "folder": {"images": str(photos), "labels": str(photos / "labels.csv")}}
    mine["denoiser"]["training"]["num_images"] = 64
    mine["attributes"]["targets"] = ["Full beard"]
    assert keys(mine) <= 13
    overlay(tree, "mine.yaml", **mine)
    return tree


@pytest.mark.slow
def test_the_template_plans_or_says_what_would_fit(tree: Path) -> None:
    done = snakemake(tree, "-n", "attributes", *MINE)
    assert done.status == 0, done.text
    assert planned_jobs(done.text)["read_images"] == 5
    greedy = overlay(tree, "greedy.yaml", evaluation={"samples": 200})
    refused = snakemake(tree, "-n", "attributes", *MINE, greedy)
    assert refused.status != 0
    assert (
        "with Full-beard, evaluation.samples takes 200\nThese numbers would fit:\n  evaluation.samples: "
        in refused.text
    )
    assert "Traceback" not in refused.text


@pytest.mark.slow
def test_what_the_denoiser_trains_on_has_no_labels(tree: Path) -> None:
    """Else an edited label would train it again."""
    together = overlay(tree, "together.yaml", data={"judged_together": ["Full-beard"]})
    text = snakemake(tree, "-n", "-p", "attributes", *MINE, together).text
    for split, attributes in (("train", "--attributes  --promised"), ("shots", "--attributes Full-beard --promised")):
        assert any(f"--name {split} " in line and attributes in line for line in text.splitlines()), split


@pytest.mark.slow
@pytest.mark.parametrize("name", ["avatars64", "celebahq32"])
def test_a_name_that_is_taken_is_refused(tree: Path, name: str) -> None:
    refused = snakemake(tree, "-n", *MINE, overlay(tree, "taken.yaml", data={"name": name}))
    assert refused.status != 0
    assert f"data.name: '{name}' is the name of" in refused.text


@pytest.mark.slow
def test_the_table_of_another_data_set_is_not_written_over(tree: Path) -> None:
    table = tree / "results/tables/celeba_fid.csv"
    table.parent.mkdir(parents=True)
    table.write_text("data_set,value\navatars64,1\n")
    assert "celeba_fid" not in planned_jobs(snakemake(tree, "-n", "attributes", *MINE).text)
    refused = snakemake(tree, "-n", "results/tables/celeba_fid.csv", *MINE)
    assert refused.status != 0
    assert "is of the data set avatars64" in refused.text
    assert "Ask for results/mine/tables/attributes.csv" in refused.text


@pytest.mark.slow
def test_another_attribute_of_the_default_costs_its_own_row(tree: Path) -> None:
    smoke = ("--configfile", "config/smoke.yaml")
    targets = [*yaml.safe_load((tree / "config/smoke.yaml").read_text())["attributes"]["targets"], "Red"]
    red = overlay(tree, "red.yaml", data={"avatars": {"attributes": {"Red": {"hairColor": ["a55728"]}}}},
        attributes={"targets": targets})  # fmt: skip
    before, after = (planned_jobs(snakemake(tree, "-n", "attributes", *smoke, *more).text) for more in ([], [red]))
    more = {rule: after[rule] - before[rule] for rule in after if after[rule] != before[rule]}
    assert not {"sample_unguided", "train_denoiser", "make_attributes_table", "draw_sheet"} & set(more)
    assert (more["train_judge"], more["evaluate_attributes"], more["sample_attributes"]) == (1, 1, 4)


@pytest.mark.slow
def test_from_photos_to_a_table_and_a_figure(tree: Path, photos: Path) -> None:
    log = tree.parent / "run.txt"
    with warm_run(tree, ["--cores", "2", "attributes", *MINE], log) as status:
        assert status() == 0, log.read_text()
    table = read_csv(tree / "results/mine/tables/attributes.csv")
    assert set(table["attribute"]) == {"Full beard"}
    assert set(table["method"]) == {"naive", "unguided", "ddim_i", "exact", "readout", "steering"}
    assert (tree / "results/mine/figures/attributes.png").is_file()
    assert "Nothing to be done" in snakemake(tree, "-n", "attributes", *MINE).text
    (photos / "new.jpg").write_bytes((photos / NAMES[0].format(0)).read_bytes())  # nobody labelled it
    jobs = planned_jobs(snakemake(tree, "-n", "attributes", *MINE).text)
    assert (jobs["read_images"], jobs["train_denoiser"], jobs.get("train_judge")) == (1, 1, None)
