"""The norm of queries and keys in half precision: no warning, and nearly the same numbers."""

import torch

from worldeval.world.layers import HeadNorm


def test_half_precision_gives_nearly_what_float32_gives() -> None:
    norm = HeadNorm(8, eps=1e-6)
    torch.nn.init.uniform_(norm.weight, 0.5, 1.5)
    x = torch.randn(3, 5, 8, generator=torch.Generator().manual_seed(0))
    wanted = x / x.square().mean(-1, keepdim=True).sqrt() * norm.weight
    torch.testing.assert_close(norm(x), wanted, atol=1e-5, rtol=1e-5)
    half = norm(x.bfloat16())  # a warning of torch fails this test
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), wanted, atol=2e-2, rtol=2e-2)
