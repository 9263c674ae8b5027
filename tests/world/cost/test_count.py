"""Costs of small computations that can be worked out by hand."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from worldeval.world.cost.count import Counting, bytes_of
from worldeval.world.cost.cuda import AsCuda
from worldeval.world.cost.machine import Machine
from worldeval.world.cost.work import LAUNCH, Kernel, Work


def meta(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.empty(*shape, dtype=dtype, device="meta")


def test_a_layer_costs_its_products_and_what_it_reads_and_writes() -> None:
    layer, x = nn.Linear(3, 5, device="meta"), meta(7, 3)
    with torch.inference_mode(), Counting() as counted:
        layer(x)
    assert counted.work.flops == 2 * 7 * 3 * 5
    assert counted.work.read_write == 4 * (7 * 3 + 3 * 5 + 5 + 7 * 5)
    assert counted.work.launches == 1


def test_a_small_network_is_counted_by_hand_forward_and_backward() -> None:
    net = nn.Sequential(nn.Linear(3, 5), nn.SiLU(), nn.Linear(5, 2)).to("meta")
    with Counting() as counted:
        net(meta(7, 3)).sum().backward()
    forward = 2 * 7 * (3 * 5 + 5 * 2)
    backward = 2 * 7 * (2 * 5 * 2 + 3 * 5)  # the first layer's input needs no gradient
    assert counted.work.flops == forward + backward


def test_the_same_operation_worked_out_once_is_counted_every_time() -> None:
    layer, x = nn.Linear(8, 8, device="meta"), meta(4, 8)
    with torch.inference_mode(), Counting() as counted:
        for _ in range(3):
            x = layer(x)
    assert x.shape == (4, 8)
    assert counted.work.flops == 3 * 2 * 4 * 8 * 8
    with torch.inference_mode(), Counting() as counted:
        layer(meta(2, 8))
        layer(meta(4, 8))
    assert counted.work.flops == 2 * 6 * 8 * 8


def test_views_cost_nothing_and_copies_both_ways() -> None:
    x = meta(4, 8)
    with Counting() as counted:
        x.t().unsqueeze(0)[0, 2:].detach()
    assert not counted.kernels
    with Counting() as counted:
        x.t().contiguous()
    assert counted.work.read_write == 2 * 4 * 4 * 8
    assert bytes_of(meta(1, 8).expand(100, 8)) == 4 * 8


def test_what_is_computed_on_the_cpu_is_not_counted() -> None:
    with Counting() as counted:
        total = (torch.ones(3) @ torch.ones(3)).item()
    assert total == 3
    assert not counted.kernels


def test_memory_is_held_as_long_as_a_tensor_lives() -> None:
    with Counting() as counted:
        first = meta(100) + 1
        second = first + 1
        assert counted.live == counted.peak == 2 * 400
        del first
        assert counted.live == 400
        third = second[:50]  # a view keeps the whole alive
        del second
        assert counted.live == 400
        del third
        assert counted.live == 0
        assert counted.peak == 800
        counted.begin()
        assert counted.peak == 0


def test_activations_live_until_they_have_been_used_backwards() -> None:
    net = nn.Sequential(*(nn.Linear(10, 10, bias=False) for _ in range(4))).to("meta")
    with Counting() as counted:
        loss = net(meta(1000, 10)).sum()
        held = counted.live
        loss.backward()
        del loss
        left = counted.live
    assert held == pytest.approx(4 * 1000 * 10 * 4, rel=0.3)
    assert left == 4 * 10 * 10 * 4  # the gradients


def test_products_are_half_precision_and_norms_are_not() -> None:
    layer, norm = nn.Linear(8, 8, device="meta"), nn.LayerNorm(8, device="meta")
    with AsCuda():
        out = layer(meta(2, 8))
        assert out.dtype == torch.bfloat16
        assert norm(out).dtype == torch.float32
        assert (out + meta(2, 8)).dtype == torch.float32
    assert layer(meta(2, 8)).dtype == torch.float32
    with AsCuda():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32  # on the CPU


def test_a_weight_is_converted_once() -> None:
    layer, x = nn.Linear(8, 8, bias=False, device="meta"), meta(4, 8, dtype=torch.bfloat16)
    with Counting() as counted, AsCuda():
        layer(layer(x))
    products = {each: n for each, n in counted.kernels.items() if each.flops}
    assert sum(products.values()) == 2
    assert counted.work.launches == 3


@pytest.mark.parametrize("masked", [False, True])
def test_attention_is_one_kernel_that_keeps_no_matrix(masked: bool) -> None:
    query, key = meta(2, 4, 16, 32), meta(2, 4, 64, 32)
    query.requires_grad_()
    mask = meta(2, 1, 1, 64, dtype=torch.bool) if masked else None
    with Counting() as counted, AsCuda():
        found = F.scaled_dot_product_attention(query, key, key, attn_mask=mask)
        forward = counted.work.flops
        torch.autograd.Variable._execution_engine.run_backward(  # type: ignore[attr-defined]
            (found,), (torch.ones_like(found),), False, False, (),
            allow_unreachable=True, accumulate_grad=True,
        )  # fmt: skip
    assert found.shape == (2, 4, 16, 32)
    assert forward == 4 * 2 * 4 * 16 * 64 * 32
    assert counted.work.flops == 3.5 * forward  # backward: five products instead of two
    assert counted.peak < 8 * 2 * 4 * 64 * 32 * 4


def test_the_time_of_kernels_is_that_of_their_rooflines() -> None:
    machine = Machine(name="toy", memory=1.0, rate=10.0, bandwidth=2.0)
    product = Kernel(flops=100.0, read_write=4.0)  # 10 s of arithmetic, 2 s of traffic
    stream = Kernel(flops=10.0, read_write=6.0)  # 1 s and 3 s
    light = Kernel(flops=0.0, read_write=8.0)  # 4 s
    work = Work({product: 2, stream: 1, light: 3})
    assert work.arithmetic_seconds(machine) == 21
    assert work.compiled_seconds(machine) == 2 * 10 + 3
    assert work.eager_seconds(machine) == 2 * 10 + 3 + 3 * 4
    assert work.flops == 210
    assert (work.read_write, work.fused_read_write) == (38, 14)
    assert ((work + work * 2) - work).launches == 12
    fast = Machine(name="fast", memory=1.0, rate=1e30, bandwidth=1e30)
    assert work.eager_seconds(fast) == 6 * LAUNCH
