"""The jobs of experiment 2, one behind the other in a folder; what lies in another's place is refused when read."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from fewshot_diffusion.data.sources import make_images, make_masks
from fewshot_diffusion.diffusion.denoiser import build_unet, unet_config
from fewshot_diffusion.errors import CorruptFileError, WeightsError
from fewshot_diffusion.masks.controlnet import train_controlnet
from fewshot_diffusion.masks.evaluation import MASK_COLUMNS, Measured, evaluate_masks, make_masks_table
from fewshot_diffusion.masks.features import extract_mask_features
from fewshot_diffusion.masks.figures import Shown, draw_masks_figure, draw_masks_shots_figure
from fewshot_diffusion.masks.heads import train_mask_head
from fewshot_diffusion.masks.pairs import GuideFiles, PairFiles, draw_pairs
from fewshot_diffusion.masks.row import GuideKey, MaskRow
from fewshot_diffusion.masks.segmenter import train_segmenter
from fewshot_diffusion.masks.sweep import MASK_SWEEP_COLUMNS, Candidates, choose_mask_scale
from fewshot_diffusion.metrics.descriptions import Cost, Description, load_description, save_description
from fewshot_diffusion.storage.tables import read_csv
from fewshot_diffusion.storage.tensors import read_tensors
from fewshot_diffusion.storage.weights import WEIGHTS_FILE, save_module
from support import run, smoke_config

pytestmark = pytest.mark.slow

CONFIG = smoke_config()
MASKS = CONFIG.masks
assert MASKS is not None
PRESET = MASKS.presets[MASKS.preset]
SPLITS = {"pairs": (0, 8), "judge": (8, 24), "controls": (24, 36)}
ROWS = {method: MaskRow(method, MASKS.preset, 4, PRESET.scale_of(method)) for method in MASKS.methods}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images, masks, a denoiser, every guide and the samples of every method."""
    folder = tmp_path_factory.mktemp("masks")
    for split, place in SPLITS.items():
        make_images(CONFIG.data, place, folder / f"{split}.parquet")
        make_masks(CONFIG.data, place, folder / f"{split}_masks.parquet")
    torch.manual_seed(0)
    unet = build_unet(CONFIG.denoiser.architecture, CONFIG.data.image_size)
    save_module(unet, unet_config(unet), folder / "denoiser", {"schedule": CONFIG.denoiser.schedule.model_dump()})
    draw_pairs(folder / "pairs_masks.parquet", shots=4, seed=0, output=folder / "pairs.csv")
    ids = torch.arange(*SPLITS["controls"])
    features = {"efficientnet_lite0": torch.rand(len(ids), 1280, generator=torch.Generator().manual_seed(0))}
    real = Description("real", ids, features, {}, torch.empty(0, 3, 1, 1), Cost())
    save_description(real, folder / "real.safetensors")
    train_guides(folder)
    for method in ROWS:
        sample(folder, ROWS[method], folder / f"{method}.parquet")
    return folder


def train_guides(folder: Path) -> None:
    files = GuideFiles(
        images=folder / "pairs.parquet",
        masks=folder / "pairs_masks.parquet",
        pairs=folder / "pairs.csv",
        denoiser=folder / "denoiser",
    )
    for method in ("exact", "readout"):
        key, cache = GuideKey(method, MASKS.preset, 4), folder / f"{method}.safetensors"
        extract_mask_features(MASKS.head, PRESET.head, key, files, cache, "cpu")
        train_mask_head(MASKS.head, PRESET.upsampling, key, cache, folder / "guides" / method, "cpu")
    train_segmenter(MASKS.clean_image, "guides", files, folder / "guides" / "clean_image", "cpu")
    train_controlnet(MASKS.controlnet, files, folder / "checkpoints", folder / "guides" / "controlnet", "cpu")
    judged = PairFiles(images=folder / "judge.parquet", masks=folder / "judge_masks.parquet")
    for role in ("judge", "tuning_judge"):
        train_segmenter(MASKS.segmenter, role, judged, folder / role, "cpu")  # type: ignore[arg-type]


