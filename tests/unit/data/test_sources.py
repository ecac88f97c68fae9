"""From the configuration to files: splits are disjoint, masks are of their images, a new kind takes four files."""

import subprocess
import sys
from pathlib import Path

import pytest

from fewshot_diffusion.config.data import DatasetConfig
from fewshot_diffusion.config.model import Config
from fewshot_diffusion.data.image_set import load_attributes, load_image_set
from fewshot_diffusion.data.mask_set import load_masks
from fewshot_diffusion.data.sources import IMAGES, MASKS, make_images, make_masks
from fewshot_diffusion.errors import DataError
from support import ROOT, smoke_config

PACKAGE = Path("workflow/scripts/fewshot_diffusion")


def place(config: Config, split: str) -> tuple[int, int]:
    found = config.split_range(split)
    return found.start, found.stop


def test_every_kind_has_a_reader() -> None:
    kinds = set(DatasetConfig.model_json_schema()["properties"]["source"]["discriminator"]["mapping"])
    assert set(IMAGES) == kinds > set(MASKS)


def test_splits_are_disjoint_and_complete(tmp_path: Path) -> None:
    config, ids = smoke_config(), []
    for split in config.splits:
        make_images(config.data.dataset, place(config, split), tmp_path / f"{split}.parquet")
        ids += load_attributes(tmp_path / f"{split}.parquet").index.tolist()
    assert sorted(ids) == list(range(sum(config.splits.values())))


def test_masks_of_a_split_are_those_of_its_images(tmp_path: Path) -> None:
    config = smoke_config()
    make_images(config.data.dataset, place(config, "pairs"), tmp_path / "a.parquet")
    make_masks(config.data.dataset, place(config, "pairs"), tmp_path / "m.parquet")
    images, masks = load_image_set(tmp_path / "a.parquet"), load_masks(tmp_path / "m.parquet")
    assert images.ids.tolist() == masks.ids.tolist() == list(config.split_range("pairs"))
    assert masks.classes == config.data.mask_classes
    assert images.class_set().classes == images.classes


def test_a_data_set_without_masks_says_which_have_some(tmp_path: Path) -> None:
    source = {"kind": "image_folder", "path": "x"}
    data = DatasetConfig.model_validate({"name": "a", "image_size": 8, "source": source})
    with pytest.raises(DataError, match="'image_folder' has no masks; expected one of avatars, mask_folder"):
        make_masks(data, (0, 1), tmp_path / "m.parquet")


DOTS = '''"""Grey squares."""
import pandas as pd
import torch
from .image_set import ImageSet

def draw_dots(settings, image_size, positions):
    images = torch.full((len(positions), 3, image_size, image_size), settings.grey, dtype=torch.uint8)
    rows = pd.DataFrame({"Dark": [settings.grey < 128] * len(positions)})
    return ImageSet(images, torch.tensor(list(positions)), rows)
'''
OVERLAY = """
data: {name: dots16, kind: dots, image_size: 16, dots: {grey: 7}}
attributes: {targets: [{name: D, attribute: Dark, value: true, label: D, guidance_scale: {exact: 1, readout: 1}}]}
masks: null
classes: null
"""
SECTION = '''class DotsConfig(SourceConfig):
    """Grey squares."""

    kind: Literal["dots"] = "dots"
    grey: int
    attributes: dict[str, str] = {"Dark": ""}


'''
RUN = """
import yaml
from pathlib import Path
from snakemake.utils import update_config
from fewshot_diffusion.config.model import load_config
from fewshot_diffusion.data.sources import make_images
from fewshot_diffusion.data.image_set import load_image_set
raw = yaml.safe_load(Path("config/config.yaml").read_text())
update_config(raw, yaml.safe_load(Path("config/dots.yaml").read_text()))
make_images(load_config(raw).data.dataset, (2, 5), Path("out.parquet"))
found = load_image_set(Path("out.parquet"))
print(found.ids.tolist(), int(found.images.max()), found.attributes["Dark"].all())
"""


def test_a_new_kind_of_source_takes_four_files(tmp_path: Path) -> None:
    """A section, a module, a line in the table and an overlay; schema and README are generated."""
    edits: dict[Path, list[tuple[str, str]]] = {
        PACKAGE / "config/data.py": [
            ("Source = Annotated[", f"{SECTION}Source = Annotated["),
            ("MaskFolderConfig | ImageFolderConfig,", "MaskFolderConfig | ImageFolderConfig | DotsConfig,"),
            ('"mask_folder", "image_folder"]', '"mask_folder", "image_folder", "dots"]'),
            ("    splits: SplitsConfig", "    dots: DotsConfig | None = None\n    splits: SplitsConfig"),
        ],
        PACKAGE / "data/sources.py": [
            ("from .image_folder", "from .dots import draw_dots\nfrom .image_folder"),
            ('    "celebahq"', '    "dots": draw_dots,\n    "celebahq"'),
        ],
        PACKAGE / "data/dots.py": [("", DOTS)],
        Path("config/dots.yaml"): [("", OVERLAY)],
    }
    for file in [*(ROOT / PACKAGE).rglob("*.py"), ROOT / "config/config.yaml"]:
        (tmp_path / file.relative_to(ROOT)).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file.relative_to(ROOT)).write_text(file.read_text())
    for file, changes in edits.items():
        text = (tmp_path / file).read_text() if (tmp_path / file).exists() else ""
        for before, after in changes:
            assert text.count(before) == 1 or not text
            text = text.replace(before, after)
        (tmp_path / file).write_text(text)
    environment = {"PYTHONPATH": str(tmp_path / "workflow/scripts"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", RUN], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.stdout == "[2, 3, 4] 7 True\n", done.stderr
    assert len(edits) == 4
