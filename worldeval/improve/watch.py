"""Watch a policy while it is optimised: is what it gains more than an error of world or judge?

Every check imagines the policy from monitored starts that it does not learn from. The same actions
are replayed elsewhere (`doubt.py`), and a judge that took no part in the optimisation judges the
same episodes (`left_out.py`). If the optimised verdict rises away from one of them by more than
`disagreement`, training ends. The policy that is kept is the best according to the more pessimistic
of the two.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from worldeval.improve.doubt import Doubt
from worldeval.improve.guard import imagined_success
from worldeval.improve.left_out import seen_by
from worldeval.improve.place import Attempt, Judging, Simulation
from worldeval.policy.protocol import Policy
from worldeval.record import Start
from worldeval.stats import Estimate


@dataclass(frozen=True, kw_only=True)
class DriftCheck:
    """A policy's imagined success on the monitored starts, and what others say of it."""

    iteration: int
    imagined: Estimate
    again: float  # of the same actions, replayed
    gap: float  # imagined minus replayed
    checkpoint: Path | None  # None: the initial policy
    left_out: float | None = None  # of the same episodes, by the judge that is not optimised
    judge_gap: float | None = None  # imagined minus that

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {**asdict(self), "imagined": self.imagined.record()}

    @property
    def pessimistic(self) -> float:
        """The lowest of the verdicts that were not optimised."""
        return self.again if self.left_out is None else min(self.again, self.left_out)


@dataclass(kw_only=True)
class Watch:
    """All checks of one run; the first one is of the initial policy."""

    place: Simulation
    starts: tuple[Start, ...]
    doubt: Doubt
    left_out: Judging | None
    disagreement: float
    seed: int
    say: Callable[[str], None] = lambda text: None
    checks: list[DriftCheck] = field(default_factory=list)

    def look(self, policy: Policy, iteration: int, checkpoint: Path | None) -> str:
        """Check a policy; returns why training should end, or "" if nothing speaks for it."""
        attempts: list[Attempt] = self.place.compared(policy, self.starts, seed=self.seed)
        again = float(self.doubt.again(attempts).mean())
        imagined = imagined_success(attempts)
        left_out = None
        if self.left_out is not None:
            rollouts = [attempt.rollout for attempt in attempts]
            left_out = float(seen_by(self.left_out, rollouts, batch=self.place.batch).mean())
        seen = imagined.value or 0.0
        check = DriftCheck(
            iteration=iteration,
            imagined=imagined,
            again=again,
            gap=seen - again,
            checkpoint=checkpoint,
            left_out=left_out,
            judge_gap=None if left_out is None else seen - left_out,
        )
        self.checks.append(check)
        beside = "" if left_out is None else f", left-out judge {left_out:.3f}"
        self.say(
            f"iteration {iteration}: imagined success {imagined}, replayed {again:.3f}{beside}"
        )
        return self.reason(check)

    def reason(self, check: DriftCheck) -> str:
        """Why a check speaks against going on, or ""."""
        world, judge = self._widened(check)
        begins = f"at iteration {check.iteration}, imagined success exceeds"
        if world > self.disagreement:
            return (
                f"{begins} that of the same actions when replayed by {world:.3f} more than at the "
                "start"
            )
        if judge > self.disagreement:
            return (
                f"{begins} the verdict of the judge that was left out by {judge:.3f} more than at "
                "the start"
            )
        return ""

    def best(self) -> DriftCheck:
        """The best check that nothing speaks against; the initial policy's on ties."""
        return max(
            (check for check in self.checks if not self.reason(check)),
            key=lambda check: check.pessimistic,
        )

    def _widened(self, check: DriftCheck) -> tuple[float, float]:
        """How much both gaps have opened since the first check."""
        first = self.checks[0]
        judge = (check.judge_gap or 0.0) - (first.judge_gap or 0.0)
        return check.gap - first.gap, judge
