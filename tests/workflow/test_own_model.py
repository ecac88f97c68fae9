"""A model of one's own, labelled images and masks: one command and at most twelve keys to a sheet and a pipeline."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from diffusers import DDIMPipeline, UNet2DModel
from PIL import Image

from fewshot_diffusion import FewShotPipeline
from own_helpers import keys, write_labels, write_model, write_photos
from support import Finished, copy_tree, overlay, planned_jobs, snakemake
from warm import warm_run

MINE = ("--configfile", "mine.yaml")


@pytest.fixture
def tree(tmp_path: Path, tiny_unet: UNet2DModel) -> Path:
    """The tree with the template, its values replaced by one's own, and labels to spare beyond four of each kind."""
    tree = copy_tree(tmp_path / "tree")
    names = write_photos(tmp_path, 44)
    write_model(tmp_path / "model", tiny_unet)
    write_labels(tmp_path / "labels.csv", names, "Very bright")
    mine = yaml.safe_load((tree / "config/own.yaml").read_text())
    assert keys(mine) <= 12
    mine["data"]["name"] = "mine"
    places = {"model": "model", "images": "photos", "labels": "labels.csv", "masks": "masks"}
    mine["own"] |= {key: str(tmp_path / place) for key, place in places.items()}
    mine["own"] |= {"classes": ["dark", "bright"], "samples": 3}
    overlay(tree, "mine.yaml", **mine)
    return tree


def plan(tree: Path, *more: str) -> Finished:
    return snakemake(tree, "-n", "own", *MINE, *more)


@pytest.mark.slow
def test_one_command_gives_heads_curves_a_sheet_and_the_pipeline(tree: Path) -> None:
    judge = {"epochs": 2, "batch_size": 8, "learning_rate": 0.01, "weight_decay": 0}
    small: dict[str, Any] = {"shots": 6, "num_inference_steps": 2}
    quick = overlay(tree, "quick.yaml", own={**small, "table": {"held_out": 10, "samples": 4, "judge": judge}})
    first = plan(tree, quick)
    assert first.status == 0, first.text
    assert "own: 88 images with labels or masks, heads of Very bright: about" in first.text
    jobs = planned_jobs(first.text)
    assert (jobs["sample_own"], jobs["train_own_judge"], jobs["make_own_table"]) == (3, 1, 1)
    assert (jobs["train_own_segmenter"], jobs["make_own_masks_table"]) == (1, 1)
    log, own = tree.parent / "run.txt", tree / "results/mine/own"
    with warm_run(tree, ["--cores", "2", "own", *MINE, quick], log) as status:
        assert status() == 0, log.read_text()
    assert "Nothing to be done" in plan(tree, quick).text
    report = pd.read_csv(own / "report.csv")
    assert report["name"].tolist() == ["Very bright", "masks"] and report["text"].str.contains("with").all()
    for table in ("table", "masks_table"):
        assert pd.read_csv(own / f"{table}.csv")["method"].tolist() == ["unguided", "steered"]
    for figure in (own / "sheet.png", own / "learning_curve.png"):
        with Image.open(figure) as image:
            assert image.convert("L").getextrema()[0] < 200, f"{figure.name} is blank"
    assert DDIMPipeline.from_pretrained(own / "pipeline")
    assert set(FewShotPipeline.from_pretrained(own / "pipeline").heads) == {"Very bright", "masks"}

    labels = tree.parent / "labels.csv"
    labels.write_text(labels.read_text().replace("p0.png,1", "p0.png,0"))
    stale = planned_jobs(plan(tree, quick).text)
    assert stale["fit_own_attribute"] == 1 and not {"fit_own_masks", "read_own_masks"} & set(stale)


@pytest.mark.slow
def test_the_table_waits_for_labels_to_spare(tree: Path) -> None:
    done = plan(tree)
    judged = {"train_own_judge", "make_own_table", "train_own_segmenter", "make_own_masks_table"}
    assert not judged & set(planned_jobs(done.text))
    assert "own: Very bright: 228 more images with it and 228 without would bring a judge" in done.text
    assert "own: masks: 206 more pairs would bring a judge" in done.text


@pytest.mark.slow
def test_what_cannot_serve_stops_with_one_message(tree: Path) -> None:
    config = tree.parent / "model/unet/config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "in_channels": 4}))
    done = plan(tree)
    assert done.status != 0 and "Traceback" not in done.text
    assert "this denoiser cannot serve:\n  in_channels: found 4, which is for latents; expected 3 (RGB)" in done.text
