"""What config/paper.yaml names, fabricated: every artefact in its layout, tiny, and the overlays that fit to it."""

import hashlib
import io
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from PIL import Image

from fewshot_diffusion.metrics.extractors import build_fid_network
from reference_nets import Adm, Ddim, Network

ARTEFACTS = Path(__file__).resolve().parents[1] / "config/artefacts.yaml"
SIDE = 16
FACES, PAIRS, CLASSES = 72, (4, 40), ("n01", "n02", "n03")
NETS: dict[str, tuple[Network, dict[str, Any]]] = {
    "celeba64": (Ddim(channels=(32, 64, 64), layers=2, attention=(1,)), {"attention_levels": [1]}),
    "ffhq256": (Adm(channels=(32, 32, 64), attention=(2,), out=6), {"attention_levels": [2], "num_head_channels": 16}),
    "tinyimagenet": (
        Adm(channels=(32, 64, 96), layers=2, attention=(1, 2), out=6, heads=4, resampling_blocks=False),
        {"attention_levels": [1, 2]},
    ),
}


def publish(folder: Path, address: str) -> dict[str, Any]:
    """Put all artefacts into a folder, and return them as configured when that is served at an address."""
    made = {
        "inception": inception(),
        "ddim_celeba64": saved([{}, {}, 0, 0, weights("celeba64")]),
        "adm_ffhq256": saved(weights("ffhq256")),
        "improved_imagenet64": saved(weights("tinyimagenet")),
        "celeba_images": zipped({f"img_align_celeba/{i + 1:06d}.jpg": picture(i, (218, 178)) for i in range(FACES)}),
        "celeba_attributes": attributes(),
        "ddpm_segmentation_masks": pairs(),
        "tiny_imagenet": tiny_imagenet(),
    }
    public = yaml.safe_load(ARTEFACTS.read_text())["downloads"]["artefacts"]
    found = {}
    for name, data in made.items():
        (folder / name).write_bytes(data)
        facts = {"size": len(data), "md5": hashlib.md5(data).hexdigest(), "sha256": hashlib.sha256(data).hexdigest()}
        known = {key: facts[key] for key in facts if public[name].get(key) is not None}
        found[name] = {"urls": [f"{address}/{name}"], **known}
    return found


QUICK = {"epochs": 1, "batch_size": 8, "precision": "float32"}


def overlays(sha256: str) -> dict[str, dict[str, Any]]:
    """Return run -> what its overlay shrinks."""
    weights_file = "downloads/inception/pt_inception-2015-12-05-6726825d.pth"
    evaluation = {
        "extractors": [{"kind": "inception", "weights": weights_file, "sha256": sha256}],
        "samples": 4, "bootstrap": 20, "kernel_subset": 16, "nearest_k": 1,
    }  # fmt: skip
    runs = {"celeba64": _celeba(), "ffhq256": _ffhq(), "tinyimagenet": _tiny()}
    for name, overlay in runs.items():
        network, shape = NETS[name]
        shape = {**shape, "block_out_channels": list(network.channels), "layers_per_block": network.layers}
        overlay["data"]["image_size"] = SIDE
        overlay |= {"denoiser": {"checkpoint": shape}, "evaluation": evaluation}
    return runs


def _celeba() -> dict[str, Any]:
    scales = {"exact": 1, "readout": 1}
    target = {"name": "Male", "attribute": "Male", "value": True, "label": "Male", "guidance_scale": scales}
    return {
        "data": {"judged_together": ["Male"], "splits": {"judge": 16, "tuning_judge": 12, "controls": 24}},
        "sampling": {"num_inference_steps": 2, "unit_size": 4},
        "attributes": {
            "splits": {"shots": 20}, "targets": [target],
            "head": {
                "positive_shots": 4, "negative_shots": 4, "readout_timesteps": [300], "readout_draws": 1, "folds": 2,
            },
            "sets": {"units_per_target": 1, "units_unguided": 3, "shards_per_target": 1, "shards_unguided": 1},
            "sweep": {"units": 1}, "ddim_i": QUICK, "judge": QUICK,
        },
    }  # fmt: skip


