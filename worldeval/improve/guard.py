"""Decide whether an improvement is established: paired, on unseen starts, in a trusted world."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from worldeval.axes import Array, Float
from worldeval.improve.left_out import seen_by
from worldeval.improve.place import Attempt, Judging
from worldeval.stats import Estimate, Finding
from worldeval.stats.betting import mean_bounds, mean_score

LEVEL = 0.95
NO_GATE = "no_replay_gate"  # nothing was replayed, so this world model's errors are unknown


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """What a judge that took no part in the optimisation says of the same episodes."""

    judge: str
    before: Estimate
    after: Estimate
    difference: Estimate  # paired by start
    tasks: dict[str, Estimate]  # the difference on each task

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        rates = {name: getattr(self, name).record() for name in ("before", "after", "difference")}
        tasks = {task: estimate.record() for task, estimate in self.tasks.items()}
        return {"judge": self.judge, **rates, "tasks": tasks}


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What can be said about an improved policy from imagination alone."""

    before: Estimate
    after: Estimate
    difference: Estimate  # after minus before, paired by start
    tasks: dict[str, Estimate]  # the difference on each task
    findings: tuple[Finding, ...]  # objections to the result
    left_out: "LeftOut | None" = None  # the verdict that was not optimised; None: there is none

    @property
    def refusal(self) -> Finding | None:
        """The first reason to reject these numbers entirely."""
        return next((one for one in self.findings if one.severity == "refusal"), None)

    @property
    def ungated(self) -> Finding | None:
        """The finding that no recording was replayed."""
        return next((one for one in self.findings if one.code == NO_GATE), None)

    @property
    def established(self) -> bool:
        """Better by an interval above zero, in a world whose checks were run and passed.

        The judge that was left out of the optimisation must say so, too.
        """
        said = [self.difference, *([self.left_out.difference] if self.left_out else [])]
        asked = self.refusal is None and self.ungated is None
        return asked and all(each.low is not None and each.low > 0 for each in said)

    @property
    def text(self) -> str:
        """Summarise the result for a report; numbers appear only if they may be interpreted."""
        if self.refusal is not None:
            return f"Improvement not established ({self.refusal.code}): {self.refusal.text}"
        said = f"from {self.before} to {self.after}, difference {self.difference}"
        starts = f"{self.difference.n} held-out starts, in imagination"
        if self.left_out is not None:
            starts += f"; according to the judge that was left out, {self.left_out.difference}"
        if self.established:
            return f"Improved {said} ({starts})."
        if self.ungated is not None:
            return f"Improvement not established: {said} ({starts}). {self.ungated.text}"
        whose = "the interval"
        if self.difference.low is not None and self.difference.low > 0:
            whose = "the interval of the judge that was left out"
        return f"Improvement not established: {said} ({starts}); {whose} includes 0."

    def to_json(self) -> dict[str, Any]:
        """Plain data; without the numbers if they were rejected."""
        found = [asdict(finding) for finding in self.findings]
        if self.refusal is not None:
            return {"established": False, "text": self.text, "findings": found}
        return {
            "established": self.established,
            "text": self.text,
            "before": self.before.record(),
            "after": self.after.record(),
            "difference": self.difference.record(),
            "tasks": {task: estimate.record() for task, estimate in self.tasks.items()},
            "left_out": None if self.left_out is None else self.left_out.to_json(),
            "findings": found,
        }


def claim(
    before: Sequence[Attempt],
    after: Sequence[Attempt],
    findings: Sequence[Finding] = (),
    *,
    left_out: LeftOut | None = None,
) -> Claim:
    """Compare two policies that ran from the same starts with the same seeds.

    `left_out` is what a judge says that took no part in the optimisation.

    Raises:
        ValueError: the attempts are not from the same starts in the same order.
    """
    if [one.start.id for one in before] != [one.start.id for one in after]:
        raise ValueError("both policies must run from the same starts, in the same order")
    old, new = by_task(before), by_task(after)
    return Claim(
        before=mean_score(_columns(old)),
        after=mean_score(_columns(new)),
        difference=paired_difference(_columns(old), _columns(new)),
        tasks={task: paired_difference(old[task][:, None], new[task][:, None]) for task in old},
        findings=tuple(findings),
        left_out=left_out,
    )


def left_out_claim(
    judge: Judging, before: Sequence[Attempt], after: Sequence[Attempt], *, batch: int
) -> LeftOut:
    """Let a judge that was left out of the optimisation judge the compared episodes."""
    old, new = (
        by_task(
            [
                replace(one, verdict=replace(one.verdict, probability=float(probability)))
                for one, probability in zip(
                    part, seen_by(judge, [each.rollout for each in part], batch=batch), strict=True
                )
            ]
        )
        for part in (before, after)
    )
    return LeftOut(
        judge=str(getattr(judge, "name", "judge")),
        before=mean_score(_columns(old)),
        after=mean_score(_columns(new)),
        difference=paired_difference(_columns(old), _columns(new)),
        tasks={task: paired_difference(old[task][:, None], new[task][:, None]) for task in old},
    )


def paired_difference(
    before: Float[Array, "n t"], after: Float[Array, "n t"], *, level: float = LEVEL
) -> Estimate:
    """The mean of `after - before` with a betting interval, valid for any distribution.

    Each column is a task. Values lie in [0, 1]; NaN where a task has fewer starts.
    """
    shared = after - before
    low, high = mean_bounds(((shared + 1) / 2)[None], level=level)
    value = float(np.nanmean(np.nanmean(shared, axis=0)))
    n = int((~np.isnan(shared)).sum())
    return Estimate(
        value=value,
        low=min(2 * float(low[0]) - 1, value),
        high=max(2 * float(high[0]) - 1, value),
        level=level,
        n=n,
        clusters=n,
        method="betting, paired by start",
    )


def by_task(attempts: Sequence[Attempt]) -> dict[str, Float[Array, " n"]]:
    """Success probabilities of every task, in the order of the attempts."""
    out: dict[str, list[float]] = {}
    for attempt in attempts:
        out.setdefault(attempt.start.task, []).append(attempt.verdict.probability)
    return {task: np.array(values) for task, values in out.items()}


def imagined_success(attempts: Sequence[Attempt]) -> Estimate:
    """The mean success probability with its interval over starts; tasks have equal weight."""
    values = by_task(attempts)
    shortest = min(len(column) for column in values.values())
    return mean_score(np.stack([column[:shortest] for column in values.values()], axis=1))


def _columns(values: dict[str, Float[Array, "_"]]) -> Float[Array, "n t"]:
    longest = max(len(column) for column in values.values())
    table = np.full((longest, len(values)), np.nan)
    for index, column in enumerate(values.values()):
        table[: len(column), index] = column
    return table
