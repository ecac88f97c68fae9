"""What a stage needs for n images, run by itself.

    python tests/memory.py STAGE N FOLDER [MEBIBYTES IN MEMORY]

The images repeat 64 contents of 64 pixels, so that n can be that of CelebA; prints the peak of resident memory, MB.
"""

import io
import multiprocessing
import resource
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import Tensor

from fewshot_diffusion.config.data import CelebAHQConfig, DatasetConfig
from fewshot_diffusion.config.evaluation import EvaluationConfig
from fewshot_diffusion.config.splits import SharesConfig
from fewshot_diffusion.data.image_set import load_attributes, load_image_set
from fewshot_diffusion.data.listed import ListedSplit, read_images
from fewshot_diffusion.images import encode_images
from fewshot_diffusion.metrics import descriptions
from fewshot_diffusion.metrics.measures import prepare_measures
from fewshot_diffusion.storage.records import stream_records
from fewshot_diffusion.storage.tensors import pixel_digest

SIZE, DIM, GROUP = 64, 2048, 1024
PICTURES = torch.randint(0, 256, (64, 3, SIZE, SIZE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
EVALUATION = EvaluationConfig(
    extractors=[{"kind": "efficientnet_lite0"}], samples=500, bootstrap=20, kernel_subset=500, nearest_k=5
)  # fmt: skip


class Projection:
    """A cheap extractor of as many features as Inception has."""

    name, dim, batch_size = "projection", DIM, 64
    weights = torch.randn(3 * 64, DIM, generator=torch.Generator().manual_seed(0))

    def __call__(self, images: Tensor) -> Tensor:
        return torch.nn.functional.adaptive_avg_pool2d(images.float(), 8).flatten(1) @ self.weights


def split(path: Path, number: int) -> Path:
    """Write a split of n images; what writes them elsewhere is ``read``."""
    coded = encode_images(PICTURES)
    frames = (
        pd.DataFrame(
            {
                "id": np.arange(at, stop := min(at + GROUP, number)),
                "image": [coded[i % 64] for i in range(at, stop)],
                "attribute: Male": [i % 2 == 0 for i in range(at, stop)],
            }
        )
        for at in range(0, number, GROUP)
    )
    stream_records(path, frames, {"classes": [], "size": [SIZE, SIZE]})
    return path


def read(number: int, folder: Path) -> None:
    """Read a zip and a list of 40 attributes, share the images out, write the split that holds all."""
    made = multiprocessing.get_context("spawn").Process(target=archive, args=(number, folder))
    made.start()
    made.join()  # its memory is not that of the reader
    images, listed = folder / "faces.zip", folder / "list.txt"
    source = CelebAHQConfig(folder=images, attribute_file=listed, attributes={"Male": "Male"})
    shares = SharesConfig(shares={"controls": 1}, whole=["reference"])
    wanted = ListedSplit("reference", shares, "", ["Male"], promised=True)
    data = DatasetConfig(name="faces", image_size=SIZE, source=source)
    read_images(data, wanted, folder / "reference.parquet", folder / "reference.csv")


def archive(number: int, folder: Path) -> None:
    """Write images and attributes in CelebA's layout."""
    coded = [io.BytesIO() for _ in PICTURES]
    for pixels, buffer in zip(PICTURES.permute(0, 2, 3, 1).numpy(), coded, strict=True):
        Image.fromarray(pixels).save(buffer, "JPEG")
    with zipfile.ZipFile(folder / "faces.zip", "w") as archive:
        for i in range(number):
            archive.writestr(f"img/{i + 1:06d}.jpg", coded[i % 64].getvalue())
    names = " ".join(["Male", *(f"Other_{i}" for i in range(39))])
    rows = (f"{i + 1:06d}.jpg {1 - 2 * (i % 2)}{' -1' * 39}\n" for i in range(number))
    (folder / "list.txt").write_text(f"{number}\n{names}\n" + "".join(rows))


def describe(number: int, folder: Path) -> None:
    """Describe a split by 2,048 features."""
    descriptions.make_extractor = lambda *_: Projection()
    descriptions.describe_images(EVALUATION, split(folder / "split", number), folder / "described", device="cpu")


def evaluate(number: int, folder: Path) -> None:
    """Measure images of a class against all others of it, as the table's rows are."""
    path = folder / "described"
    if not path.exists():
        describe(number, folder)
    found, attributes = descriptions.load_description(path), load_attributes(folder / "split")
    chosen = found.select(torch.from_numpy(attributes["Male"].to_numpy(copy=True)))
    measured = prepare_measures(chosen.features["projection"], "projection", EVALUATION)
    for name, number in measured(found.first(500).features["projection"]).items():
        print(name, number.value)


def train(number: int, folder: Path) -> None:
    """Open a split as trainings do, and draw batches."""
    images = load_image_set(split(folder / "split", number)).images
    print(pixel_digest(images)[:16], *(float(images[batch].float().mean()) for batch in batches(number)))


def batches(number: int) -> Iterator[Tensor]:
    return (torch.randint(number, (128,), generator=torch.Generator().manual_seed(i)) for i in range(200))


def cache(number: int, folder: Path) -> None:
    """Cache activations of images and of their mirror images, and read batches of them."""
    from fewshot_diffusion.classes.filter import load_class_features, write_class_features
    from fewshot_diffusion.data.class_set import ClassSet
    from fewshot_diffusion.storage.rows import flatten_rows

    real = ClassSet(torch.empty(0), torch.zeros(number, dtype=torch.int64), torch.arange(number), ["a"])
    sizes = [min(50, number - at) for _ in range(2) for at in range(0, number, 50)]
    maps = (torch.full((size, 256, 2, 2), at % 7).half() for at, size in enumerate(sizes))
    write_class_features(maps, real, folder / "features", {})
    rows = flatten_rows(load_class_features(folder / "features")[0].maps)
    print(*(float(rows[batch].float().mean()) for batch in batches(2 * number)))


if __name__ == "__main__":
    stage, number, folder, *limit = sys.argv[1:]
    if limit:
        from fewshot_diffusion.storage import rows

        rows.IN_MEMORY = int(limit[0]) * 2**20
    torch.set_num_threads(1)
    globals()[stage](int(number), Path(folder))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
