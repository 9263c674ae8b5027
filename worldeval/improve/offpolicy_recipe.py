"""The recipes of off-policy improvement: what its methods share, and the settings of each."""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from worldeval.config import at_least
from worldeval.improve.critic_recipe import CriticRecipe
from worldeval.improve.recipe import ExploreRecipe, PlaceRecipe
from worldeval.policy.recipe import PolicyTrainerRecipe


@dataclass(frozen=True, kw_only=True)
class OffPolicyRecipe(PlaceRecipe):
    """Iterations of imagining, learning a critic and improving by it."""

    iterations: int = 6
    episodes: int = 60  # imagined per iteration, distributed over the tasks
    kept: int = 4  # iterations whose episodes are remembered; their frames are in memory
    recorded: int = 20  # recorded episodes per task, replayed in the world model at the beginning
    explore: ExploreRecipe = field(default_factory=ExploreRecipe)
    critic: CriticRecipe = field(default_factory=CriticRecipe)
    critic_steps: int = 600  # per iteration
    samples: int = 8  # chunks that the policy proposes at every call
    noise: float = 0.1  # std of the offset between them, in standardised actions
    # The critic's next action: the best proposal, or a random one (the policy's own value).
    backup: Literal["best", "policy"] = "best"
    check_every: int = 1  # iterations
    # A second world model: rewards are the lower ones of both, and checks replay actions in it.
    # '': only checks, in the same world model from starts with image noise.
    second: str = ""
    leave_out: bool = True
    # Training ends when imagined success exceeds that of replayed actions, or the verdict of the
    # judge that is left out, by this much more than it did for the initial policy.
    disagreement: float = 0.1

    suffix: ClassVar[str] = ""  # of the lineage of improved policies

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, self, "iterations", "episodes", "kept", "samples", "check_every", "check")
        at_least(0, self, "recorded", "critic_steps", "noise", "disagreement")


@dataclass(frozen=True, kw_only=True)
class PaRecipe(OffPolicyRecipe):
    """Policy-agnostic RL: proposals re-ranked and improved by the critic, then imitated."""

    best: int = 2  # proposals that are improved by gradient steps
    gradient_steps: int = 5
    step: float = 0.03  # root mean square of a gradient step, in standardised actions
    # Softness of the choice among improved proposals, in return; 0: the best is imitated.
    temperature: float = 0.0
    ratio: float = 0.3  # share of original demonstrations in every batch
    trainer: PolicyTrainerRecipe = field(
        default_factory=lambda: PolicyTrainerRecipe(steps=300, learning_rate=5e-4, ema=0.99)
    )

    suffix: ClassVar[str] = "pa"

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(0, self, "gradient_steps", "step", "temperature")
        if not 1 <= self.best <= self.samples:
            raise ValueError(f"best {self.best} must lie within 1..{self.samples} samples")
        if not 0 <= self.ratio < 1:
            raise ValueError(f"ratio {self.ratio} must be at least 0 and below 1")


@dataclass(frozen=True, kw_only=True)
class QgfRecipe(OffPolicyRecipe):
    """Q-guided flow: value gradients while a chunk is denoised; the policy stays as it is."""

    iterations: int = 3
    backup: Literal["best", "policy"] = "policy"
    weights: tuple[float, ...] = (1.0, 3.0, 10.0)  # 1 / beta; the best in imagination is kept
    tuning: int = 20  # starts per task for choosing the weight
    gradient_steps: int = 6  # of heads that do not denoise

    suffix: ClassVar[str] = "qgf"

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, self, "weights", "tuning", "gradient_steps")
        if any(weight <= 0 for weight in self.weights):
            raise ValueError(f"weights {list(self.weights)} must be above 0")


@dataclass(frozen=True, kw_only=True)
class SoftRecipe(OffPolicyRecipe):
    """A Gaussian actor that is trained for value and entropy, beside a policy that proposes."""

    hidden: int = 256  # of the actor
    actor_rate: float = 3e-4
    actor_steps: int = 600  # per iteration
    std: float = 0.3  # of the actor at first, before tanh
    # Of the entropy, at first. Chunks have many numbers and returns are at most 1, so it is small.
    temperature: float = 0.001
    # Entropy per number of a chunk that the temperature aims at, of actions in [-1, 1]; None: the
    # temperature stays.
    entropy: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, self, "hidden")
        at_least(0, self, "actor_steps")
        if self.std <= 0 or self.temperature <= 0 or self.actor_rate <= 0:
            raise ValueError("std, temperature and actor_rate must be above 0")


@dataclass(frozen=True, kw_only=True)
class ExpoRecipe(SoftRecipe):
    """EXPO: small edits of a policy's proposals, and the best of all by value."""

    reach: float = 0.3  # largest edit of a number, in standardised actions (the paper's beta)
    samples: int = 4

    suffix: ClassVar[str] = "expo"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.reach <= 0:
            raise ValueError(f"reach {self.reach} must be above 0")


@dataclass(frozen=True, kw_only=True)
class SacRecipe(SoftRecipe):
    """Soft actor-critic, whose actor begins at a policy's chunks."""

    samples: int = 1
    critic: CriticRecipe = field(default_factory=lambda: CriticRecipe(bounds=(-1.0, 2.0)))

    suffix: ClassVar[str] = "sac"
