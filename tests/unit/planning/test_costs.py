"""What a plan costs: counted FLOPs against networks that run, numbers that follow the configuration."""

import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from diffusers import UNet2DModel
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from fewshot_diffusion.config.base import LEARNED_AS
from fewshot_diffusion.config.downloads import DownloadsConfig
from fewshot_diffusion.config.model import Config, load_config
from fewshot_diffusion.config.runs import merged
from fewshot_diffusion.diffusion.denoiser import PixelDenoiser, build_unet
from fewshot_diffusion.diffusion.guidance import ExactGuidance, guided
from fewshot_diffusion.diffusion.unets import unet_of_config
from fewshot_diffusion.planning.costs import JOBS, Job, Throughput, cost_table, downloads, planned_jobs
from fewshot_diffusion.planning.networks import DenoiserCosts, built
from fewshot_diffusion.planning.runs import counted_runs, read_configuration
from fewshot_diffusion.planning.work import Run
from fewshot_diffusion.runtime import CPU
from own_helpers import write_labels, write_model, write_photos
from support import ROOT

TAPS = ("mid_block",)
GPU = Throughput(tflops=100, utilisation=0.5)
CELEBA64: dict[str, Any] = {  # github.com/ermongroup/ddim
    "sample_size": 64,
    "block_out_channels": (128, 256, 256, 256, 512),
    "down_block_types": ("DownBlock2D", "DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
    "attention_head_dim": None,
}


def test_the_overlay_for_a_gpu_says_the_size_of_its_network_and_of_its_training() -> None:
    text = (ROOT / "config/gpu.yaml").read_text()
    default, overlay = yaml.safe_load((ROOT / "config/config.yaml").read_text()), yaml.safe_load(text)
    denoiser = load_config(merged(default, overlay)).denoiser
    unet = built(lambda: build_unet(denoiser.architecture, 64))
    assert f"# {sum(parameter.numel() for parameter in unet.parameters()):,} parameters" in text
    steps = denoiser.training.num_images // denoiser.training.batch_size
    per_image = [denoiser.training.num_images // images for images in (20_000, 16_000)]
    assert f"{steps:,} steps, each of the 16,000 or 20,000 images {per_image[0]} to {per_image[1]} times" in text
    assert default["data"]["splits"]["train"] == 20_000


@cache
def run(**changes: Any) -> Run:
    return counted_runs([smoke(**changes)])["smoke"]


def smoke(**changes: Any) -> Config:
    """Return the smoke configuration with other values at dotted keys (two underscores)."""
    raw, overlay = (yaml.safe_load((ROOT / f"config/{name}.yaml").read_text()) for name in ("config", "smoke"))
    raw = merged(raw, overlay)
    for key, value in changes.items():
        section, name = key.rsplit("__", 1)
        place = raw
        for part in section.split("__"):
            place = place[part]
        place[name] = value
    return load_config(raw)


def work(rule: str, *wildcards: str, **changes: Any) -> tuple[float, float]:
    found = JOBS[rule](run(**changes), *wildcards)
    return found.flops, found.size


def test_flops_are_those_of_the_network_that_runs() -> None:
    config = smoke()
    unet, costs = build_unet(config.denoiser.architecture, 16), run().networks
    x_t, alpha_bar_t = torch.randn(1, 3, 16, 16), torch.tensor(0.5)

    def likelihood(maps: Any, _timestep: int) -> torch.Tensor:
        return maps[0].mean((1, 2, 3))

    denoiser = PixelDenoiser(config.denoiser.schedule, "", CPU, unet)
    with sdpa_kernel(SDPBackend.MATH):  # the counter knows no CPU kernel of attention
        with FlopCounterMode(display=False) as trained:
            unet(x_t, 3).sample.sum().backward()
        unet.requires_grad_(False)
        with FlopCounterMode(display=False) as forward:
            unet(x_t, 3)
        with FlopCounterMode(display=False) as steered:
            guided(ExactGuidance(denoiser, likelihood, TAPS, 0), 1.0, "v_prediction")(x_t, 3, alpha_bar_t)
    counted = [forward.get_total_flops(), trained.get_total_flops(), steered.get_total_flops()]
    assert [costs.forward, costs.training, costs.step_to_attribute("exact", TAPS)] == counted
    assert counted[0] < counted[2] < counted[1]


@pytest.mark.slow
def test_the_papers_denoiser_costs_what_was_measured_of_it() -> None:
    """Parameters as its authors state them; a guided step in forward passes."""
    unet = built(lambda: unet_of_config(CELEBA64))
    costs = DenoiserCosts(PixelDenoiser(smoke().denoiser.schedule, "", CPU, unet))
    assert costs.parameters == 78_700_803
    steps = [costs.step_to_attribute(mode, TAPS) / costs.forward for mode in ("exact", "readout")]
    assert steps == pytest.approx([2.53, 1.26], abs=0.01)


def test_without_the_first_pass_s_backward_half_a_step_is_cheaper() -> None:
    costs = run().networks
    exact, direct = (costs.step_to_attribute(mode, TAPS) for mode in ("exact", "direct"))
    assert costs.forward < direct < exact
    assert exact - direct > 0.9 * costs.forward
    for direct_method, method in LEARNED_AS.items():
        full, without = (work("sample_masks", name, "label_100", "4")[0] for name in (method, direct_method))
        assert without < full
        full, without = (costs.step_to_attribute(name, TAPS) for name in (method, direct_method))
        assert costs.forward < without < full


@pytest.mark.parametrize(
    ("job", "key", "values", "factors"),
    [
        ("sample_attributes exact Blond 1-of-1", "attributes__sets__units_per_target", (2, 4), (2, 2)),
        ("sample_attributes sweep exact Blond 3", "attributes__sweep__units", (1, 3), (3, 3)),
        ("sample_attributes labels exact Blond 3 1", "attributes__labels__units", (1, 3), (3, 3)),
        ("extract_attribute_features labels exact Blond 3 1", "attributes__head__flip", (False, True), (2, 2)),
        ("sample_attributes direct Blond 1-of-1", "attributes__sets__units_per_target", (2, 4), (2, 2)),
        ("sample_attributes clean_image Blond 1-of-1", "attributes__sets__units_per_target", (2, 4), (2, 2)),
        ("sample_attributes steering Blond 1-of-1", "sampling__num_inference_steps", (2, 4), (2, 1)),
        ("sample_attributes sweep distribution Blond 30", "attributes__sweep__units", (1, 3), (3, 3)),
        ("find_attribute_direction Blond", "attributes__head__readout_draws", (1, 2), (2, 1)),
        ("evaluate_mask_noise exact label_100", "masks__noise__images", (2, 4), (2, 2)),
        ("sample_masks exact label_100 4", "masks__seeds_per_mask", (2, 4), (2, 2)),
        ("sample_masks direct label_100 4", "masks__seeds_per_mask", (2, 4), (2, 2)),
        ("sample_masks clean_image_direct label_100 4", "masks__seeds_per_mask", (2, 4), (2, 2)),
        ("sample_masks controlnet label_100 4", "sampling__num_inference_steps", (2, 4), (2, 1)),
        ("sample_mask_baseline diffae label_100 4", "masks__seeds_per_mask", (2, 4), (2, 2)),
        ("sample_mask_baseline d2c label_100 4", "masks__seeds_per_mask", (2, 4), (2, 2)),
        ("sample_mask_baseline_sweep diffae label_100 10", "masks__sweep__masks", (2, 4), (2, 2)),
        ("train_mask_decoder diffae 4", "masks__latent_decoder__updates", (5, 10), (2, 1)),
        ("extract_mask_latents d2c 4", "masks__latent_decoder__flip", (False, True), (2, 2)),
        ("describe pool", "sampling__unit_size", (4, 8), (2, 2)),
        ("train_denoiser", "denoiser__training__num_images", (96, 224), (2, 1)),  # and 32 in its refinement
        ("train_semantic_network", "semantic__epochs", (1, 2), (2, 1)),
        ("extract_class_features", "classes__train_per_class", (1, 3), (3, 3)),
        ("extract_class_features filters mid_block-300", "classes__train_per_class", (1, 3), (3, 3)),
        ("train_class_filter filters mid_block-300", "classes__filter__epochs", (2, 4), (2, 1)),
        ("sample_classes 1-of-2", "classes__sampling__shards", (1, 2), (0.5, 0.5)),
        ("train_mask_head exact label_100 4", "masks__head__updates", (5, 10), (2, 1)),
        ("draw_baseline_latents diffae", "sampling__num_inference_steps", (2, 4), (2, 1)),
        ("draw_baseline_latents d2c", "baselines__candidate_units", (8, 16), (2, 2)),
        ("sample_baseline diffae Blond 1-of-1", "sampling__num_inference_steps", (2, 4), (2, 1)),
        ("describe_baseline d2c pool", "evaluation__samples", (4, 8), (2, 2)),
    ],
)
def test_twice_the_work_costs_twice(job: Job, key: str, values: tuple[int, int], factors: tuple[float, float]) -> None:
    before, after = (work(*job.split(), **{key: value}) for value in values)
    assert before[0] > 0
    assert after == pytest.approx(tuple(factor * found for factor, found in zip(factors, before, strict=True)))


def test_a_filter_costs_by_what_was_drawn_and_by_the_real_images() -> None:
    job = ("measure_class_filter", "mid_block-300")
    drawn, real = work(*job, classes__train_per_class=2)[0], work(*job, data__splits__tuning_judge=128)[0]
    both = work(*job, classes__train_per_class=2, data__splits__tuning_judge=128)[0]
    assert work(*job)[0] < min(drawn, real) and both == pytest.approx(2 * work(*job)[0])


def test_every_job_that_wants_a_gpu_is_counted() -> None:
    texts = "\n".join(path.read_text() for path in (ROOT / "workflow/rules").rglob("*.smk"))
    bodies = re.findall(r'"<benchmarks>/(\w+)(.*?)\n *(?:shell:|rule |use rule )', texts, re.DOTALL)
    wanting = {name for name, body in bodies if "gpu=1" in body}
    assert len(wanting) > 15
    # These read few images: those of a sweep, of a page, or one split once.
    few = {
        "choose_mask_scale",
        "choose_mask_baseline_scale",
        "find_masks",
        "judge_swept_samples",
        "judge_semantic_network",
    }
    assert wanting - few <= set(JOBS)
    inherited = {"convert_denoiser", "sample_masks_sweep", "sample_mask_baseline_sweep"}
    assert set(JOBS) <= {name for name, _ in bodies} | inherited


def test_a_plan_becomes_a_table_and_what_it_fetches() -> None:
    plan = "".join(
        f"    benchmark: benchmarks/{path}.tsv\n"
        for path in (
            "smoke/train_denoiser",
            "smoke/sample_masks/exact/label_100/4",
            "paper/download/x/x.bin",
            "smoke/draw_strip",
        )
    )
    jobs = planned_jobs(plan * 2)
    assert jobs[1] == Job("smoke", "sample_masks", ("exact", "label_100", "4"))
    table = cost_table(jobs, {"smoke": run()}, GPU)
    assert table["stage"].tolist() == ["train_denoiser", "sample_masks", "draw_strip"]
    assert table["jobs"].tolist() == [2, 2, 2]
    assert table["gpu_hours"].to_numpy() == pytest.approx(table["pflop"].to_numpy() * 1e15 / 50e12 / 3600)
    artefact = {"file": "x.bin", "urls": ["https://example.org/x"], "licence": "MIT", "access": "Ours."}
    assert downloads(jobs, DownloadsConfig(artefacts={"x": artefact})) == {"x/x.bin": None}


def test_the_configuration_is_that_of_the_plan(tmp_path: Path) -> None:
    _, (config,) = read_configuration([ROOT / "config/smoke.yaml"], ROOT)
    assert config.data == smoke().data
    overlay = tmp_path / "two.yaml"
    overlay.write_text(yaml.safe_dump({"runs": {"one": ["config/smoke.yaml"], "two": ["config/train.yaml"]}}))
    assert [one.data.name for one in read_configuration([overlay], ROOT)[1]] == ["smoke", "avatars64"]


def test_a_model_of_one_s_own_is_counted(tmp_path: Path, tiny_unet: UNet2DModel) -> None:
    """By its own files and labels; twice the samples cost twice, a mask's step more than an attribute's."""
    names = write_photos(tmp_path, 44)
    own = {
        "model": write_model(tmp_path / "model", tiny_unet), "images": tmp_path / "photos", "masks": tmp_path / "masks",
        "labels": write_labels(tmp_path / "labels.csv", names), "classes": ["dark", "bright"], "shots": 8,
        "table": {"held_out": 10, "samples": 2},
    }  # fmt: skip
    default = yaml.safe_load((ROOT / "config/config.yaml").read_text())

    def flops(job: str, **values: Any) -> float:
        config = load_config(merged(default, {"own": {**own, **values}}))
        rule, *wildcards = job.split()
        return JOBS[rule](counted_runs([config])[config.data.name], *wildcards).flops

    for job in ("sample_own Bright", "sample_own unguided", "sample_own masks"):
        assert flops(job, samples=8) == 2 * flops(job, samples=4) > 0
    assert flops("sample_own masks") > flops("sample_own Bright") > 2 * flops("sample_own unguided")
    assert flops("extract_own_features", flip=False) * 2 == flops("extract_own_features")
    assert min(flops("fit_own_masks"), flops("train_own_judge Bright"), flops("train_own_segmenter")) > 0
    assert flops("train_own_segmenter", shots=26) * 2 == flops("train_own_segmenter")
