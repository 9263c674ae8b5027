"""The recipes of improvement: where it takes place, and the settings of each method."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from worldeval.config import at_least, retired
from worldeval.policy.recipe import PolicyTrainerRecipe

ETA = 1.0  # DDIM's noise while a policy explores; 1: that of the diffusion process itself
GAE = 0.95  # lambda of generalised advantage estimation (Schulman et al., arXiv 1506.02438)
DISTURBANCE = 6.0  # std of the image noise that starts are replayed with, in pixel values
NOISE_MEMORY = 0.9  # autocorrelation of the noise between a search's candidates, per step


@dataclass(frozen=True, kw_only=True)
class PlaceRecipe:
    """The world, judge and recorded starts with which a policy is improved."""

    world: str = "models/latent"  # folder of a trained world model
    judge: str = "models/judge"  # folder of a trained judge
    data: str = ""  # recorded episodes: starts, and demonstrations to mix in
    starts_file: str = ""  # starts from a file instead
    tasks: tuple[str, ...] = ()  # (): every task of the policy
    # Range of recorded frames from which training starts are drawn; 0, 0 is only the first frame.
    # Monitoring and comparison always start from first frames, as the robot will.
    begin_at: tuple[int, int] = (0, 0)
    held_out: int = 40  # starts per task reserved for the final comparison
    check: int = 20  # starts per task for monitoring the rounds
    horizon: int = 30  # world frames
    replan_every: int = 2  # world frames of a chunk to execute before the next query
    batch: int = 50  # episodes that advance together
    replays: str = ""  # recorded failures and successes for the trust checks; '': no checks
    # Whether a judge takes no part in the optimisation, so that its verdict can be reported beside
    # the optimised one: the judge of `second_judge`, or else the last member of `judge`.
    leave_out: bool = False
    second_judge: str = ""  # folder of another trained judge
    # Standard deviations of the judge's members by which the optimised verdict is lowered.
    judge_pessimism: float = 0.0

    def __post_init__(self) -> None:
        at_least(1, self, "horizon", "replan_every", "batch")
        at_least(0, self, "held_out", "check", "judge_pessimism")
        if not 0 <= self.begin_at[0] <= self.begin_at[1]:
            raise ValueError(
                f"begin_at {list(self.begin_at)} must be [first, last], counted from 0"
            )


@dataclass(frozen=True, kw_only=True)
class ExploreRecipe:
    """How attempts from one start are made to differ, in addition to the policy's own noise."""

    noisy: float = 0.3  # share of attempts with slowly varying action noise
    noise: float = 0.2  # its standard deviation, in half ranges of an action
    pushed: float = 0.2  # share of attempts with a constant bias
    push: float = 0.1  # its standard deviation
    scaled: float = 0.0  # share of attempts whose actions are scaled
    scale: tuple[float, float] = (0.8, 1.3)
    misled: float = 0.0  # share of attempts in which the observed pose is offset
    offset: float = 0.01  # metres
    step_dim: int = 0  # numbers of one simulator step's action; 0: the whole action is one step
    # Other phrasings of a task, for policies that read language; one is drawn for every attempt.
    phrases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class TrustRecipe:
    """Conditions for learning from an imagined episode."""

    probability: float = 0.7  # smallest success probability, according to the judge
    disagreement: float = 0.5  # largest, between the judge's members
    # Largest values of the roll-outs' trust signals, by name.
    signals: Mapping[str, float] = field(default_factory=lambda: {"mended_actions": 0.05})


