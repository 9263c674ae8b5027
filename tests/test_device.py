"""Where torch computes."""

from typing import Any

import pytest
import torch
from torch import nn

from worldeval import device
from worldeval.errors import UserError


def test_auto_is_a_device_that_is_here() -> None:
    kind = "cuda" if torch.cuda.is_available() else "cpu"
    assert device.pick_device().type == kind
    assert device.pick_device("cpu") == torch.device("cpu")


def test_processes_take_gpus_by_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert device.pick_device() == torch.device("cuda:0")
    monkeypatch.setenv(device.LOCAL_RANK, "1")
    assert device.pick_device() == torch.device("cuda:1")
    monkeypatch.setenv(device.TURN, "4")
    assert device.pick_device() == torch.device("cuda:0")


def test_processes_share_the_threads_that_were_allowed() -> None:
    with device.threads(2):  # however many cores there are
        assert [device.threads_each(n) for n in (1, 2, 3)] == [2, 1, 1]
    with device.threads(1):  # as with OMP_NUM_THREADS=1
        assert device.threads_each(1) == 1


@pytest.mark.parametrize("name", ["cuda:99", "gpu", "mps:99"])
def test_a_device_that_is_not_here_is_refused(name: str) -> None:
    with pytest.raises(UserError, match=name):
        device.pick_device(name)


@pytest.mark.parametrize(("has_bf16", "dtype"), [(True, torch.bfloat16), (False, torch.float32)])
def test_autocast_follows_the_hardware(
    monkeypatch: pytest.MonkeyPatch, has_bf16: bool, dtype: torch.dtype
) -> None:
    monkeypatch.delenv(device.BF16)
    monkeypatch.setattr(device, "cpu_has_bf16", lambda: has_bf16)
    with device.autocast(torch.device("cpu")):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype


def test_the_environment_switches_bfloat16_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(device.BF16, "0")
    monkeypatch.setattr(device, "cpu_has_bf16", lambda: True)
    with device.autocast(torch.device("cpu")):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32


@pytest.mark.gpu
def test_cuda_computes_in_bfloat16_where_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(device.BF16)
    cuda = device.pick_device("cuda")
    with device.autocast(cuda):
        product = torch.ones(2, 2, device=cuda) @ torch.ones(2, 2, device=cuda)
    wanted = torch.cuda.is_bf16_supported(including_emulation=False)
    assert (product.dtype == torch.bfloat16) == wanted


def test_threads_are_given_back() -> None:
    before = torch.get_num_threads()
    with device.threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before
    with pytest.raises(UserError, match="number of threads is 0"), device.threads(0):
        pass


def test_networks_are_compiled_where_it_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(device.COMPILE, raising=False)
    assert not device.compiles()
    with device.compiling(True):
        assert device.compiles()
    with device.compiling(False):
        assert not device.compiles()
    monkeypatch.setenv(device.COMPILE, "eager")
    with device.compiling(True):  # what the environment says is more exact
        assert device.os.environ[device.COMPILE] == "eager"
    assert device.compiles()


@pytest.mark.filterwarnings("ignore:.*torch.jit.script_method:DeprecationWarning")
def test_a_gpu_records_graphs_and_its_results_outlive_the_next_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked, shared = [], torch.zeros(2)

    def compile(function: Any, **how: Any) -> Any:
        asked.append(how)

        def replayed(x: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"y": shared.copy_(function(x))}  # a graph writes to the same place every time

        return replayed

    monkeypatch.setattr(torch, "compile", compile)
    monkeypatch.setenv(device.COMPILE, "1")
    fast = device.compiled(lambda x: x + 1, torch.device("cuda"), graphs=True)
    one, two = fast(torch.zeros(2)), fast(torch.ones(2))
    assert one["y"].tolist() == [1, 1] and two["y"].tolist() == [2, 2]
    device.compiled(lambda x: x + 1, torch.device("cpu"), graphs=True)
    assert asked == [
        {"dynamic": False, "backend": "inductor", "mode": "reduce-overhead"},
        {"dynamic": False, "backend": "inductor", "mode": None},
    ]


def test_a_gpu_takes_the_fast_formats(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(torch, "set_float32_matmul_precision", said.append)
    flat, deep, x = nn.Conv2d(3, 8, 3), nn.Conv3d(2, 2, 1), torch.randn(2, 3, 8, 8)
    net, before = nn.Sequential(flat, deep), flat(x)
    device.made_fast(net, torch.device("cpu"))
    assert not said and flat.weight.is_contiguous()
    device.made_fast(net, torch.device("cuda"))
    assert said == ["high"]
    assert flat.weight.is_contiguous(memory_format=torch.channels_last)
    assert deep.weight.is_contiguous()
    torch.testing.assert_close(flat(x), before)
