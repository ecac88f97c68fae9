"""Everything that later work reads, damaged in every way: refused when it is read, by the name of the file."""

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from fewshot_diffusion.attributes.features import ShotFeatures, load_shot_features, save_shot_features
from fewshot_diffusion.classes.filter import ClassFeatures, load_class_features, save_class_features
from fewshot_diffusion.classes.generation import GeneratedSet, load_generated, save_generated
from fewshot_diffusion.config.denoiser import ArchitectureConfig, DenoiserTrainingConfig, ScheduleConfig
from fewshot_diffusion.data.class_set import ClassSet, load_classes, save_classes
from fewshot_diffusion.data.image_set import ImageSet, load_image_set, save_image_set
from fewshot_diffusion.data.mask_set import MaskSet, load_masks, save_masks
from fewshot_diffusion.data.shots import draw_shots, read_pairs, read_shots
from fewshot_diffusion.diffusion.denoiser import build_unet
from fewshot_diffusion.diffusion.samples import SampleSet, load_samples, save_samples
from fewshot_diffusion.diffusion.sampling import WorkUnit, finish_unit
from fewshot_diffusion.diffusion.training import DenoiserTraining
from fewshot_diffusion.errors import FewshotError
from fewshot_diffusion.masks.features import PairFeatures, load_pair_features, save_pair_features
from fewshot_diffusion.metrics.descriptions import Description, load_description, save_description
from fewshot_diffusion.runtime import CPU
from fewshot_diffusion.storage.files import read_sealed_json, write_sealed_json
from fewshot_diffusion.storage.records import read_records, write_records
from fewshot_diffusion.storage.tables import read_csv, write_csv
from fewshot_diffusion.storage.tensors import write_tensors
from fewshot_diffusion.storage.weights import WEIGHTS_FILES, load_module, save_module


@dataclass(frozen=True)
class Format:
    """A format: writes files into a folder for a variant, names the file to damage, and reads as later work does."""

    write: Callable[[Path, int], None]
    file: str
    read: Callable[[Path], object]


def pixels(n: int, variant: int, *shape: int) -> Tensor:
    stream = torch.Generator().manual_seed(variant)
    return torch.randint(256, (n, *shape), generator=stream, dtype=torch.uint8)


def write_samples(folder: Path, variant: int) -> None:
    for share in range(2):
        seeds = torch.arange(4 * share, 4 * share + 4)
        samples = SampleSet(pixels(4, variant + share, 3, 4, 4), seeds, 2.0)
        save_samples(samples, folder / f"{share}.safetensors", {"guidance_scale": variant})


def write_generated(folder: Path, variant: int) -> None:
    for share in range(2):
        seeds = torch.arange(4 * share, 4 * share + 4)
        made = GeneratedSet(
            pixels(4, variant, 3, 4, 4), torch.full((4,), share), seeds, -torch.rand(4), seeds > 1, ["a", "b"]
        )
        save_generated(made, folder / f"{share}.safetensors", {"threshold": variant})


def image_set(variant: int) -> ImageSet:
    ids = torch.arange(6) + 100 * variant
    return ImageSet(pixels(6, variant, 3, 4, 4), ids, pd.DataFrame({"Beard": (ids % 2 == 0).numpy()}))


def write_images(folder: Path, variant: int) -> None:
    save_image_set(image_set(variant), folder / "a.safetensors", folder / "a.parquet", {"settings": variant})


def write_classes(folder: Path, variant: int) -> None:
    save_classes(ClassSet(pixels(4, variant, 3, 4, 4), torch.tensor([0, 1, 0, 1]), torch.arange(4), ["x", "y"]),
        folder / "a.safetensors", {})  # fmt: skip


def write_masks(folder: Path, variant: int) -> None:
    save_masks(MaskSet(pixels(4, variant, 4, 4) % 2, torch.arange(4), ["back", "hair"]), folder / "a.safetensors", {})


def write_description(folder: Path, variant: int) -> None:
    found = Description(
        torch.arange(4), {"net": torch.rand(4, 3)}, {"Beard": torch.rand(4)}, 2.0, pixels(4, 1, 3, 4, 4)
    )
    save_description(found, folder / "a.safetensors", {})


