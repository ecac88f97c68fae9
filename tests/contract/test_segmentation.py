"""The scripts of mask-conditioned generation, one behind the other in a folder, on the smoke configuration."""

from pathlib import Path

import pandas as pd
import pytest
import torch
from PIL import Image

from fewshot_diffusion.diffusion.denoiser import build_unet, unet_config
from fewshot_diffusion.masks.evaluation import MASK_COLUMNS
from fewshot_diffusion.masks.sweep import MASK_SWEEP_COLUMNS
from fewshot_diffusion.metrics.descriptions import Description, save_description
from fewshot_diffusion.storage.tables import read_csv, write_csv
from fewshot_diffusion.storage.weights import save_module
from support import run, smoke_config

METHODS = ("unguided", "exact", "readout", "clean_image", "controlnet")

pytestmark = pytest.mark.slow


CONFIG = smoke_config()
MASKS = CONFIG.segmentation


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images, masks, a denoiser and real images' features: what the rest of the pipeline provides."""
    folder = tmp_path_factory.mktemp("segmentation")
    data = CONFIG.data.model_dump_json(exclude={"splits"})
    for split in ("pairs", "judge", "tuning_judge", "controls"):
        images, place = folder / "images" / f"{split}.safetensors", CONFIG.data.split_range(split)
        of_split = ["--settings", data, "--positions", f"{place.start}:{place.stop}"]
        run("make_split", *of_split, "--images", images, "--records", images.with_suffix(".parquet"))
        run("make_masks", *of_split, "--output", folder / "masks" / f"{split}.safetensors")
    torch.manual_seed(0)
    unet = build_unet(CONFIG.denoiser.architecture, CONFIG.data.image_size)
    save_module(unet, unet_config(unet), folder / "denoiser", {"schedule": CONFIG.denoiser.schedule.model_dump()})
    real = Description(torch.arange(40), {"efficientnet_lite0": torch.rand(40, 1280)}, {}, 0.0, torch.empty(0, 3, 1, 1))
    save_description(real, folder / "reference.safetensors", {})
    run("draw_pairs", "--masks", folder / "masks" / "pairs.safetensors", "--shots", MASKS.shots, "--seed", 0,
        "--output", folder / "pairs.csv")  # fmt: skip
    train_guides(folder)
    return folder


def train_guides(folder: Path) -> None:
    preset, head = MASKS.presets[MASKS.preset], MASKS.head.model_dump_json()
    pool = ["--images", folder / "images" / "pairs.safetensors", "--masks", folder / "masks" / "pairs.safetensors"]
    pairs = [*pool, "--pairs", folder / "pairs.csv"]
    for mode in ("exact", "readout"):
        features = folder / f"{mode}.safetensors"
        run("extract_pair_features", "--preset", preset.model_dump_json(), "--settings", head, "--mode", mode, *pairs,
            "--denoiser", folder / "denoiser", "--output", features)  # fmt: skip
        run("train_segmentation_head", "--settings", head, "--upsampling", preset.upsampling, "--features", features,
            "--output", folder / "guides" / mode)  # fmt: skip
    run("train_segmenter", "--settings", MASKS.clean_image.model_dump_json(), "--role", "guides", *pairs,
        "--output", folder / "guides" / "clean_image")  # fmt: skip
    run("train_controlnet", "--settings", MASKS.controlnet.model_dump_json(), *pairs, "--denoiser", folder / "denoiser",
        "--checkpoints", folder / "checkpoints", "--output", folder / "guides" / "controlnet")  # fmt: skip
    for role in ("judge", "tuning_judge"):
        run("train_segmenter", "--settings", MASKS.segmenter.model_dump_json(), "--role", role,
            "--images", folder / "images" / f"{role}.safetensors", "--masks", folder / "masks" / f"{role}.safetensors",
            "--output", folder / "segmenters" / role)  # fmt: skip


def sample(
    folder: Path,
    method: str,
    output: Path,
    masks: str = "controls",
    scale: float = 100,
    checkpoints: str = "checkpoints",
) -> Path:
    guide = [] if method == "unguided" else ["--guide", folder / "guides" / method]
    run("sample_masks", "--settings", CONFIG.mask_sampling(MASKS.preset).model_dump_json(),
        "--denoiser", folder / "denoiser", "--method", method, *guide,
        "--guidance-scale", scale, "--masks", folder / "masks" / f"{masks}.safetensors", "--first-seed", 0,
        "--seeds-per-mask", MASKS.seeds_per_mask, "--checkpoints", folder / checkpoints, "--output", output,
        "--timing", output.with_suffix(".timing.json"))  # fmt: skip
    return output