def _ffhq() -> dict[str, Any]:
    narrow = {**QUICK, "block_out_channels": [8, 16]}
    return {
        "data": {"splits": {"judge": 16, "tuning_judge": 6, "controls": 12, "reference": 6}},
        "sampling": {"num_inference_steps": 2},
        "masks": {
            "splits": {"pairs": PAIRS[0]}, "shots": PAIRS[0], "shots_curve": [PAIRS[0]],
            "masks": 2, "seeds_per_mask": 1,
            "presets": {"released": {
                "taps": ["up_blocks.2", "up_blocks.2.resnets.0", "up_blocks.1.resnets.1"],
                "training": {"updates": 5}, "num_inference_steps": 2,
            }},
            "segmenter": narrow, "clean_image": {**narrow, "batch_size": 2},
            "sweep": {"masks": 2},
        },
    }  # fmt: skip


def _tiny() -> dict[str, Any]:
    return {
        "data": {"splits": {"judge": 12}},
        "classes": {
            "splits": {"class_train": 18, "class_test": 18}, "train_per_class": 6, "precision": "float32",
            "conditional": {"num_images": 16, "batch_size": 8, "checkpoint_images": 8},
            "filter": {"hidden_channels": 32, "epochs": 1, "batch_size": 8, "threshold": 0.0},
            "sampling": {"num_inference_steps": 2, "unit_size": 6, "shards": 1},
            "judge": QUICK, "generated_ratios": [0, 1], "image_size": 32, "batch_size": 8,
            "architectures": [{"name": "resnet18", "epochs": 1, "seeds": [0], "controls": False}],
        },
    }  # fmt: skip


def weights(run: str) -> dict[str, torch.Tensor]:
    network, _ = NETS[run]
    with torch.no_grad():
        network(torch.zeros(1, 3, SIDE, SIDE), torch.zeros(1))
    return dict(network.weights)


def inception() -> bytes:
    """The FID network, random; its normalisations keep the signal alive."""
    torch.manual_seed(0)
    network = build_fid_network()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_var.fill_(0.15)
            module.running_mean.normal_(0, 0.05)
    return saved(network.state_dict())


def saved(content: object) -> bytes:
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


def picture(number: int, shape: tuple[int, int] = (SIDE, SIDE), kind: str = "JPEG") -> bytes:
    """Noise, brighter in every second picture."""
    noise = np.random.default_rng(number).integers(0, 128, (*shape, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise + np.uint8(100 * (number % 2))).save(file, kind)
    return file.getvalue()


def zipped(files: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return file.getvalue()


def attributes() -> bytes:
    signs = [[1 - 2 * (i % 2), 1 - 2 * (i // 2 % 2)] for i in range(FACES)]
    rows = [f"{i + 1:06d}.jpg {male:2d} {blond:2d}" for i, (male, blond) in enumerate(signs)]
    return "\n".join([str(FACES), "Male Blond_Hair ", *rows, ""]).encode()


def pairs() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for part, number in zip(("train", "test"), PAIRS, strict=True):
            for i in range(number):
                mask = io.BytesIO()
                np.save(mask, np.random.default_rng(i).integers(0, 19, (SIDE, SIDE)).astype(np.uint8))
                for name, data in ((f"{i}.jpg", picture(i)), (f"{i}.npy", mask.getvalue())):
                    member = tarfile.TarInfo(f"celeba_19/real/{part}/{name}")
                    member.size = len(data)
                    archive.addfile(member, io.BytesIO(data))
    return file.getvalue()


def tiny_imagenet() -> bytes:
    top, files = "tiny-imagenet-200", {}
    for position, name in enumerate(CLASSES):
        for i in range(6):
            files[f"{top}/train/{name}/images/{name}_{i}.JPEG"] = picture(position)
    for i in range(30):
        files[f"{top}/val/images/val_{i}.JPEG"] = picture(i % 3)
    listed = "".join(f"val_{i}.JPEG\t{CLASSES[i % 3]}\t0\t0\t1\t1\n" for i in range(30))
    return zipped({**files, f"{top}/val/val_annotations.txt": listed.encode()})