def write_shot_features(folder: Path, variant: int) -> None:
    ids = torch.arange(4) + variant
    cached = ShotFeatures(torch.rand(2, 4, 5), ids % 2 == 0, ids, torch.tensor([100, 500]))
    save_shot_features(cached, folder / "a.safetensors", {"denoiser": f"{variant}", "mode": "readout"})


def write_pair_features(folder: Path, variant: int) -> None:
    unet = build_unet(ArchitectureConfig(block_out_channels=(4, 4), norm_num_groups=4, attention_head_dim=4), 8)
    cached = PairFeatures([torch.rand(2, 3, 4, 4, 4).half()], pixels(3, variant, 8, 8) % 2, [100, 500])
    about = {"denoiser": f"{variant}", "classes": ["back", "hair"], "taps": ["mid_block"]}
    save_pair_features(cached, unet, folder / "a.safetensors", about)


def write_class_features(folder: Path, variant: int) -> None:
    cached = ClassFeatures(torch.rand(2, 4, 3, 2, 2).half(), torch.tensor([0, 1, 0, 1]), ["x", "y"])
    save_class_features(cached, folder / "a.safetensors", {"denoiser": f"{variant}"})


def write_weights(folder: Path, variant: int) -> None:
    torch.manual_seed(variant)
    save_module(nn.Linear(3 + variant, 2), {"width": 3 + variant}, folder, {"role": f"judge {variant}"})


def read_weights(folder: Path) -> object:
    return load_module(lambda config: nn.Linear(config["width"], 2), folder)


def write_unit(folder: Path, variant: int) -> None:
    finish_unit(WorkUnit(0, range(3)), lambda: torch.rand(3, 3, 4, 4), folder, f"sampling {variant}")


def read_unit(folder: Path) -> object:
    def never() -> Tensor:
        raise AssertionError("a finished unit was drawn again")

    return finish_unit(WorkUnit(0, range(3)), never, folder, "sampling 0")


def network(variant: int) -> DenoiserTraining:
    torch.manual_seed(variant)
    recipe = {"num_images": 4, "batch_size": 2, "learning_rate": 0.01, "warmup_images": 0, "decay_from": 0.5,
        "ema_decay": 0.9, "random_flip": False, "checkpoint_images": 2, "precision": "float32"}  # fmt: skip
    model = nn.Conv2d(3, 3, 1)
    settings = DenoiserTrainingConfig.model_validate(recipe)
    return DenoiserTraining(model, lambda x_t, t, i: model(x_t), settings, ScheduleConfig(), CPU)


def write_state(folder: Path, variant: int) -> None:
    training = network(variant)
    training.train_step(pixels(4, variant, 3, 4, 4))
    training.save(folder / "state.safetensors", f"training {variant}")


def read_state(folder: Path) -> object:
    return network(0).restore(folder / "state.safetensors", "training 0")


def write_labels(folder: Path, variant: int) -> None:
    write_records(folder / "a.parquet", pd.DataFrame({"seed": range(9), "accepted": [variant > 0] * 9}), {"v": variant})


def write_table(folder: Path, variant: int) -> None:
    frame = pd.DataFrame({"method": ["naive", "ours, exact"], "value": [271.917, float("nan")], "n": [200, variant]})
    write_csv(folder / "a.csv", frame)


def write_shots(folder: Path, variant: int) -> None:
    write_csv(folder / "a.csv", draw_shots(image_set(variant), "Beard", 2, 2, seed=0))


def write_pairs(folder: Path, variant: int) -> None:
    write_csv(folder / "a.csv", pd.DataFrame({"id": image_set(variant).ids[:3]}))


def masks_of(images: ImageSet) -> MaskSet:
    return MaskSet(pixels(len(images), 0, 4, 4) % 2, images.ids, ["back", "hair"])


