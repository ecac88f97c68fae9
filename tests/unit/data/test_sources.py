"""From the configuration to files: splits are disjoint, and masks are of their images."""

from pathlib import Path

from fewshot_diffusion.config.data import DatasetConfig
from fewshot_diffusion.config.model import Config
from fewshot_diffusion.data.image_set import load_attributes, load_image_set
from fewshot_diffusion.data.listings import LISTINGS
from fewshot_diffusion.data.mask_set import load_masks
from fewshot_diffusion.data.sources import make_images, make_masks
from support import smoke_config


def drawn(config: Config, split: str) -> tuple[DatasetConfig, tuple[int, int]]:
    found = config.split_range(split)
    return config.data.dataset(config.judged_together), (found.start, found.stop)


def test_every_kind_has_a_reader() -> None:
    kinds = set(DatasetConfig.model_json_schema()["properties"]["source"]["discriminator"]["mapping"])
    assert {*LISTINGS, "avatars"} == kinds


def test_splits_are_disjoint_and_complete(tmp_path: Path) -> None:
    config, ids = smoke_config(), []
    for split in config.splits:
        make_images(*drawn(config, split), tmp_path / f"{split}.parquet")
        ids += load_attributes(tmp_path / f"{split}.parquet").index.tolist()
    assert sorted(ids) == list(range(sum(config.splits.values())))


def test_masks_of_a_split_are_those_of_its_images(tmp_path: Path) -> None:
    config = smoke_config()
    make_images(*drawn(config, "pairs"), tmp_path / "a.parquet")
    make_masks(*drawn(config, "pairs"), tmp_path / "m.parquet")
    images, masks = load_image_set(tmp_path / "a.parquet"), load_masks(tmp_path / "m.parquet")
    assert images.ids.tolist() == masks.ids.tolist() == list(config.split_range("pairs"))
    assert masks.classes == config.data.mask_classes
    assert images.class_set().classes == images.classes
