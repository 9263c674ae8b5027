"""The interfaces of judges: of roll-outs, as runs need them, and of frames, as anybody writes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from worldeval.axes import Array, Float, UInt8
from worldeval.judge.made_for import MadeFor
from worldeval.record import Episode, Rollout, Verdict

Render = Callable[[Rollout], Mapping[str, UInt8[Array, "t h w 3"]]]  # a roll-out's frames, by view


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A judge's results for a batch."""

    # Where the judge abstains, the probability is NaN: there is no verdict.
    verdicts: list[Verdict]
    evidence: Float[Array, "b t"]  # probability of success by each frame
    abstained: tuple[str, ...] = ()  # why, for every episode; "" where there is a verdict
    # How far the episode had come by each frame, 0 to 1, never falling; None: not measured.
    progress: Float[Array, "b t"] | None = None


@runtime_checkable
class Judge(Protocol):
    """A judge of roll-outs, as a run needs it (`LearnedJudge`, `RolloutJudge`, `JudgePanel`)."""

    name: str
    made_for: MadeFor | None  # the world model that it can judge; None: any

    def __call__(self, rollouts: Sequence[Rollout]) -> list[Verdict]:
        """Return a verdict for each roll-out; all have the same length."""
        ...

    def judged(self, rollouts: Sequence[Rollout]) -> Judged:
        """Return verdicts and frame-by-frame evidence for roll-outs of equal length."""
        ...

    def over_time(self, rollouts: Sequence[Rollout]) -> Float[Array, "b t"]:
        """Return the probability of success at each frame, including the first."""
        ...

    def knows(self, task: str) -> bool:
        """Whether the judge can judge this task or instruction."""
        ...


@dataclass(frozen=True, kw_only=True)
class Appraisal:
    """What a judge of frames says of one episode."""

    probability: float | None  # of success, 0 to 1; None: it abstains
    by_frame: Float[Array, " t"] | None = None  # probability of success at each frame
    votes: tuple[float, ...] = ()  # one per question or member
    reason: str = ""  # in words
    tokens: int = 0  # that a model read and wrote
    seconds: float = 0.0  # that an answer took


@runtime_checkable
class FrameJudge(Protocol):
    """A judge of frames: anybody's code, a server, a rule, a model of pictures and words.

    Attributes:
        name: how it is listed.
        version: changes whenever its answers may change. Answers are stored under it.
        looks: optional; False if it needs no frames, which are then not decoded.
    """

    name: str
    version: str

    def judge(self, episodes: Sequence[Episode]) -> Sequence[Appraisal]:
        """Return an appraisal for every episode.

        Args:
            episodes: with frames of every view (uint8, t x h x w x 3), proprioception in the
                robot's units, actions and the instruction. `success` is None, and nothing says
                which policy acted.
        """
        ...


def looks(judge: FrameJudge) -> bool:
    """Whether a judge of frames needs them."""
    return bool(getattr(judge, "looks", True))
