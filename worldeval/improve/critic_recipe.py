"""The settings of the critic that off-policy improvement shares."""

from dataclasses import dataclass
from typing import Literal

from worldeval.config import at_least


@dataclass(frozen=True, kw_only=True)
class CriticRecipe:
    """A small ensemble that predicts the return of a state and a chunk."""

    members: int = 2  # networks: two for twin critics
    hidden: int = 256
    # What a network predicts: the mean return; its quantiles (QR-DQN); or its probabilities in bins
    # (two-hot), whose cross-entropy does not depend on the scale of returns.
    head: Literal["mean", "quantile", "two-hot"] = "mean"
    atoms: int = 25  # quantiles or bins of a network
    # How the networks make one target: the smaller mean, the mean, or all quantiles without the
    # largest (TQC).
    target: Literal["min", "mean", "truncated"] = "min"
    dropped: int = 2  # largest quantiles of each network that 'truncated' leaves out
    # Standard deviations of the predicted return by which targets are lowered (STAC): aleatoric
    # pessimism, for a distributional head.
    pessimism: float = 0.0
    normalised: bool = True  # layer normalisation, which keeps values of unseen actions bounded
    # Lowest and highest return. Rewards are the rise of a probability, so returns lie within 0..1.
    bounds: tuple[float, float] = (0.0, 1.0)
    calls: int = 3  # calls of the policy whose rewards are summed first (n-step returns)
    gamma: float = 0.99  # discount per call
    learning_rate: float = 3e-4
    average: float = 0.99  # of the moving average of weights that gives targets
    batch: int = 256

    def __post_init__(self) -> None:
        at_least(1, self, "members", "hidden", "calls", "batch")
        at_least(0, self, "pessimism", "dropped")
        if self.head != "mean" and self.atoms < 2:
            raise ValueError(f"atoms {self.atoms} must be at least 2 for head {self.head}")
        if self.bounds[0] >= self.bounds[1]:
            raise ValueError(f"bounds {list(self.bounds)} must be [lowest, highest]")
        if self.target == "truncated" and self.head != "quantile":
            raise ValueError(f"target truncated drops quantiles, but the head is {self.head}")
        if self.target == "truncated" and self.dropped >= self.atoms:
            raise ValueError(f"dropped {self.dropped} must be below atoms {self.atoms}")
        if self.pessimism and self.head == "mean":
            raise ValueError("pessimism needs the spread of returns: set head: quantile or two-hot")
        if not 0 <= self.average < 1 or not 0 <= self.gamma <= 1:
            raise ValueError(
                f"average {self.average} must be at least 0 and below 1, and gamma {self.gamma} "
                "within 0..1"
            )
