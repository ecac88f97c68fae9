"""Where and how precisely a job computes, and the streams that its noise comes from."""

import pytest
import torch

from fewshot_diffusion import runtime
from fewshot_diffusion.errors import ConfigError
from fewshot_diffusion.runtime import CPU, make_runtime
from fewshot_diffusion.seeds import SampleNoise, derive_seed, generator


@pytest.mark.parametrize(
    ("precision", "native", "expected"),
    [
        ("auto", True, torch.bfloat16),
        ("auto", False, torch.float32),
        ("float32", True, torch.float32),
        ("bfloat16", False, torch.bfloat16),
    ],
)
def test_precision_is_what_is_asked_for_or_what_the_hardware_computes(
    monkeypatch: pytest.MonkeyPatch, precision: str, native: bool, expected: torch.dtype
) -> None:
    monkeypatch.setattr(runtime, "has_bfloat16_cpu", lambda: native)
    made = make_runtime("cpu", precision, cpu_threads=1)
    assert (made.device, made.dtype) == (torch.device("cpu"), expected)
    product = torch.ones(2, 2)
    with made.autocast():
        assert (product @ product).dtype == expected


def test_a_device_is_found_or_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert make_runtime("auto", "float32", 1).device.type == "cpu"
    with pytest.raises(ConfigError, match="--device cuda:1: no CUDA device is visible; expected auto or cpu"):
        make_runtime("cuda:1", "auto", 1)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert make_runtime("auto", "auto", 1) == runtime.Runtime(torch.device("cuda"), torch.bfloat16)
    assert make_runtime("cuda:1", "float32", 1).device == torch.device("cuda:1")


def test_the_number_of_threads_is_the_job_s(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", chosen.append)
    make_runtime("cpu", "float32", cpu_threads=3)
    assert chosen == [3]


class Elsewhere(torch.nn.Conv2d):
    """A network that says where it was put, and stays here."""

    def to(self, *device: torch.device, **how: torch.memory_format) -> "Elsewhere":
        self.place = device or self.place
        return super().to(**how) if how else self


@pytest.mark.parametrize(("device", "last"), [("cpu", False), ("cuda:1", True)])
def test_a_network_lies_with_its_channels_last_on_a_gpu_only(device: str, last: bool) -> None:
    network = Elsewhere(4, 4, 3)
    weight = network.weight.detach().clone()
    assert runtime.Runtime(torch.device(device), torch.float32).place(network) is network
    assert network.place == (torch.device(device),)
    assert network.weight.is_contiguous(memory_format=torch.channels_last) == last
    assert network.weight.is_contiguous() != last
    assert torch.equal(network.weight, weight)


def test_rows_of_noise_depend_on_their_own_seed_alone() -> None:
    together = SampleNoise([5, 2, 9], (3, 4, 4), CPU.device)
    alone = {seed: SampleNoise([seed], (3, 4, 4), CPU.device) for seed in (9, 2, 5)}
    draws = []
    for _ in range(3):
        drawn = together.draw()
        assert torch.equal(drawn, torch.cat([alone[seed].draw() for seed in (5, 2, 9)]))
        draws += list(drawn)
    assert all(not torch.equal(one, other) for i, one in enumerate(draws) for other in draws[:i])


def test_streams_of_two_purposes_differ() -> None:
    seeds = {derive_seed(purpose, seed) for purpose in ("sampling", "rejection") for seed in range(100)}
    assert len(seeds) == 200
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert derive_seed("sampling", 0) == 6180817063420562335, "another one would change every sample"
    first, again, other = (torch.randn(4, generator=generator(purpose, 1)) for purpose in ("a", "a", "b"))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
