"""How long and how a network is trained: one recipe for worlds, judges and policies."""

from dataclasses import dataclass
from typing import ClassVar, Literal


@dataclass(frozen=True, kw_only=True)
class TrainerRecipe:
    """One optimisation by AdamW: its length, its learning rate, and the average that is kept."""

    steps: int
    batch: int
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    warmup: float = 0.03  # share of the steps; from 1 on, a number of steps
    ema: float = 0.999  # decay of the average of weights that is kept; 0 keeps the last ones
    grad_clip: float = 1.0  # largest norm of the gradient; 0 never clips it

    # What differs between worlds and policies and nobody tunes.
    course: ClassVar[Literal["one-cycle", "cosine"]] = "one-cycle"  # of the learning rate
    betas: ClassVar[tuple[float, float]] = (0.9, 0.98)
    decays: ClassVar[Literal["matrices", "all"]] = "matrices"  # what weight decay pulls to zero

    def __post_init__(self) -> None:
        if not 0 <= self.ema < 1:
            raise ValueError(f"ema {self.ema} must be at least 0 and below 1")

    @property
    def warmup_share(self) -> float:
        """The warm-up as a share of the steps."""
        return self.warmup if self.warmup < 1 else self.warmup / self.steps

    @property
    def warmup_steps(self) -> int:
        """The warm-up in steps."""
        return round(self.warmup if self.warmup >= 1 else self.warmup * self.steps)