FORMATS = {
    "samples": Format(write_samples, "1.safetensors", lambda f: load_samples([f / f"{i}.safetensors" for i in (0, 1)])),
    "generated": Format(
        write_generated, "1.safetensors", lambda f: load_generated([f / f"{i}.safetensors" for i in (0, 1)])
    ),
    "images": Format(write_images, "a.safetensors", lambda f: load_image_set(f / "a.safetensors")),
    "attributes": Format(write_images, "a.parquet", lambda f: load_image_set(f / "a.safetensors")),
    "classes": Format(write_classes, "a.safetensors", lambda f: load_classes(f / "a.safetensors")),
    "masks": Format(write_masks, "a.safetensors", lambda f: load_masks(f / "a.safetensors")),
    "description": Format(write_description, "a.safetensors", lambda f: load_description(f / "a.safetensors")),
    "cache of shots": Format(write_shot_features, "a.safetensors", lambda f: load_shot_features(f / "a.safetensors")),
    "cache of pairs": Format(write_pair_features, "a.safetensors", lambda f: load_pair_features(f / "a.safetensors")),
    "cache of classes": Format(
        write_class_features, "a.safetensors", lambda f: load_class_features(f / "a.safetensors")
    ),
    "records": Format(write_labels, "a.parquet", lambda f: read_records(f / "a.parquet", "seed", "accepted")),
    **{f"weights {name}": Format(write_weights, name, read_weights) for name in WEIGHTS_FILES},
    "work unit": Format(write_unit, "unit-00000000.safetensors", read_unit),
    "its seconds": Format(write_unit, "unit-00000000.json", read_unit),
    "training state": Format(write_state, "state.safetensors", read_state),
    "table": Format(write_table, "a.csv", lambda f: read_csv(f / "a.csv", "value")),
    "shots": Format(write_shots, "a.csv", lambda f: read_shots(f / "a.csv", image_set(0))),
    "pairs": Format(write_pairs, "a.csv", lambda f: read_pairs(f / "a.csv", image_set(0), masks_of(image_set(0)))),
    "one number": Format(
        lambda f, v: write_sealed_json(f / "seed-0.json", {"top1": 0.5 + v}), "seed-0.json",
        lambda f: read_sealed_json(f / "seed-0.json"),
    ),
}  # fmt: skip


def flipped(data: bytes, choose: random.Random) -> bytes:
    place = choose.randrange(len(data))
    return data[:place] + bytes([data[place] ^ (1 << choose.randrange(8))]) + data[place + 1 :]


