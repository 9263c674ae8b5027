"""Layers of the transformers: normalised queries and keys, and conditioned layer normalisation."""

from torch import Tensor, nn
from torch.nn import functional as F

from worldeval.axes import Float


class HeadNorm(nn.RMSNorm):
    """RMSNorm over a head's width.

    Under autocast, queries and keys are half precision but the weight is not, and torch would
    return single precision, for which there is no fast attention. Here the result has its input's
    dtype.
    """

    def forward(self, x: Float[Tensor, "... e"]) -> Float[Tensor, "... e"]:
        assert self.weight is not None
        return F.rms_norm(x, self.weight.shape, self.weight.to(x.dtype), self.eps).to(x.dtype)


def modulated(x: Tensor, gain: Tensor, shift: Tensor) -> Tensor:
    """Apply layer normalisation with gain and shift from the condition (adaLN)."""
    return F.layer_norm(x, x.shape[-1:]) * (1 + gain) + shift
