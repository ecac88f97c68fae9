"""Configurations of latents: what they name, what is refused before the first job, and what they cost."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from fewshot_diffusion.config.model import Config, load_config
from fewshot_diffusion.config.runs import merged
from fewshot_diffusion.errors import ConfigError, WeightsError
from fewshot_diffusion.planning.costs import JOBS
from fewshot_diffusion.planning.runs import counted_runs
from fewshot_diffusion.tooling.denoiser_plan import plan_denoiser
from fewshot_diffusion.tooling.ownership import require_shipped_splits, require_weights
from latent_helpers import SCHEDULE, SIZE
from support import ROOT, planned_jobs, snakemake


def config(overlay: str = "latent", **changes: Any) -> Config:
    raw: dict[str, Any] = {}
    for name in ("config", "artefacts", overlay):
        raw = merged(raw, yaml.safe_load((ROOT / f"config/{name}.yaml").read_text()))
    return load_config(merged(raw, changes))


def latent(**values: Any) -> dict[str, Any]:
    return {"latent": values}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"sampling": {"clip_sample": True}}, "sampling.clip_sample: found true, expected false"),
        ({"denoiser": {"source": "store"}}, "latent: expected a section where denoiser.source is 'latent'"),
        ({"denoiser": {"latent": None}}, "latent: expected a section where denoiser.source is 'latent'"),
        ({"denoiser": latent(source="hub")}, "denoiser.latent.repository: found null"),
        ({"denoiser": latent(source="folder")}, "denoiser.latent.folder: found null"),
        ({"denoiser": latent(classifier_free_scale=0.5)}, "denoiser.latent.classifier_free_scale"),
        ({"denoiser": latent(source="train"), "data": {"splits": {"train": 0}}}, "images in data.splits.train"),
        ({"denoiser": latent(source="train"), "data": {"image_size": 72}}, "data.image_size: found 72"),
        ({"classes": yaml.safe_load((ROOT / "config/config.yaml").read_text())["classes"]}, "classes: found a section"),
    ],
)
def test_what_does_not_fit_is_named(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        config(**changes)
    assert said in str(refused.value)


def test_weights_are_the_shipped_ones_on_images_that_they_know(tmp_path: Path) -> None:
    stored = latent(source="store")
    with pytest.raises(
        WeightsError, match=r"stable_diffusion: weights are missing.*set denoiser.latent.source to train"
    ):
        require_weights(config(denoiser=stored), tmp_path)
    require_weights(config(denoiser=latent(source="train")), tmp_path)
    require_shipped_splits(config(denoiser=stored), ROOT / "config/config.yaml")
    with pytest.raises(ConfigError, match=r"0 to 5999 \(train\).*as latent.yaml has them"):
        require_shipped_splits(config(denoiser=stored, data={"splits": {"train": 5000}}), ROOT / "config/config.yaml")


def test_a_plan_knows_what_a_folder_holds(stable_diffusion: Path, tmp_path: Path) -> None:
    own = {"source": "folder", "folder": str(stable_diffusion)}
    settings = {"latent": own, "schedule": SCHEDULE.model_dump()}
    taps = {"label_100": {"taps": ["up_blocks.1", "mid_block"]}}
    small = config(denoiser=settings, data={"image_size": SIZE}, masks={"presets": taps})
    found = plan_denoiser(small, tmp_path)
    assert found
    assert stable_diffusion / "tokenizer/merges.txt" in found.files
    with pytest.raises(ConfigError, match=r"has no module .up_blocks.2"):
        plan_denoiser(config(denoiser=settings, data={"image_size": SIZE}), tmp_path)
    with pytest.raises(WeightsError, match=r"its images have 16 pixels"):
        plan_denoiser(config(denoiser=settings), tmp_path)
    assert plan_denoiser(config(denoiser=latent(source="train")), tmp_path) is None


def test_stable_diffusion_is_counted_as_it_is() -> None:
    cats = config("paper/cats512")
    run = counted_runs([cats])["cats512"]
    assert run.networks.parameters == 859_520_964
    assert (run.networks.image_size, run.networks.denoiser.sample_shape) == (512, (4, 64, 64))
    assert [tap.reduction for tap in run.networks.described(("up_blocks.3", "up_blocks.1"))] == [8, 16]
    assert run.networks.forward == pytest.approx(2 * 0.8e12, rel=0.1)  # two passes of about 400 GMACs
    trained = counted_runs([config(denoiser=latent(source="train"))])["avatars64_latent"]
    assert JOBS["train_latent_denoiser"](trained).flops > JOBS["adopt_latent_denoiser"](trained).flops == 0
    assert JOBS["train_autoencoder"](trained).flops > 0


@pytest.mark.slow
def test_latents_are_planned_from_images_to_figures(tmp_path: Path) -> None:
    (tmp_path / "train.yaml").write_text(yaml.safe_dump({"denoiser": latent(source="train")}))
    files = ("config/latent.yaml", str(tmp_path / "train.yaml"))
    jobs = planned_jobs(
        snakemake(ROOT, "-n", "--directory", str(tmp_path), "masks", "masks_sweep", "--configfile", *files).text
    )
    assert {"make_captions", "train_autoencoder", "train_latent_denoiser", "adopt_latent_denoiser"} <= set(jobs)
    assert jobs["sample_masks"] == 5
    done = snakemake(ROOT, "-n", "--directory", str(tmp_path), "masks", "--configfile", "config/paper/cats512.yaml")
    assert planned_jobs(done.text)["adopt_latent_denoiser"] == 1, done.text
