"""Describing images: every extractor and the judge look at each of them once."""

from collections.abc import Sequence

from torch import Tensor

from .classifiers import AttributeClassifier
from .config.evaluation import ExtractorConfig
from .descriptions import Description
from .extractors import extract_features, make_extractor
from .runtime import Runtime

GALLERY_SIZE = 64


def describe(
    images: Tensor,
    ids: Tensor,
    extractors: Sequence[ExtractorConfig],
    judge: AttributeClassifier | None,
    runtime: Runtime,
    forwards_per_sample: float = 0.0,
) -> Description:
    """Describe uint8 images [N, 3, H, W] by every extractor and by the judge, if there is one."""
    features = {}
    for settings in extractors:
        extractor = make_extractor(settings, runtime)
        features[extractor.name] = extract_features(images, extractor)
    probabilities = {name: judge.probability(images, name) for name in judge.attributes} if judge else {}
    return Description(ids, features, probabilities, forwards_per_sample, images[:GALLERY_SIZE])
