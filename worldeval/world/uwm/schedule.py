"""Diffusion with a squared-cosine schedule: noising, training targets, and DDIM steps.

Nichol & Dhariwal, "Improved Denoising Diffusion Probabilistic Models" (arXiv 2102.09672), eq. 17;
DDIM with eta 0, Song et al. (arXiv 2010.02502), eq. 12. Times run 0..T. Time 0 is the data itself.
Time T is pure noise: the schedule ends at a signal of exactly zero, as recommended by Lin et al.
("Common Diffusion Noise Schedules and Sample Steps are Flawed", arXiv 2305.08891), so a part at
time T is marginalised completely. The official code of UWM ends at a signal of 5e-4.
"""

import math
from typing import Literal

import torch
from torch import Tensor, nn

from worldeval.axes import Float, Int

SMALLEST = 2.4e-7  # squared signal of the last training time in the paper's capped schedule
CLIP = 6.0  # limit of predicted data, in standard deviations: epsilon is unbounded near pure noise

Target = Literal["epsilon", "velocity"]


class Schedule(nn.Module):
    """Squared signal and noise at every time; data values are standardised."""

    signal: Tensor  # sqrt(alpha-bar), T + 1 numbers from 1 to 0
    noise: Tensor  # sqrt(1 - alpha-bar)

    def __init__(self, times: int, target: Target) -> None:
        super().__init__()
        self.times, self.target = times, target
        offset = 0.008
        share = torch.arange(times + 1, dtype=torch.float64) / times
        bar = torch.cos((share + offset) / (1 + offset) * math.pi / 2) ** 2
        bar = bar / bar[0]
        bar[-1] = 0.0
        self.register_buffer("signal", bar.sqrt().float(), persistent=False)
        self.register_buffer("noise", (1 - bar).sqrt().float(), persistent=False)

    def noised(
        self, data: Float[Tensor, "b *n"], noise: Float[Tensor, "b *n"], time: Int[Tensor, " b"]
    ) -> Float[Tensor, "b *n"]:
        """Return the data at each row's time: signal data + noise."""
        signal, spread = self._at(time, data)
        return signal * data + spread * noise

    def aim(
        self, data: Float[Tensor, "b *n"], noise: Float[Tensor, "b *n"], time: Int[Tensor, " b"]
    ) -> Float[Tensor, "b *n"]:
        """The prediction target: the noise, or signal noise - spread data (velocity)."""
        if self.target == "epsilon":
            return noise
        signal, spread = self._at(time, data)
        return signal * noise - spread * data

    def data(
        self, said: Float[Tensor, "b *n"], x: Float[Tensor, "b *n"], time: Int[Tensor, " b"]
    ) -> Float[Tensor, "b *n"]:
        """Recover the data from a prediction at `x`, clipped to six standard deviations."""
        signal, spread = self._at(time, x)
        if self.target == "epsilon":
            found = (x - spread * said) / signal.clamp_min(math.sqrt(SMALLEST))
        else:
            found = signal * x - spread * said
        return found.clamp(-CLIP, CLIP)

    def ddim(
        self,
        data: Float[Tensor, "b *n"],
        x: Float[Tensor, "b *n"],
        time: Int[Tensor, " b"],
        then: Int[Tensor, " b"],
    ) -> Float[Tensor, "b *n"]:
        """Step from `x` at `time` to the less noisy time `then`, towards `data`."""
        signal, spread = self._at(time, x)
        noise = (x - signal * data) / spread.clamp_min(1e-6)
        return self.noised(data, noise, then)

    def ladder(self, steps: int) -> list[int]:
        """A sampler's times: `steps` + 1 of them, from pure noise to clean, evenly spaced."""
        return [round(self.times * (steps - i) / steps) for i in range(steps + 1)]

    def _at(self, time: Int[Tensor, " b"], like: Float[Tensor, "b *n"]) -> tuple[Tensor, Tensor]:
        shape = (-1, *[1] * (like.ndim - 1))
        return self.signal[time].view(shape), self.noise[time].view(shape)
