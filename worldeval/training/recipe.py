"""How a network is trained, and for how long: one recipe for worlds, judges and policies."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from worldeval.config import at_least


@dataclass(frozen=True, kw_only=True)
class TrainerRecipe:
    """One optimisation by AdamW: its length, its learning rate, and the averaging of weights."""

    steps: int
    batch: int
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    warmup: float = 0.03  # share of the steps; values of 1 and above are a number of steps
    ema: float = 0.999  # decay of the averaged weights; 0 keeps the last weights
    grad_clip: float = 1.0  # largest norm of the gradient; 0 disables clipping

    # Differs between worlds and policies, but is not meant to be tuned.
    course: ClassVar[Literal["one-cycle", "cosine"]] = "one-cycle"  # learning rate schedule
    betas: ClassVar[tuple[float, float]] = (0.9, 0.98)
    decays: ClassVar[Literal["matrices", "all"]] = "matrices"  # parameters with weight decay

    def __post_init__(self) -> None:
        at_least(1, self, "batch")
        at_least(0, self, "steps", "learning_rate", "weight_decay", "warmup", "grad_clip")
        if not 0 <= self.ema < 1:
            raise ValueError(f"ema {self.ema} must be at least 0 and below 1")

    @property
    def warmup_share(self) -> float:
        """Warm-up as a share of the steps."""
        return self.warmup if self.warmup < 1 else self.warmup / self.steps

    @property
    def warmup_steps(self) -> int:
        """Warm-up in steps."""
        return round(self.warmup if self.warmup >= 1 else self.warmup * self.steps)


def scheduled(schedule: Sequence[tuple[float, int]], done: float) -> int:
    """Evaluate a schedule of (share of training from which, number) at the share `done`."""
    return [number for share, number in schedule if share <= done][-1]