def test_every_method_gets_its_row(folder: Path) -> None:
    rows = []
    for method in METHODS:
        drawn = sample(folder, method, folder / "samples" / f"{method}.safetensors")
        row = folder / "rows" / f"{method}.csv"
        run("evaluate_masks", "--settings", CONFIG.evaluation.model_dump_json(), "--data-set", "smoke",
            "--method", method, "--preset", MASKS.preset, "--shots", MASKS.shots, "--samples", drawn,
            "--masks", folder / "masks" / "controls.safetensors", "--real", folder / "images" / "controls.safetensors",
            "--wanted", MASKS.masks, "--seeds-per-mask", MASKS.seeds_per_mask,
            "--segmenter", folder / "segmenters" / "judge", "--reference", folder / "reference.safetensors",
            "--output", row)  # fmt: skip
        rows.append(read_csv(row))
    table = pd.concat(rows).set_index("method")
    assert [*table.index.names, *table.columns] == ["method", *(c for c in MASK_COLUMNS if c != "method")]
    assert (table["n"] == MASKS.masks * MASKS.seeds_per_mask).all()
    assert (table["ci_low"] <= table["miou"]).all() and (table["miou"] <= table["ci_high"]).all()
    assert table["forwards_per_sample"]["exact"] > table["forwards_per_sample"]["readout"] > 2
    draw_figures(folder, pd.concat(rows))


def draw_figures(folder: Path, table: pd.DataFrame) -> None:
    write_csv(folder / "table.csv", table)
    run(
        "draw_shots_figure", "--table", folder / "table.csv", "--preset", MASKS.preset, "--output", folder / "shots.png"
    )
    run("draw_segmentation_figure", "--masks", folder / "masks" / "controls.safetensors",
        "--real", folder / "images" / "controls.safetensors", "--wanted", MASKS.masks,
        "--methods", *METHODS, "--samples", *(folder / "samples" / f"{m}.safetensors" for m in METHODS),
        "--output", folder / "figure.png")  # fmt: skip
    for name in ("shots.png", "figure.png"):
        with Image.open(folder / name) as image:
            assert image.width > 200 and len(image.convert("L").getcolors() or range(99)) > 10


def test_the_sweep_is_scored_by_the_tuning_segmenter(folder: Path) -> None:
    scales = (25, 100)
    drawn = [
        sample(folder, "exact", folder / "sweep" / f"{scale}.safetensors", "tuning_judge", scale) for scale in scales
    ]
    run("score_mask_sweep", "--settings", MASKS.model_dump_json(), "--data-set", "smoke", "--method", "exact",
        "--preset", MASKS.preset, "--denoiser", folder / "denoiser", "--guide", folder / "guides" / "exact",
        "--masks", folder / "masks" / "tuning_judge.safetensors", "--segmenter", folder / "segmenters" / "tuning_judge",
        "--samples", *drawn, "--output", folder / "sweep.csv")  # fmt: skip
    sweep = read_csv(folder / "sweep.csv")
    assert list(sweep.columns) == MASK_SWEEP_COLUMNS
    assert sweep["guidance_scale"].tolist() == list(scales)
    assert sweep["chosen"].sum() == 1


def test_what_tunes_does_not_measure(folder: Path) -> None:
    with pytest.raises(SystemExit, match="role is 'tuning_judge', expected 'judge'"):
        run("evaluate_masks", "--settings", CONFIG.evaluation.model_dump_json(), "--data-set", "smoke",
            "--method", "exact", "--preset", "p", "--shots", 4,
            "--samples", sample(folder, "controlnet", folder / "again.safetensors"),
            "--masks", folder / "masks" / "controls.safetensors", "--real", folder / "images" / "controls.safetensors",
            "--wanted", MASKS.masks, "--seeds-per-mask", MASKS.seeds_per_mask,
            "--segmenter", folder / "segmenters" / "tuning_judge", "--reference", folder / "reference.safetensors",
            "--output", folder / "never.csv")  # fmt: skip
    assert not (folder / "never.csv").exists()


def test_finished_units_are_taken_as_they_are_and_drawn_alike_elsewhere(folder: Path) -> None:
    first = sample(folder, "exact", folder / "once.safetensors").read_bytes()
    assert sample(folder, "exact", folder / "anew.safetensors", checkpoints="anew").read_bytes() == first
    units = sorted((folder / "anew").rglob("*.safetensors"))
    assert len(units) == MASKS.seeds_per_mask
    before = [unit.stat().st_mtime_ns for unit in units]
    assert sample(folder, "exact", folder / "again.safetensors", checkpoints="anew").read_bytes() == first
    assert [unit.stat().st_mtime_ns for unit in units] == before
