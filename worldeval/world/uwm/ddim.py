"""DDIM as UWM's official code runs it: epsilon, capped cosine betas, predicted data within [-1, 1].

Song et al. (arXiv 2010.02502), eq. 12 with eta 0; Nichol & Dhariwal (arXiv 2102.09672), eq. 17. The
settings are diffusers' `DDIMScheduler(100, beta_schedule="squaredcos_cap_v2", clip_sample=True)`.
Unlike schedule.py, times run from 0 to T - 1, the last one still has a little signal, and data is
clipped at one instead of six standard deviations.
"""

import itertools
import math
import operator

from torch import Tensor

from worldeval.axes import Float

CAP = 0.999  # largest beta
OFFSET = 0.008


class CosineDdim:
    """Signal levels, and the steps between them."""

    def __init__(self, times: int) -> None:
        def level(share: float) -> float:
            return math.cos((share + OFFSET) / (1 + OFFSET) * math.pi / 2) ** 2

        kept = [
            1 - min(1 - level((time + 1) / times) / level(time / times), CAP)
            for time in range(times)
        ]
        self.times = times
        self.signal = list(itertools.accumulate(kept, operator.mul))  # squared

    def ladder(self, steps: int) -> list[int]:
        """The times of a sampler with `steps` steps, noisiest first, ending at 0."""
        return [(self.times // steps) * step for step in reversed(range(steps))]

    def step(
        self, found: Float[Tensor, "b *n"], x: Float[Tensor, "b *n"], now: int, then: int
    ) -> Float[Tensor, "b *n"]:
        """Step from `x` at time `now`, whose noise is `found`, to `then`; -1 is clean."""
        signal, after = self.signal[now], self.signal[then] if then >= 0 else 1.0
        data = ((x - math.sqrt(1 - signal) * found) / math.sqrt(signal)).clamp(-1, 1)
        return math.sqrt(after) * data + math.sqrt(1 - after) * found
