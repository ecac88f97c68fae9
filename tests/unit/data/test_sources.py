"""From the configuration to files: splits are disjoint, masks are of their images, a new kind takes four files."""

import subprocess
import sys
from pathlib import Path

import pytest

from fewshot_diffusion.config.data import DatasetConfig
from fewshot_diffusion.config.model import Config
from fewshot_diffusion.data.image_set import load_attributes, load_image_set
from fewshot_diffusion.data.listings import LISTINGS
from fewshot_diffusion.data.mask_set import load_masks
from fewshot_diffusion.data.sources import make_images, make_masks
from support import ROOT, smoke_config

PACKAGE = Path("workflow/scripts/fewshot_diffusion")


def drawn(config: Config, split: str) -> tuple[DatasetConfig, tuple[int, int]]:
    found = config.split_range(split)
    return config.data.dataset(config.judged_together), (found.start, found.stop)


def test_every_kind_has_a_reader() -> None:
    kinds = set(DatasetConfig.model_json_schema()["properties"]["source"]["discriminator"]["mapping"])
    assert {*LISTINGS, "avatars"} == kinds


@pytest.mark.slow
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


DOTS = '''"""Every image of a folder, dark or not."""
from .files import Members
from .index import Row, SourceIndex

def list_dots(settings, attributes):
    members = Members(settings.path)
    rows = [Row(name, members, name) for name in members.names()]
    return SourceIndex(settings.path, rows, attributes={"Dark": frozenset(members.names()[: settings.dark])})
'''
OVERLAY = """
data: {name: dots16, kind: dots, image_size: 16, dots: {path: dots, dark: 2}, splits: auto}
attributes: {targets: [Dark], methods: [unguided, exact]}
masks: null
classes: null
"""
SECTION = '''class DotsConfig(FilesConfig):
    """Images of which some are dark."""

    kind: Literal["dots"] = "dots"
    path: Path
    dark: int
    attributes: dict[str, str] = {"Dark": ""}


'''
RUN = """
import yaml
from pathlib import Path
from PIL import Image
from snakemake.utils import update_config
from fewshot_diffusion.config.model import load_config
from fewshot_diffusion.data.listed import iter_rows
from fewshot_diffusion.data.listings import list_source
raw = yaml.safe_load(Path("config/config.yaml").read_text())
update_config(raw, yaml.safe_load(Path("config/dots.yaml").read_text()))
Path("dots").mkdir()
for grey in range(3):
    Image.new("L", (16, 16), grey).save(f"dots/{grey}.png")
data = load_config(raw).data
index = list_source(data.source, ["Dark"])
(found,) = iter_rows(data.dataset(["Dark"]), index, index.rows, ["Dark"])
print(found.images.float().mean((1, 2, 3)).tolist(), found.attributes["Dark"].tolist())
"""


@pytest.mark.slow
def test_a_new_kind_of_source_takes_four_files(tmp_path: Path) -> None:
    """A section, a module, a line in the table and an overlay; schema and README are generated."""
    edits: dict[Path, list[tuple[str, str]]] = {
        PACKAGE / "config/data.py": [
            ("Source = Annotated[", f"{SECTION}Source = Annotated["),
            ("ImageFolderConfig | FolderConfig,", "ImageFolderConfig | FolderConfig | DotsConfig,"),
            ('"image_folder", "folder"]', '"image_folder", "folder", "dots"]'),
            ("    splits: SplitsConfig", "    dots: DotsConfig | None = None\n    splits: SplitsConfig"),
        ],
        PACKAGE / "data/listings.py": [
            ("from .image_folder", "from .dots import list_dots\nfrom .image_folder"),
            ('    "celebahq"', '    "dots": list_dots,\n    "celebahq"'),
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
    assert done.stdout == "[0.0, 1.0, 2.0] [True, True, False]\n", done.stderr
    assert len(edits) == 4