def zeroed(data: bytes, choose: random.Random) -> bytes:
    size = min(32, len(data) // 4)
    start = choose.randrange(len(data) - size)
    return data[:start] + bytes(size) + data[start + size :]


MUTATIONS: list[tuple[str, int, Callable[[bytes, random.Random], bytes]]] = [
    ("bit flipped", 24, flipped),
    ("truncated", 8, lambda data, choose: data[: choose.randrange(1, len(data))]),
    ("block lost", 4, zeroed),
    ("emptied", 1, lambda data, choose: b""),
    ("lengthened", 2, lambda data, choose: data + bytes(choose.randrange(1, 9))),
    ("doubled", 1, lambda data, choose: data + data),
    ("text", 1, lambda data, choose: b"{}\n"),
]
CACHES = {"cache of shots", "cache of pairs", "cache of classes"}
# Formats of which another valid file of the same kind is one that its reader cannot tell by itself: each is whole, and
# which one is wanted stands in no name.
ALONE = {"table", "classes", "masks", "description", "records", "one number", "its seconds", *CACHES}


def refused(folder: Path, kind: Format) -> bool:
    """Return whether reading is refused; the message must name the file, or the folder of weights."""
    try:
        kind.read(folder)
    except FewshotError as error:
        path = folder / kind.file
        assert str(path) in str(error) or str(path.with_suffix(".safetensors")) in str(error) or (
            path.name in WEIGHTS_FILES and str(folder) in str(error)
        ), f"{path} is not named: {error}"  # fmt: skip
        return True
    return False


def test_every_damage_is_refused_when_read(tmp_path: Path) -> None:
    detected, undetected, rows = 0, [], []
    for name, kind in FORMATS.items():
        folder = tmp_path / name
        kind.write(folder, 0)
        kind.read(folder)
        path = folder / kind.file
        data = path.read_bytes()
        before = detected
        for damage, times, mutate in MUTATIONS:
            for number in range(times):
                mutated = mutate(data, random.Random(f"{name} {damage} {number}"))
                if mutated == data:
                    continue
                path.write_bytes(mutated)
                if refused(folder, kind):
                    detected += 1
                else:
                    undetected.append(f"{name}: {damage} {number}")
        path.write_bytes(data)
        kind.read(folder)
        rows.append(f"{name}: {detected - before}")
    print(f"{detected} mutations detected, {len(undetected)} undetected ({', '.join(rows)})")
    assert not undetected
    assert detected >= 200


@pytest.mark.parametrize("name", sorted(set(FORMATS) - ALONE))
def test_the_right_name_with_other_parameters_is_refused(tmp_path: Path, name: str) -> None:
    kind = FORMATS[name]
    for variant in (0, 1):
        kind.write(tmp_path / str(variant), variant)
    first, other = (tmp_path / str(variant) / kind.file for variant in (0, 1))
    kept = first.read_bytes()
    first.write_bytes(other.read_bytes())
    assert refused(tmp_path / "0", kind), "another's file was taken for one's own"
    first.write_bytes(kept)
    kind.read(tmp_path / "0")


# Readers of caches take the tensors as they come: other names end in an error of Python's.
@pytest.mark.parametrize(
    "name", sorted(name for name in set(FORMATS) - CACHES if FORMATS[name].file.endswith(".safetensors"))
)
def test_a_whole_file_of_another_schema_is_refused(tmp_path: Path, name: str) -> None:
    kind = FORMATS[name]
    kind.write(tmp_path, 0)
    path = tmp_path / kind.file
    provenance = {"identity": "sampling 0" if "unit" in kind.file else "training 0", "step": 1, "classes": ["x"]}
    write_tensors(path, {"other": torch.arange(3)}, provenance)
    assert refused(tmp_path, kind)


def test_swapped_shards_of_two_samplings_are_told_apart(tmp_path: Path) -> None:
    for variant in (3, 10):
        write_samples(tmp_path / str(variant), variant)
    mixed = [tmp_path / "3" / "0.safetensors", tmp_path / "10" / "1.safetensors"]
    with pytest.raises(FewshotError, match=r"10/1\.safetensors: does not belong with .*scale is 10, there 3"):
        load_samples(mixed)


def test_every_byte_of_a_table_counts(tmp_path: Path) -> None:
    write_table(tmp_path, 0)
    path = tmp_path / "a.csv"
    data = path.read_bytes()
    for place in range(len(data)):
        path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        with pytest.raises(FewshotError, match=r"a\.csv"):
            read_csv(path)
    lines = data.splitlines(keepends=True)
    for changed in (
        lines[:-1],
        [*lines, lines[-1]],
        [lines[0], lines[2], lines[1]],
        [line[:-1] + b"\r\n" for line in lines],
    ):
        path.write_bytes(b"".join(changed))
        with pytest.raises(FewshotError, match=r"a\.csv"):
            read_csv(path)


@pytest.mark.parametrize("cell", ["", "NA", "1e5", "0010", 'say "x"', "a,b", "a\nb", " a ", "é", "True", "-0.0", "#"])
def test_any_text_survives_in_a_table(tmp_path: Path, cell: str) -> None:
    path = tmp_path / "a.csv"
    write_csv(path, pd.DataFrame({"name": [cell, "other"], "value": [1.5, 2.5]}))
    assert read_csv(path, "name")["value"].tolist() == [1.5, 2.5]
    write_csv(path, pd.DataFrame({"name": [cell]}))
    assert len(read_csv(path, "name")) == 1


@pytest.mark.parametrize("text", ["", "\0\0\0", "a,b\n1", "a,b\n", "\ud800", 'x,y\n"1'])
def test_a_broken_table_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(text.encode(errors="surrogatepass"))
    with pytest.raises(FewshotError, match=r"table\.csv"):
        read_csv(path, "value")


def test_a_table_comes_back(tmp_path: Path) -> None:
    frame = pd.DataFrame({"value": [1.5, 2.5], "name": ["a", "b"]})
    write_csv(tmp_path / "table.csv", frame)
    pd.testing.assert_frame_equal(read_csv(tmp_path / "table.csv", "value"), frame)


def test_sealed_json_keeps_its_values_and_refuses_edits(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_sealed_json(path, {"top1": 0.25, "seed": 3})
    assert read_sealed_json(path) == {"top1": 0.25, "seed": 3}
    edited = json.loads(path.read_text()) | {"top1": 0.75}
    path.write_text(json.dumps(edited))
    with pytest.raises(FewshotError, match=r"a\.json"):
        read_sealed_json(path)