@dataclass(frozen=True, kw_only=True)
class SftRecipe(PlaceRecipe):
    """Fine-tuning on imagined successes, in rounds."""

    rounds: int = 2
    starts: int = 60  # per task and round
    tries: int = 4  # attempts from each start
    best: int = 1  # successes kept from each start; 0 keeps all
    explore: ExploreRecipe = field(default_factory=ExploreRecipe)
    trust: TrustRecipe = field(default_factory=TrustRecipe)
    # Weight of selected episodes: equal; the success probability; or exp(advantage / temperature),
    # the advantage over the mean of attempts from the same start. The weighted variants use every
    # trusted attempt, including failures: neither `trust.probability` nor `best` filters them.
    weight: Literal["alike", "success", "advantage"] = "alike"
    temperature: float = 0.2
    ratio: float = 0.5  # share of original demonstrations in every batch
    after_success: int = 2  # world frames imitated after success is first predicted
    keep: Literal["best", "last"] = "best"  # round, by imagined success on the monitored starts
    # Training ends when imagined success exceeds the verdict of the judge that is left out by this
    # much more than it did for the initial policy.
    disagreement: float = 0.1
    trainer: PolicyTrainerRecipe = field(
        default_factory=lambda: PolicyTrainerRecipe(steps=600, learning_rate=5e-4, ema=0.99)
    )

    # Episodes of earlier rounds are always trained on, too.
    RETIRED: ClassVar = retired("0.1", accumulate=True)

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
    episodes: int = 50  # per iteration, distributed over the tasks
    last_steps: int = 5  # number of final denoising steps that are optimised
    floor: float = 0.1  # smallest std of a denoising step, in standardised actions
    gamma: float = 0.99  # discount per replan
    gamma_denoising: float = 0.99  # discount of the advantage with every step before the last
    clip: float = 0.2  # of the ratio, at the last denoising step
    # Clip at the first of the optimised steps, from which it grows to `clip`; 0: the same at all.
    clip_first: float = 0.0
    # The log-ratio of a chunk: the sum over its numbers, or their mean, which makes ratios smaller.
    log_ratio: Literal["sum", "mean"] = "sum"
    # Bounds of every number's log-probability; (): none.
    log_prob_bounds: tuple[float, ...] = ()
    # Whether rewards are divided by the running standard deviation of returns.
    reward_scale: Literal["none", "running"] = "none"
    epochs: int = 4
    minibatch: int = 250  # replans
    learning_rate: float = 1e-4
    critic_rate: float = 1e-3
    critic_warmup: int = 3  # iterations in which only the value function learns
    bc: float = 0.05  # weight of the behaviour-cloning term (DiWA's alpha), beside the ratio's loss
    target_kl: float = 0.1  # divergence at which an iteration's epochs end
    tune: Literal["head", "all"] = "head"  # whether the image encoder learns too
    check_every: int = 10  # iterations
    # A second world model in which imagined episodes are replayed; '': the same world model from
    # starts with image noise.
    second: str = ""
    # Training ends when imagined success exceeds that of the same actions when replayed by this
    # much more than it did for the initial policy.
    disagreement: float = 0.1

    RETIRED: ClassVar = retired("0.1", eta=ETA, gae=GAE, disturbance=DISTURBANCE)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.last_steps < 1 or self.iterations < 1:
            raise ValueError("last_steps and iterations must be at least 1")
        if not 0 <= self.clip_first <= self.clip:
            raise ValueError(f"clip_first {self.clip_first} must lie within 0..clip {self.clip}")
        bounds = self.log_prob_bounds
        if bounds and (len(bounds) != 2 or bounds[0] >= bounds[1]):
            raise ValueError(f"log_prob_bounds {list(bounds)} must be [lowest, highest], or []")


@dataclass(frozen=True, kw_only=True)
class SearchRecipe(PlaceRecipe):
    """A policy that imagines several chunks at every replan and executes the best."""

    method: Literal["best", "cem"] = "best"
    candidates: int = 8
    lookahead: int = 30  # world frames to imagine for each candidate, at most to the horizon
    noise: float = 0.2  # std of the noise between candidates, in addition to the policy's noise
    margin: float = 0.0  # probability by which a candidate must exceed the policy's own
    iterations: int = 3  # of cem
    elites: int = 3  # of cem
    step_dim: int = 0  # as in `ExploreRecipe`

    RETIRED: ClassVar = retired("0.1", memory=NOISE_MEMORY)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.candidates < 1 or self.lookahead < 1:
            raise ValueError("candidates and lookahead must be at least 1")
        if self.method == "cem" and not 0 < self.elites <= self.candidates:
            raise ValueError(f"elites {self.elites} must lie within 1..{self.candidates}")


@dataclass(frozen=True, kw_only=True)
class ComposeRecipe(PlaceRecipe):
    """A convex mixture of two policies' scores; its weight is chosen in imagination."""

    weights: tuple[float, ...] = (0.0, 0.25, 0.5, 0.75, 1.0)  # of the first policy
    starts: int = 40  # per task, for evaluating the weights

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.weights or any(not 0 <= weight <= 1 for weight in self.weights):
            raise ValueError(f"weights {list(self.weights)} must lie within 0..1")
