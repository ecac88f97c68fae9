"""Pipelines that cannot serve are refused in one message, by their small files alone; their weights are checked."""

import json
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from fewshot_diffusion import FewShotPipeline
from fewshot_diffusion.config.denoiser import ScheduleConfig
from fewshot_diffusion.errors import WeightsError
from fewshot_diffusion.latent import hub
from fewshot_diffusion.latent.adoption import PipelineSource
from fewshot_diffusion.latent.description import describe_pipeline, require_serves
from latent_helpers import SCHEDULE, SIZE, adopted

WEIGHTS = "diffusion_pytorch_model.safetensors"


def changed(folder: Path, name: str, **values: Any) -> None:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps((json.loads(path.read_text()) if path.exists() else {}) | values))


SCHEDULER, UNET = "scheduler/scheduler_config.json", "unet/config.json"
FLOW = "FlowMatchEulerDiscreteScheduler"
REFUSED: dict[str, tuple[str, dict[str, Any], str]] = {  # which file says what, and what is said of it
    "flow matching": (SCHEDULER, {"_class_name": FLOW}, f"found {FLOW}, a flow-matching model's"),
    "a transformer": ("transformer/config.json", {}, "found transformer/"),
    "two prompts": ("text_encoder_2/config.json", {}, "reads more than one prompt"),
    "sizes as prompts": (UNET, {"addition_embed_type": "text_time"}, "unet/: addition_embed_type: found text_time"),
    "inpainting": (UNET, {"in_channels": 9}, "in_channels 9, out_channels 4: it paints into masked images"),
    "shifted latents": ("vae/config.json", {"shift_factor": 0.1}, "shift_factor: found 0.1"),
    "pickled": (f"unet/{WEIGHTS}", {}, "found pickled weights"),
    "no tokenizer": ("tokenizer/vocab.json", {}, "tokenizer/vocab.json missing"),
    "another network": (UNET, {"_class_name": "UNet3DConditionModel"}, "found UNet3DConditionModel with AutoencoderKL"),
    "another schedule": (SCHEDULER, {"beta_end": 0.02}, "denoiser.schedule.beta_end is 0.012"),
    "another size": (UNET, {"sample_size": 64}, "its images have 128 pixels, data.image_size is 16"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_serve_is_refused_in_one_message(stable_diffusion: Path, tmp_path: Path, what: str) -> None:
    folder, (file, values, said) = copytree(stable_diffusion, tmp_path / "pipeline"), REFUSED[what]
    if what in ("pickled", "no tokenizer"):
        (folder / file).rename((folder / file).with_suffix(".bin"))
    else:
        changed(folder, file, **values)
    with pytest.raises(WeightsError) as refused:
        require_serves(describe_pipeline(folder), SCHEDULE, SIZE)
    assert said in str(refused.value)
    if what not in ("another schedule", "another size"):  # which are the library's to take
        with pytest.raises(WeightsError, match=r"(?s)pipeline"):
            FewShotPipeline.from_pretrained(folder)


def test_weights_are_whole_and_kept_as_they_are(stable_diffusion: Path, tmp_path: Path) -> None:
    assert adopted(stable_diffusion, tmp_path / "a").digest == adopted(stable_diffusion, tmp_path / "b").digest
    kept = load_file(tmp_path / "a" / WEIGHTS)
    assert {str(kept[name].dtype) for name in ("unet.conv_in.weight", "prompts")} == {"torch.float16", "torch.float32"}
    folder = copytree(stable_diffusion, tmp_path / "pipeline")
    weights = load_file(folder / "unet" / WEIGHTS)
    for damage, said in (
        ({"conv_in.weight": torch.full_like(weights["conv_in.weight"], torch.inf)}, "not finite: conv_in.weight"),
        ({"more": torch.zeros(1)}, "left over or not finite: more"),
    ):
        save_file({**weights, **damage}, folder / "unet" / WEIGHTS, metadata={"format": "pt"})
        with pytest.raises(WeightsError, match=said):
            adopted(folder, tmp_path / "c")


def test_the_hub_is_asked_for_what_is_needed(
    stable_diffusion: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: dict[str, Any] = {}

    def fetch(repository: str, **options: Any) -> str:
        asked.update(options, repository=repository)
        return str(stable_diffusion)

    monkeypatch.setattr(hub, "snapshot_download", fetch)
    assert PipelineSource(None, "somebody/cats", "main").find() == stable_diffusion
    assert (asked["repository"], asked["revision"], "*.bin" in asked["ignore_patterns"]) == (
        "somebody/cats",
        "main",
        True,
    )
    monkeypatch.undo()
    with pytest.raises(WeightsError, match="nobody/nothing: cannot be had from the hub"):
        hub.find_pipeline("nobody/nothing", local_files_only=True, cache_dir=tmp_path)


def test_a_cosine_schedule_has_no_betas(stable_diffusion: Path, tmp_path: Path) -> None:
    folder, wanted = copytree(stable_diffusion, tmp_path / "pipeline"), ScheduleConfig(prediction_type="epsilon")
    with pytest.raises(WeightsError, match="beta"):
        require_serves(describe_pipeline(folder), wanted, SIZE)
    changed(folder, "scheduler/scheduler_config.json", beta_schedule="squaredcos_cap_v2")
    require_serves(describe_pipeline(folder), wanted, SIZE)
