"""A rule over what other judges say of each frame of imagined roll-outs."""

from collections.abc import Mapping, Sequence

import numpy as np

from worldeval.axes import Array, Float
from worldeval.judge.correction import Correction
from worldeval.judge.made_for import MadeFor
from worldeval.judge.protocol import Judge, Judged
from worldeval.judge.rule import RuleJudge
from worldeval.record import Rollout, Verdict


class RuleOfJudges:
    """A judge of roll-outs: a rule that asks judges of any kind. It abstains where one does."""

    def __init__(
        self,
        rule: RuleJudge,
        judges: Mapping[str, Judge],
        *,
        fps: float,
        correction: Correction | None = None,
    ) -> None:
        """Join a rule and the judges that it names.

        Args:
            fps: world frames per second.
            correction: of the rule's probabilities, 0 and 1; None: they are taken as they are.
        """
        self.name = rule.name
        self.made_for: MadeFor | None = None  # its judges are compared one by one
        self._rule, self._judges, self._fps = rule, judges, fps
        self._correction = correction or Correction()

    def __call__(self, rollouts: Sequence[Rollout]) -> list[Verdict]:
        """Return a verdict for each roll-out; the probability is NaN where a judge abstains."""
        return self.judged(rollouts).verdicts

    def judged(self, rollouts: Sequence[Rollout]) -> Judged:
        """Return verdicts, evidence, and why a judge abstained."""
        each = {name: judge.judged(rollouts) for name, judge in self._judges.items()}
        verdicts, evidence, abstained = [], [], []
        for row, rollout in enumerate(rollouts):
            reasons = [
                f"{name}: {judged.abstained[row]}"
                for name, judged in each.items()
                if judged.abstained and judged.abstained[row]
            ]
            told = np.full(len(rollout.pose), np.nan, np.float32)
            if not reasons:
                seen = {name: np.asarray(judged.evidence[row]) for name, judged in each.items()}
                reached = self._rule.by_frame(rollout.pose, self._fps, seen)
                told = self._correction(reached, rollout.task)
            verdicts.append(
                Verdict(
                    probability=float(told[-1]),
                    step=len(told) - 1 if reasons else int(told[1:].argmax()) + 1,
                    judge=self.name,
                    votes=(float(told[-1]),),
                )
            )
            evidence.append(told)
            abstained.append("; ".join(reasons))
        return Judged(
            verdicts=verdicts, evidence=np.array(evidence, np.float32), abstained=tuple(abstained)
        )

    def over_time(self, rollouts: Sequence[Rollout]) -> Float[Array, "b t"]:
        """Return 1 or 0 at each frame."""
        return self.judged(rollouts).evidence

    def knows(self, task: str) -> bool:
        """Whether every judge can judge this task."""
        return all(judge.knows(task) for judge in self._judges.values())
