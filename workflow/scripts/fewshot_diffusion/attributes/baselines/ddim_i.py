"""DDIM-I in D2C's sense: an image-space classifier of the same shots keeps samples of the unguided pool."""

from pathlib import Path

from ...config.supervised import SupervisedConfig
from ...diffusion.samples import load_samples
from ...judges import AttributeClassifier, train_classifier
from ...runtime import make_runtime
from ...storage.weights import load_module, save_module
from ..shots import ShotFiles
from .decisions import accept, save_decisions

METHOD = "ddim_i"


def train_ddim_i(settings: SupervisedConfig, files: ShotFiles, output: Path, device: str = "auto") -> None:
    """Train DDIM-I's image-space classifier on the same shots as the heads.

    Args:
        settings: Section attributes.ddim_i, JSON.
        files: The labelled shots.
        output: Weights folder to write.
        device: auto, cpu, cuda or cuda:<n>.
    """
    runtime = make_runtime(device, settings.precision, cpu_threads=1)
    images, labels = files.load()
    model = train_classifier(images.images, labels[:, None], [files.attribute], settings, runtime)
    save_module(model, model.config, output, {"role": METHOD, "attribute": files.attribute})


def reject_ddim_i(classifier: Path, attribute: str, value: bool, samples: list[Path], output: Path) -> None:
    """Decide which unguided samples the image-space classifier keeps for one class.

    Args:
        classifier: Weights folder.
        attribute: Wanted attribute.
        value: Wanted value: True or False.
        samples: Shards of the unguided pool.
        output: Decisions to write, parquet: seed, log_prob (nats), accepted.

    Raises:
        WeightsError: If the classifier is of another attribute, or no classifier of DDIM-I.
        CorruptFileError: If a shard is damaged, or not of the unguided pool.
    """
    expected = {"role": METHOD, "attribute": attribute}
    model, _ = load_module(lambda config: AttributeClassifier(**config), classifier, expected)
    pool = load_samples(samples, {"method": "unguided"})
    has_it = model.probability(pool.images, attribute)
    probability = has_it if value else 1 - has_it
    about = {"method": METHOD, "attribute": attribute, "value": value}
    save_decisions(probability, pool.seeds, accept(probability, pool.seeds), output, about)