def sample(folder: Path, row: MaskRow, output: Path, checkpoints: str = "checkpoints") -> Path:
    guide = ["--guide", folder / "guides" / row.method] if row.method != "unguided" else []
    run("sample_masks", "--settings", CONFIG.mask_sampling(MASKS.preset).model_dump_json(), "--method", row.method,
        "--preset", row.preset, "--shots", row.shots, "--guidance-scale", row.guidance_scale, *guide,
        "--denoiser", folder / "denoiser", "--masks", folder / "controls_masks.parquet",
        "--seeds-per-mask", MASKS.seeds_per_mask, "--checkpoints", folder / checkpoints,
        "--output", output)  # fmt: skip
    return output


def measured(folder: Path, method: str) -> Measured:
    return Measured(
        samples=folder / f"{method}.parquet",
        masks=folder / "controls_masks.parquet",
        real=folder / "controls.parquet",
        segmenter=folder / "judge",
        reference=folder / "real.safetensors",
    )


def evaluate(files: Measured, row: MaskRow, output: Path) -> None:
    evaluate_masks(CONFIG.evaluation, row, files, (MASKS.seeds_per_mask, MASKS.masks), output, "cpu")


def test_every_method_gets_its_row_and_the_figures_are_drawn_from_them(folder: Path, tmp_path: Path) -> None:
    parts = [tmp_path / f"{method}.csv" for method in ROWS]
    for row, part in zip(ROWS.values(), parts, strict=True):
        evaluate(measured(folder, row.method), row, part)
    make_masks_table("smoke", parts, tmp_path / "masks.csv")
    table = read_csv(tmp_path / "masks.csv")
    assert list(table.columns) == ["data_set", *MASK_COLUMNS]
    assert table["method"].tolist() == list(ROWS)
    assert (table["n"] == MASKS.masks * MASKS.seeds_per_mask).all()
    assert (table["ci_low"] <= table["miou"]).all() and (table["miou"] <= table["ci_high"]).all()
    cost = table.set_index("method")["forwards_per_sample"]
    assert cost["exact"] > cost["readout"] > cost["unguided"] == CONFIG.sampling.num_inference_steps
    drawn = [method for method in ROWS if method != "unguided"]
    shown = Shown(
        masks=folder / "controls_masks.parquet",
        samples=[folder / f"{method}.parquet" for method in drawn],
        table=tmp_path / "masks.csv",
        real=folder / "controls.parquet",
    )
    draw_masks_figure(drawn, MASKS.preset, 4, MASKS.masks, shown, [tmp_path / "masks.png"])
    draw_masks_shots_figure(tmp_path / "masks.csv", MASKS.preset, [tmp_path / "shots.png"])
    for name in ("masks.png", "shots.png"):
        with Image.open(tmp_path / name) as image:
            assert image.width > 200 and len(image.convert("L").getcolors() or range(99)) > 10
    with pytest.raises(CorruptFileError, match="was made for method"):
        draw_masks_figure(drawn[::-1], MASKS.preset, 4, MASKS.masks, shown, [tmp_path / "never.png"])


def test_the_kernel_distance_is_to_images_behind_those_of_the_masks_whose_own_is_the_floor(
    folder: Path, tmp_path: Path
) -> None:
    row, files = ROWS["unguided"], measured(folder, "unguided")
    evaluate(files, row, tmp_path / "row.csv")
    described = load_description(files.reference)
    features = {name: values.clone() for name, values in described.features.items()}
    for values in features.values():
        values[: MASKS.masks] += 9
    save_description(replace(described, features=features), tmp_path / "other.safetensors")
    evaluate(replace(files, reference=tmp_path / "other.safetensors"), row, tmp_path / "other.csv")
    row_, other = (read_csv(tmp_path / f"{name}.csv") for name in ("row", "other"))
    assert row_.drop(columns="floor").equals(other.drop(columns="floor")) and (row_["floor"] != other["floor"]).all()
    save_description(replace(described, ids=described.ids.flip(0)), tmp_path / "other.safetensors")
    with pytest.raises(CorruptFileError, match="describes other images"):
        evaluate(replace(files, reference=tmp_path / "other.safetensors"), row, tmp_path / "never.csv")


