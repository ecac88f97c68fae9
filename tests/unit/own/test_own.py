"""A model of one's own: what is listed and refused, what labels are worth, and that the rules draw what people draw."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from diffusers import DDIMPipeline, UNet2DModel
from PIL import Image

from fewshot_diffusion import FewShotPipeline
from fewshot_diffusion.attributes.features import ShotFeatures
from fewshot_diffusion.config.attributes import AttributeHeadConfig
from fewshot_diffusion.config.own import OwnConfig
from fewshot_diffusion.data.image_set import load_image_set
from fewshot_diffusion.data.mask_set import load_masks
from fewshot_diffusion.diffusion.samples import SampleSet, load_samples, save_samples
from fewshot_diffusion.errors import FewshotError
from fewshot_diffusion.own import curve as curve_module
from fewshot_diffusion.own.curve import TOLERANCE, Curve, halvings, learning_curve
from fewshot_diffusion.own.drawing import OwnSubject, sample_own
from fewshot_diffusion.own.fitting import OwnHead, extract_own_features, fit_own_attribute, fit_own_masks
from fewshot_diffusion.own.images import read_own_images, read_own_masks
from fewshot_diffusion.own.labels import list_labels
from fewshot_diffusion.own.masks_table import make_own_masks_table, train_own_segmenter
from fewshot_diffusion.own.model import export_own_pipeline
from fewshot_diffusion.own.pairs import OwnPairs, select_own_masks
from fewshot_diffusion.own.plan import plan_own
from fewshot_diffusion.own.shots import held_out_of
from fewshot_diffusion.own.table import HeldOut, make_own_table, train_own_judge
from fewshot_diffusion.pipeline import heads
from fewshot_diffusion.pipeline.heads import load_fitted
from own_helpers import write_labels, write_model, write_photos

SHOTS = 6
MASKED: dict[str, Any] = {"labels": None, "classes": ["dark", "bright"]}


@pytest.fixture
def own(tmp_path: Path, tiny_unet: UNet2DModel) -> OwnConfig:
    """The section of a folder with a model, 44 photos, labels and masks."""
    names = write_photos(tmp_path, 44)
    return OwnConfig(
        model=write_model(tmp_path / "model", tiny_unet),
        images=tmp_path / "photos",
        labels=write_labels(tmp_path / "labels.csv", names),
        shots=SHOTS,
        num_inference_steps=3,
        batch_size=2,
        table={"held_out": 10, "samples": 4, "judge": {**QUICK, "epochs": 30}},
    )


@pytest.fixture(autouse=True)
def _few_rounds_and_levels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(curve_module, "REPEATS", 1)
    monkeypatch.setattr(heads, "_levels", lambda _denoiser: [300])


QUICK = {"epochs": 1, "batch_size": 8, "learning_rate": 0.01, "weight_decay": 0.0, "precision": "float32"}


def changed(own: OwnConfig, **values: Any) -> OwnConfig:
    return OwnConfig.model_validate({**own.model_dump(), **values})


# --- what is listed, and what is refused before a job ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "cells", "expected"),
    [
        ("label", ["1", "0"], {"label": (22, 22)}),
        ("label", ["cat", "dog"], {"cat": (22, 22), "dog": (22, 22)}),
        ("label", ["cat", "dog", "red fox", "dog"], {"cat": (11, 33), "dog": (22, 22), "red-fox": (11, 33)}),
        ("Long hair,Hat", ["yes,0", "no,0", "no,1", "no,1"], {"Long-hair": (11, 33), "Hat": (22, 22)}),
    ],
)
def test_columns_or_classes_become_attributes(
    own: OwnConfig, header: str, cells: list[str], expected: dict[str, tuple[int, int]]
) -> None:
    assert own.labels
    rows = [f"p{i}.png,{cells[i % len(cells)]}" for i in range(44)]
    own.labels.write_text("\n".join([f"file,{header}", *rows]))
    labels = list_labels(own)
    assert {name: labels.numbers(name) for name in labels.titles} == expected


def edit(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def refused_labels(own: OwnConfig, text: str) -> None:
    assert own.labels
    own.labels.write_text(text)


REFUSED: dict[str, tuple[Any, str]] = {
    "no such folder of images": (lambda own: shutil.rmtree(own.images), "photos"),
    "no such model": (lambda own: shutil.rmtree(own.model), "there is no such folder"),
    "one kind alone": (
        lambda own: refused_labels(own, "file,A\np0.png,1\np1.png,1\n"),
        "'A' has 2 images with it and 0",
    ),
    "no such image": (lambda own: refused_labels(own, "file,A\np0.png,1\nq.png,0\n"), "line 3 (q.png)"),
    "an image twice": (lambda own: refused_labels(own, "file,A\np0.png,1\np0.png,0\n"), "p0.png stands twice"),
    "a name that is taken": (lambda own: refused_labels(own, "file,masks\np0.png,1\np1.png,0\n"), "rename one"),
    "a class": (lambda own: edit(own.model / "unet/config.json", num_class_embeds=5), "conditioned on a class"),
    "latents": (lambda own: edit(own.model / "unet/config.json", in_channels=4), "latents"),
    "text": (lambda own: edit(own.model / "unet/config.json", _class_name="UNet2DConditionModel"), "without text"),
    "no scheduler": (lambda own: shutil.rmtree(own.model / "scheduler"), "noise schedule is unknown"),
    "flow matching": (
        lambda own: edit(own.model / "scheduler/scheduler_config.json", _class_name="FlowMatchEulerDiscreteScheduler"),
        "flow-matching",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_serve_is_refused_when_a_run_is_planned(own: OwnConfig, case: str) -> None:
    spoil, said = REFUSED[case]
    assert plan_own(own).image_size == 16
    spoil(own)
    with pytest.raises(FewshotError) as refusal:
        plan_own(own)
    assert said in str(refusal.value)


def test_masks_must_fit_their_images_and_their_classes(own: OwnConfig, tmp_path: Path) -> None:
    own = changed(own, **MASKED, masks=tmp_path / "masks")
    out = tmp_path / "images.parquet", tmp_path / "masks.parquet"

    def read() -> None:
        read_own_masks(own.source, 16, plan_own(own).contents["masked"], *out)

    read()
    bright = load_image_set(out[0]).pixels.float().mean((1, 2, 3)) > 110
    assert torch.equal(load_masks(out[1]).pixels.float().mean((1, 2)) > 0.5, bright)
    for mask, said in (
        (np.zeros((20, 10)), "10 x 20 pixels, expected the shape"),
        (np.full((20, 20), 7), "class id 7"),
    ):
        Image.fromarray(mask.astype(np.uint8)).save(tmp_path / "masks/p3.png")
        with pytest.raises(FewshotError, match=said):
            read()
    (tmp_path / "masks/p3.png").rename(tmp_path / "masks/other.png")
    with pytest.raises(FewshotError, match=r"other\.png are masks of no image"):
        plan_own(own)


def test_a_plan_says_what_it_costs_and_what_more_labels_would_bring(own: OwnConfig, tmp_path: Path) -> None:
    assert plan_own(own).measured == ["Bright"]
    both = changed(own, masks=tmp_path / "masks", classes=["dark", "bright"], samples=2)
    assert plan_own(both).measured == ["Bright", "masks"] and plan_own(both).judged == ["Bright"]
    alone = plan_own(changed(both, shots=40))
    assert (alone.measured, alone.missing("masks"), alone.samples("masks")) == ([], (6,), 2)
    assert "own: masks: 6 more pairs would bring a judge and a measured table" in alone.remarks[-1]
    pairs = plan_own(changed(both, shots=20))
    assert pairs.measured == ["masks"] and [pairs.samples(name) for name in ("unguided", "Bright", "masks")] == [
        4,
        2,
        4,
    ]
    few = plan_own(changed(own, shots=20))
    assert few.measured == [] and few.missing("Bright") == (8, 8)
    cost, wish = few.remarks
    assert f"about {44 * 2 + 3 * 32 - 41} plain and 41 steered" in cost and "Bright: 8 more images with it" in wish


# --- what labels are worth ------------------------------------------------------------------------------------------


def shots(number: int, inputs: int, apart: float) -> ShotFeatures:
    """Two clouds of points, as far apart as ``apart`` standard deviations, a little along each direction."""
    stream, labels = torch.Generator().manual_seed(0), torch.arange(number) % 2 == 0
    found = torch.randn(number, inputs, generator=stream)
    found += apart * (labels.float() - 0.5)[:, None] / inputs**0.5
    return ShotFeatures(found[None], labels, torch.arange(number), torch.tensor([0]))


@pytest.mark.parametrize(
    ("number", "inputs", "apart", "verdict", "said"),
    [
        (200, 1500, 5.0, "rises", "more labels are worth it"),
        (100, 2, 9.0, "flat", "hardly anything is left to gain"),
        (400, 1, 2.0, "flat", "flat beyond"),
        (60, 20, 1.5, "open", "do not tell"),
        (100, 20, 0.0, "open", "no better than chance"),
    ],
)
def test_advice_follows_from_the_gain_of_the_last_doubling(
    number: int, inputs: int, apart: float, verdict: str, said: str
) -> None:
    settings = AttributeHeadConfig(
        positive_shots=1, negative_shots=1, taps=["any"], pool_size=1, feature_timestep=0, readout_timesteps=[0],
        readout_draws=1, flip=False, l2=[0.03],
    )  # fmt: skip
    curve = learning_curve(shots(number, inputs, apart), 0.03, settings)
    advice = curve.advice()
    assert (advice.verdict, said in advice.text) == (verdict, True), advice
    assert curve.numbers[-1] == 0.8 * number and all(
        row["ci_low"] <= row["value"] <= row["ci_high"] for row in curve.rows()
    )


def test_numbers_of_labels_are_halved_while_each_kind_has_two() -> None:
    assert halvings(80, torch.arange(100) < 50) == [5, 10, 20, 40, 80]
    assert halvings(80, torch.arange(100) < 10) == [20, 40, 80]


def test_a_gain_is_of_the_same_images() -> None:
    """Two numbers whose intervals overlap may differ surely: every bootstrap sample says so."""
    noise = torch.randn(1000, generator=torch.Generator().manual_seed(0)).double() / 10
    curve = Curve("accuracy", "labels", [10, 20], [0.6, 0.7], torch.stack([0.6 + noise, 0.7 + noise]))
    assert curve.at(0).high > curve.at(1).low
    assert curve.gain(0).low == pytest.approx(0.1) and curve.advice().verdict == "rises"
    level = Curve("mIoU", "pairs", [10, 20], [0.6, 0.6 + TOLERANCE / 2], torch.stack([noise, noise + TOLERANCE / 2]))
    assert level.advice().text.endswith("flat beyond 10")


# --- the rules do what people do ------------------------------------------------------------------------------------


def read(own: OwnConfig, tmp_path: Path) -> Path:
    images = tmp_path / "labelled.parquet"
    read_own_images(own.source, 16, plan_own(own).contents["labels"], images)
    return images


def outputs(tmp_path: Path, name: str) -> OwnHead:
    return OwnHead(tmp_path / name, tmp_path / f"{name}.json", tmp_path / f"{name}.csv")


@pytest.mark.parametrize(("mode", "taps"), [("exact", "auto"), ("readout", ["up_blocks.1", "mid_block"])])
def test_heads_samples_and_pipeline_are_those_of_a_few_lines_of_python(
    own: OwnConfig, tmp_path: Path, mode: str, taps: Any
) -> None:
    own = changed(own, mode=mode, taps=taps)
    images, features, head = read(own, tmp_path), tmp_path / "features.safetensors", outputs(tmp_path, "Bright")
    extract_own_features(own.learning, images, own.model, features, device="cpu")
    fit_own_attribute(own.learning, "Bright", "Bright!", images, features, head)
    samples = tmp_path / "samples.parquet"
    sample_own(own.drawing, own.model, 4, samples, OwnSubject(head.head), device="cpu")
    export_own_pipeline(own.model, [head.head], tmp_path / "pipeline")

    pipe, labelled = FewShotPipeline.from_pretrained(own.model), load_image_set(images)
    held_out = set(held_out_of(labelled, "Bright", SHOTS).ids.tolist())
    few = labelled.select(torch.tensor([id_ not in held_out for id_ in labelled.ids.tolist()]))
    assert few.mask("Bright", True).sum() == SHOTS == (len(few) - SHOTS)
    fitted = pipe.fit("Bright!", few.pixels, few.mask("Bright", True), mode, taps=taps)
    found = load_fitted(head.head, pipe.denoiser.digest)
    assert torch.equal(found.head.weight, fitted.head.weight) and found.report == fitted.report
    report = json.loads(head.report.read_text())
    assert report["taps"] == fitted.taps and len(report["compared"]) == (3 if taps == "auto" else 0)
    assert pd.read_csv(head.curve)["number"].tolist() == [4, 9]

    exported = FewShotPipeline.from_pretrained(tmp_path / "pipeline")
    (drawn,) = exported("Bright!", seeds=range(4), num_inference_steps=3, batch_size=2, return_dict=False)
    stored = load_samples([samples])
    assert torch.equal(stored.pixels, torch.from_numpy(np.stack(drawn)).permute(0, 3, 1, 2))
    assert 3 < stored.forwards_per_sample < 12
    assert isinstance(DDIMPipeline.from_pretrained(tmp_path / "pipeline"), DDIMPipeline)


def test_masks_are_learned_at_the_modules_that_find_those_of_others(own: OwnConfig, tmp_path: Path) -> None:
    own = changed(own, **MASKED, masks=tmp_path / "masks", shots=12)
    places, head = (tmp_path / "i.parquet", tmp_path / "m.parquet"), outputs(tmp_path, "masks")
    read_own_masks(own.source, 16, plan_own(own).contents["masked"], *places)
    fit_own_masks(own.learning, *places, own.model, head, device="cpu")
    report, curve = json.loads(head.report.read_text()), pd.read_csv(head.curve)
    assert (report["pairs"], report["classes"], curve["measure"][0]) == (12, ["dark", "bright"], "mIoU")
    assert curve["number"].tolist() == [2, 4, 8] and report["pixel_accuracy"] > 0.9
    sample_own(own.drawing, own.model, 2, tmp_path / "s.parquet", OwnSubject(head.head, places[1]), device="cpu")
    assert load_samples([tmp_path / "s.parquet"]).pixels.shape == (2, 3, 16, 16)

    pairs, pipe = OwnPairs(*places, 12).of_head(), FewShotPipeline.from_pretrained(own.model)
    cached, (usual,) = heads.cache_pairs(pipe.denoiser, pairs, "exact", {"taps": "auto", "updates": 8})
    chosen = heads.fit_cached_masks("exact", cached, [usual[:1], usual[1:], usual])
    found = {taps: fit["miou"] for taps, fit in chosen.report["compared"].items()}
    assert len(found) == 3 and found[" ".join(chosen.taps)] == max(found.values()) > min(found.values())


def test_a_judge_learns_from_what_no_head_saw_and_is_tried_on_what_it_did_not(own: OwnConfig, tmp_path: Path) -> None:
    held_out = HeldOut(read(own, tmp_path), "Bright", SHOTS)
    (trains, _), (tries, _) = held_out.load(training=True), held_out.load(training=False)
    assert (len(trains), len(tries)) == (24, 8) and not set(trains.ids.tolist()) & set(tries.ids.tolist())
    train_own_judge(own.table.judge, held_out, tmp_path / "judge", device="cpu")
    for name, subject in (("unguided", OwnSubject()), ("again", OwnSubject())):
        sample_own(own.drawing, own.model, 4, tmp_path / f"{name}.parquet", subject, device="cpu")
    table, sets = tmp_path / "table.csv", [tmp_path / f"{name}.parquet" for name in ("unguided", "again")]
    make_own_table("mine", ["Bright!"], [tmp_path / "judge"], sets[1:], sets[0], table)
    rows = pd.read_csv(table)
    assert rows["method"].tolist() == ["unguided", "steered"] and rows["judge_real"].tolist() == [1, 1]
    assert rows["share"].nunique() == 1 and (rows["ci_high"] > rows["ci_low"]).all() and rows["n"].tolist() == [4, 4]


def read_pairs(own: OwnConfig, tmp_path: Path, shots: int = SHOTS) -> OwnPairs:
    pairs = OwnPairs(tmp_path / "i.parquet", tmp_path / "m.parquet", shots)
    read_own_masks(own.source, 16, plan_own(own).contents["masked"], pairs.images, pairs.masks)
    return pairs


def test_wanted_masks_are_of_pairs_that_nobody_learned_from(own: OwnConfig, tmp_path: Path) -> None:
    pairs = read_pairs(changed(own, **MASKED, masks=tmp_path / "masks"), tmp_path)
    parts = [pairs.of_head(), pairs.of_segmenter(), pairs.of_nobody()]
    assert [len(part) for part in parts] == [SHOTS, 30, 8]
    together = torch.cat([part.images[:] for part in parts]).flatten(1)
    assert len(together.unique(dim=0)) == len(together) == len(load_masks(pairs.masks))
    select_own_masks(pairs, tmp_path / "wanted.parquet")
    wanted = load_masks(tmp_path / "wanted.parquet")
    assert torch.equal(wanted.pixels, parts[2].masks[:])
    assert torch.equal(load_image_set(pairs.images).by_ids(wanted.ids.tolist()).pixels, parts[2].images[:])
    fewer = OwnPairs(pairs.images, pairs.masks, 99)
    assert [len(part) for part in (fewer.of_head(), fewer.of_segmenter(), fewer.of_nobody())] == [44, 0, 0]


def test_the_table_of_masks_says_which_samples_follow_them(own: OwnConfig, tmp_path: Path) -> None:
    """Samples that are the wanted masks' own images follow them as well as real images do; those of others do not."""
    pairs, wanted, judge = (
        read_pairs(changed(own, **MASKED, masks=tmp_path / "masks"), tmp_path),
        *(tmp_path / name for name in ("wanted.parquet", "judge")),
    )
    select_own_masks(pairs, wanted)
    recipe = own.table.judge.model_copy(update={"epochs": 25})
    train_own_segmenter(recipe, pairs, flip=False, output=judge, device="cpu")
    images, sets = pairs.of_nobody().images[:], [tmp_path / "steered.parquet", tmp_path / "other.parquet"]
    for path, pixels in zip(sets, (images, 255 - images), strict=True):
        save_samples(SampleSet(torch.cat([pixels, pixels[:4]]), torch.arange(12), 3.0), path, {})
    make_own_masks_table("mine", wanted, judge, *sets, tmp_path / "table.csv")
    unguided, steered = (row for _, row in pd.read_csv(tmp_path / "table.csv").iterrows())
    assert [unguided["method"], steered["method"]] == ["unguided", "steered"]
    assert (steered["n"], steered["masks"], steered["judge_n"], steered["seeds"]) == (12, 8, 8, "0-11")
    assert steered["miou"] == pytest.approx(steered["miou_real"], abs=0.02) and steered["miou_real"] > 0.9
    assert steered["ci_low"] <= steered["miou"] <= steered["ci_high"] and unguided["ci_high"] < steered["ci_low"]
