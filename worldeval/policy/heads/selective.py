"""A selective state-space layer (Mamba), for short sequences and without special kernels.

Gu and Dao, "Mamba: Linear-Time Sequence Modeling with Selective State Spaces" (arXiv 2312.00752):
h_t = A_t h_(t-1) + B_t x_t and y_t = C_t h_t + D x_t (eq. 2), where the step sizes, B and C depend
on the input (section 3.2), A is discretised by zero-order hold (eq. 4) and B by Euler's rule, as in
the authors' code. Parameters have the names of the library `transformers`.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

KERNEL = 4  # of the causal convolution before the scan


class SelectiveLayer(nn.Module):
    """The mixer of a Mamba block: convolution, selective scan and gate."""

    def __init__(self, width: int, *, state: int, expand: int = 2) -> None:
        super().__init__()
        inner, self.state, self.rank = expand * width, state, math.ceil(width / 16)
        self.in_proj = nn.Linear(width, 2 * inner, bias=False)
        self.conv1d = nn.Conv1d(inner, inner, KERNEL, groups=inner, padding=KERNEL - 1)
        self.x_proj = nn.Linear(inner, self.rank + 2 * state, bias=False)
        self.dt_proj = nn.Linear(self.rank, inner)
        self.A_log = nn.Parameter(torch.arange(1.0, state + 1).log().repeat(inner, 1))
        self.D = nn.Parameter(torch.ones(inner))
        self.out_proj = nn.Linear(inner, width, bias=False)
        with torch.no_grad():  # step sizes from .001 to .1, through the softplus
            step = torch.exp(torch.rand(inner) * math.log(100) + math.log(1e-3))
            self.dt_proj.bias.copy_(step + torch.log(-torch.expm1(-step)))

    def forward(self, x: Float[Tensor, "b t d"]) -> Float[Tensor, "b t d"]:
        """Mix every step with those before it."""
        inner, gate = self.in_proj(x).chunk(2, dim=-1)
        inner = F.silu(self.conv1d(inner.mT)[..., : x.shape[1]].mT)
        step, enter, leave = self.x_proj(inner).split((self.rank, self.state, self.state), dim=-1)
        step = F.softplus(self.dt_proj(step))
        keep = torch.exp(step[..., None] * -self.A_log.exp())
        add = (step * inner)[..., None] * enter[:, :, None]
        states = scan(keep, add)
        y = (states * leave[:, :, None]).sum(-1) + self.D * inner
        return self.out_proj(y * F.silu(gate))


def scan(keep: Float[Tensor, "b t e n"], add: Float[Tensor, "b t e n"]) -> Float[Tensor, "b t e n"]:
    """All states of h_t = keep_t h_(t-1) + add_t from h = 0, in log2(t) doublings."""
    reach, length = 1, keep.shape[1]
    while reach < length:
        before, kept = add[:, :-reach], keep[:, :-reach]
        add = torch.cat([add[:, :reach], add[:, reach:] + keep[:, reach:] * before], 1)
        keep = torch.cat([keep[:, :reach], keep[:, reach:] * kept], 1)
        reach *= 2
    return add