@pytest.mark.parametrize(
    "change", [{"method": "readout"}, {"preset": "label_500"}, {"shots": 20}, {"guidance_scale": 7.0}]
)
def test_samples_in_anothers_place_are_refused(folder: Path, tmp_path: Path, change: dict[str, object]) -> None:
    with pytest.raises(CorruptFileError, match=f"exact.parquet: was made for {next(iter(change))}"):
        evaluate(measured(folder, "exact"), replace(ROWS["exact"], **change), tmp_path / "never.csv")  # type: ignore[arg-type]


def test_samples_of_other_masks_and_segmenters_of_other_roles_are_refused(folder: Path, tmp_path: Path) -> None:
    files = measured(folder, "exact")
    with pytest.raises(CorruptFileError, match="was made for masks"):
        evaluate(replace(files, masks=folder / "judge_masks.parquet"), ROWS["exact"], tmp_path / "never.csv")
    with pytest.raises(WeightsError, match="role 'tuning_judge', expected 'judge'"):
        evaluate(replace(files, segmenter=folder / "tuning_judge"), ROWS["exact"], tmp_path / "never.csv")
    assert not (tmp_path / "never.csv").exists()


def test_a_cache_of_another_row_trains_no_head(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(CorruptFileError, match="was made for method 'readout', expected 'exact'"):
        train_mask_head(
            MASKS.head, "nearest", GuideKey("exact", MASKS.preset, 4), folder / "readout.safetensors", tmp_path, "cpu"
        )


def test_the_sweep_is_scored_by_the_tuning_segmenter_at_the_scales_of_its_samples(folder: Path, tmp_path: Path) -> None:
    settings, key = MASKS.sweep, GuideKey("exact", MASKS.preset, 4)
    samples = [
        sample(folder, MaskRow(*key.key.values(), scale), tmp_path / f"{scale:g}.parquet")
        for scale in settings.guidance_scales
    ]
    files = Candidates(
        samples=samples,
        masks=folder / "controls_masks.parquet",
        segmenter=folder / "tuning_judge",
        denoiser=folder / "denoiser",
        guide=folder / "guides" / "exact",
    )
    choose_mask_scale(settings, key, files, tmp_path / "sweep.csv", "cpu")
    sweep = read_csv(tmp_path / "sweep.csv")
    assert list(sweep.columns) == MASK_SWEEP_COLUMNS
    assert sweep["guidance_scale"].tolist() == settings.guidance_scales
    assert sweep["chosen"].sum() == 1
    with pytest.raises(CorruptFileError, match="was made for guidance_scale"):
        choose_mask_scale(settings, key, replace(files, samples=samples[::-1]), tmp_path / "never.csv", "cpu")
    with pytest.raises(WeightsError, match="role 'judge', expected 'tuning_judge'"):
        choose_mask_scale(settings, key, replace(files, segmenter=folder / "judge"), tmp_path / "never.csv", "cpu")


@pytest.mark.parametrize(
    ("network", "said"),
    [
        ("guides/exact", {"denoiser", "method", "preset", "shots", "classes", "recipe", "report"}),
        ("guides/clean_image", {"role", "shots", "classes", "recipe", "images"}),
        ("guides/controlnet", {"denoiser", "shots", "classes", "recipe", "images"}),
        ("judge", {"role", "classes", "recipe", "images"}),
    ],
)
def test_a_trained_network_says_what_it_is_of(folder: Path, network: str, said: set[str]) -> None:
    _, about = read_tensors(folder / network / WEIGHTS_FILE)
    assert about.keys() - {"config"} == said
