"""Rectified flow: sample from noise at time 0 to data at time 1 in a few Euler steps.

Lipman et al., "Flow Matching for Generative Modeling" (2023), on the straight path of Liu et al.,
"Flow Straight and Fast" (2023): x_s = (1 - s) noise + s data. The network predicts the data; the
velocity is then (data - x_s) / (1 - s), and the last step ends at the prediction itself.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from worldeval.axes import Float

# (x at the flow times, flow times) -> the predicted data
Denoise = Callable[[Float[Tensor, "b ..."], Float[Tensor, " b"]], Float[Tensor, "b ..."]]


def along_path(
    noise: Float[Tensor, "b ..."], data: Float[Tensor, "b ..."], time: Float[Tensor, " b"]
) -> Float[Tensor, "b ..."]:
    """Return the point x_s on the straight path at flow time s, for each row of the batch."""
    return torch.lerp(noise, data, time.view(-1, *[1] * (data.ndim - 1)))


def sample(
    denoise: Denoise, noise: Float[Tensor, "b ..."], *, steps: int
) -> Float[Tensor, "b ..."]:
    """Integrate from `noise` to data in `steps` Euler steps of equal length."""
    x = noise
    for step in range(steps):
        now, then = step / steps, (step + 1) / steps
        data = denoise(x, torch.full((len(x),), now, device=x.device))
        velocity = (data - x) / (1 - now)
        x = x + (then - now) * velocity
    return x


def own_noise(
    like: Float[Tensor, "b ..."], generators: list[torch.Generator] | None
) -> Float[Tensor, "b ..."]:
    """Draw noise shaped as `like`, row i from generator i; without generators, all from seed 0."""
    if generators is None:
        generators = [torch.Generator().manual_seed(0) for _ in like]
    shape = like.shape[1:]
    rows = [torch.randn(shape, generator=each, device=each.device) for each in generators]
    return torch.stack(rows).to(like)
