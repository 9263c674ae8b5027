"""The recipes of improvement: where it takes place, and how each way of improving goes about it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from worldeval.policy.recipe import PolicyTrainerRecipe


@dataclass(frozen=True, kw_only=True)
class PlaceRecipe:
    """Where a policy is improved: in which world, judged by whom, from which recorded starts."""

    world: str = "models/latent"  # folder of a trained world model
    judge: str = "models/judge"  # folder of a trained judge
    data: str = ""  # recorded episodes: starts, and demonstrations to mix in
    starts_file: str = ""  # starts from a file instead
    tasks: tuple[str, ...] = ()  # () is every task of the policy
    # Recorded frames that a start to improve on is drawn from: 0, 0 is the first frame alone. What
    # is watched and compared begins at first frames, as the robot will.
    begin_at: tuple[int, int] = (0, 0)
    held_out: int = 40  # starts a task kept for the comparison at the end, seen by nothing else
    check: int = 20  # starts a task on which rounds are watched
    horizon: int = 30  # world frames
    replan_every: int = 2  # world frames of a chunk that are carried out
    batch: int = 50  # episodes that advance together
    replays: str = ""  # recorded failures and successes for the gates; '' goes without

    def __post_init__(self) -> None:
        if not 0 <= self.begin_at[0] <= self.begin_at[1]:
            raise ValueError(f"begin_at {list(self.begin_at)} must be [first, last], from 0 on")


@dataclass(frozen=True, kw_only=True)
class ExploreRecipe:
    """What makes tries from one start differ, beside the policy's own noise."""

    noisy: float = 0.3  # share of tries whose actions are shaken by slowly changing noise
    noise: float = 0.2  # its standard deviation; actions are in [-1, 1]
    pushed: float = 0.2  # share of tries with a constant push
    push: float = 0.1  # its standard deviation
    scaled: float = 0.0  # share of tries whose actions are scaled
    scale: tuple[float, float] = (0.8, 1.3)
    misled: float = 0.0  # share of tries in which the hand believes itself elsewhere
    offset: float = 0.01  # metres
    step_dim: int = 4  # numbers of one simulator step's action
    # Other ways to word a task, for policies that read language; one is drawn for every try.
    phrases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class TrustRecipe:
    """Which imagined episodes may be learned from."""

    probability: float = 0.7  # least, of success, as the judge says
    disagreement: float = 0.5  # largest, between the judge's members
    # Largest values of trust signals that roll-outs carry, by name.
    signals: Mapping[str, float] = field(default_factory=lambda: {"mended_actions": 0.05})


@dataclass(frozen=True, kw_only=True)
class SftRecipe(PlaceRecipe):
    """Fine-tuning on imagined successes, in rounds."""

    rounds: int = 2
    starts: int = 60  # a task and round
    tries: int = 4  # from each start
    best: int = 1  # of the successes from a start, this many are kept; 0 keeps all
    explore: ExploreRecipe = field(default_factory=ExploreRecipe)
    trust: TrustRecipe = field(default_factory=TrustRecipe)
    # How kept episodes weigh: alike; by the probability of success; or by exp(advantage /
    # temperature), the advantage over the mean of the tries from the same start. The weighted ones
    # take every trusted try, failures too: neither `trust.probability` nor `best` filters them.
    weight: Literal["alike", "success", "advantage"] = "alike"
    temperature: float = 0.2
    ratio: float = 0.5  # share of original demonstrations in every batch
    accumulate: bool = True  # episodes of earlier rounds are trained on too
    after_success: int = 2  # world frames imitated after success is first called
    keep: Literal["best", "last"] = "best"  # round, by imagined success on the watched starts
    trainer: PolicyTrainerRecipe = field(
        default_factory=lambda: PolicyTrainerRecipe(steps=600, learning_rate=5e-4, ema=0.99)
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.ratio <= 1:
            raise ValueError(f"ratio {self.ratio} must lie within 0..1")
        if self.rounds < 1 or self.starts < 1 or self.tries < 1:
            raise ValueError("rounds, starts and tries must be at least 1")


@dataclass(frozen=True, kw_only=True)
class RlRecipe(PlaceRecipe):
    """Policy gradients over the denoising steps, inside the world model (DPPO, DiWA)."""

    iterations: int = 60
    episodes: int = 50  # an iteration, spread over the tasks
    last_steps: int = 5  # denoising steps, the last ones, that are decisions
    eta: float = 1.0  # DDIM's noise while exploring
    floor: float = 0.1  # least standard deviation of a decision, in standardised actions
    gamma: float = 0.99  # discount of a replan
    gamma_denoising: float = 0.99  # discount of the advantage with every step before the last
    gae: float = 0.95
    clip: float = 0.2
    epochs: int = 4
    minibatch: int = 250  # replans
    learning_rate: float = 1e-4
    critic_rate: float = 1e-3
    critic_warmup: int = 3  # iterations in which the value head learns alone
    bc: float = 0.05  # of the behaviour-cloning term (DiWA's alpha), beside the policy's ratio
    target_kl: float = 0.1  # epochs end where the policy has moved this far
    tune: Literal["head", "all"] = "head"  # whether the encoder of images learns too
    check_every: int = 10  # iterations
    # A second world model in which imagined episodes are carried out again; '' is the same one from
    # starts seen through noise.
    second: str = ""
    disturbance: float = 6.0  # standard deviation, pixel values, of that noise
    # Improvement ends when imagined success exceeds that of the same actions carried out again by
    # this much more than it did for the policy that it began with.
    disagreement: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.last_steps < 1 or self.iterations < 1:
            raise ValueError("last_steps and iterations must be at least 1")


@dataclass(frozen=True, kw_only=True)
class SearchRecipe(PlaceRecipe):
    """A policy that imagines several chunks at every replan and takes the best."""

    method: Literal["best", "cem"] = "best"
    candidates: int = 8
    lookahead: int = 30  # world frames imagined of each, no further than the horizon
    noise: float = 0.2  # standard deviation that sets candidates apart, beside the policy's noise
    memory: float = 0.9  # of that noise, from one simulator step to the next
    margin: float = 0.0  # of probability, by which a candidate must beat the policy's own
    iterations: int = 3  # of cem
    elites: int = 3  # of cem
    step_dim: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.candidates < 1 or self.lookahead < 1:
            raise ValueError("candidates and lookahead must be at least 1")
        if self.method == "cem" and not 0 < self.elites <= self.candidates:
            raise ValueError(f"elites {self.elites} must lie within 1..{self.candidates}")


@dataclass(frozen=True, kw_only=True)
class ComposeRecipe(PlaceRecipe):
    """A convex mixture of two policies' scores; its weight is searched in imagination."""

    weights: tuple[float, ...] = (0.0, 0.25, 0.5, 0.75, 1.0)  # of the first policy
    starts: int = 40  # a task, on which weights are tried

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.weights or any(not 0 <= weight <= 1 for weight in self.weights):
            raise ValueError(f"weights {list(self.weights)} must lie within 0..1")
